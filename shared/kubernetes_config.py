"""Which pods are workers: `--service-discovery` and its flags, which are vllm-router's, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from shared.config import StartConfig, flag_of
from shared.fault import Fault

SELECTORS = ("selector", "prefill_selector", "decode_selector")
POD_FIELDS = (*SELECTORS, "service_discovery_namespace")
"""vllm-router's that mean nothing without `service_discovery`, beside a port that has a default."""
LABEL = (
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
    r"=([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
)
"""A label and its value, as Kubernetes has them; the value may be empty."""
NAMESPACE = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_EXAMPLE = "app=vllm"
_ADDRESSED = ("nccl", "moriio")
"""Connectors whose workers find each other by addresses that only they know."""


def labels_of(selector: Sequence[str]) -> dict[str, str]:
    """Return the labels of a checked selector."""
    return dict(text.split("=", 1) for text in selector)


def kubernetes_faults(config: StartConfig) -> Iterator[Fault]:
    """Yield everything that can not work."""
    for field in SELECTORS:
        yield from _selector_faults(field, getattr(config, field))
    namespace = config.service_discovery_namespace
    if namespace is not None and not re.fullmatch(NAMESPACE, namespace):
        text = f"--service-discovery-namespace is {namespace!r}; write one namespace, or leave it out for all"
        yield Fault(("service_discovery_namespace",), text)
    if not config.service_discovery:
        for field in (*POD_FIELDS, "service_discovery_credentials"):
            if getattr(config, field):
                yield Fault((field,), f"{flag_of(field)} has no effect without --service-discovery; give both")
        return
    if not any(getattr(config, field) for field in SELECTORS):
        yield Fault(
            ("service_discovery",),
            "--service-discovery has no selector, and an empty one means no pod; name the workers' labels with "
            f"--selector {_EXAMPLE}, or with --prefill-selector and --decode-selector",
        )
    if config.kv_connector in _ADDRESSED and not config.takes_registrations:
        yield Fault(
            ("service_discovery", "kv_connector"),
            f"--service-discovery finds no addresses for KV transfers, which --kv-connector {config.kv_connector} "
            "needs; have the workers register as well (--vllm-discovery-address)",
        )


def _selector_faults(field: str, selector: Sequence[str]) -> Iterator[Fault]:
    found: dict[str, str] = {}
    for text in selector:
        if not re.fullmatch(LABEL, text):
            yield Fault((field,), f"{flag_of(field)} has {text!r}; write labels as KEY=VALUE, such as {_EXAMPLE}", text)
            continue
        key, value = text.split("=", 1)
        if found.setdefault(key, value) != value:
            said = f"{flag_of(field)} has {key}={found[key]} and {text}, and no pod has both; name each label once"
            yield Fault((field,), said, text)
