"""The same as `option_texts`, of the values about workers that are named nowhere."""

from __future__ import annotations

DISCOVERY_HELP: dict[str, tuple[str, str]] = {
    "vllm_discovery_address": (
        "ADDRESS:PORT",
        "Have workers register there over ZeroMQ, as vLLM's P2pNcclConnector and MoRIIOConnector do and `routerctl "
        "register` does for any other; such as 0.0.0.0:30001. There is prefill/decode then.",
    ),
    "discovery_allow": (
        "NETWORK...",
        "Networks (CIDR) that registrations are taken from, and whose addresses they may name; by default the private "
        "ones.",
    ),
    "discovery_curve_address": (
        "ADDRESS:PORT",
        "Have workers register there with keys (`routerctl register --keys`), encrypted; needs --discovery-keys.",
    ),
    "discovery_keys": (
        "FOLDER",
        "The router's key, and in workers/ the public keys of those that may register; made by `routerctl keys new "
        "--workers`. Keys may be added, removed and replaced at any time.",
    ),
    "service_discovery": (
        "",
        "Have Kubernetes' pods as workers: those that are ready and have all labels of a selector.",
    ),
    "service_discovery_port": ("PORT", "Port of the workers in those pods; a pod's annotation routerctl/port wins."),
    "service_discovery_namespace": ("NAMESPACE", "Namespace of those pods; all by default, which needs a ClusterRole."),
    "selector": ("KEY=VALUE...", "Labels of pods that are workers."),
    "prefill_selector": (
        "KEY=VALUE...",
        "Labels of pods that are prefill workers; the annotation vllm.ai/bootstrap-port is as PORT of --prefill.",
    ),
    "decode_selector": ("KEY=VALUE...", "Labels of pods that are decode workers."),
    "service_discovery_credentials": (
        "FOLDER",
        "What lets the router into the API server: token and ca.crt; by default the pod's own, in "
        "/var/run/secrets/kubernetes.io/serviceaccount.",
    ),
}
