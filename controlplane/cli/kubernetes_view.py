"""What `routerctl status` shows of discovery of pods: nothing while it goes as it should."""

from __future__ import annotations

import msgspec

from controlplane.cli.texts import counted


class KubernetesView(msgspec.Struct, frozen=True, kw_only=True):
    """As `controlplane.kubernetes.status.KubernetesStatus`. Only the control plane knows."""

    state: str
    age: float
    reason: str = ""
    left_out: int = 0


def kubernetes_text(view: KubernetesView | None, since: str) -> str:
    """Return what people should know; empty where there is nothing. `since` is the view's age as they read it."""
    if view is None:
        return ""
    if view.state == "starting":
        return "Kubernetes: the API server is being asked for pods"
    if view.state != "following":
        return f"Kubernetes: no word of pods for {since}, workers stay as they were: {view.reason}"
    if not view.left_out:
        return ""
    return f"Kubernetes: {counted(view.left_out, 'worker too many is', 'workers too many are')} left out"
