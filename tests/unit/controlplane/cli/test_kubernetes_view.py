from __future__ import annotations

import pytest

from controlplane.cli.kubernetes_view import KubernetesView, kubernetes_text


@pytest.mark.parametrize(
    ("view", "text"),
    [
        (None, ""),
        (KubernetesView(state="following", age=5), ""),
        (KubernetesView(state="following", age=5, left_out=1), "Kubernetes: 1 worker too many is left out"),
        (KubernetesView(state="following", age=5, left_out=3), "Kubernetes: 3 workers too many are left out"),
        (KubernetesView(state="starting", age=5), "Kubernetes: the API server is being asked for pods"),
        (
            KubernetesView(state="unreached", age=5, reason="refused"),
            "Kubernetes: no word of pods for 5.0s, workers stay as they were: refused",
        ),
    ],
)
def test_only_what_people_should_know_is_shown(view: KubernetesView | None, text: str) -> None:
    assert kubernetes_text(view, "5.0s") == text
