"""Which pods are workers. Pure: pods and what is known of workers go in, the workers that there should be come out.

A pod is a worker from the first time on that it is ready, until it is deleted, ended, or matches no selector any more.
While it is not ready it gets no requests, and stays: what operators said of it holds when it is ready again.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Self

import msgspec

from controlplane.discovery.discovered import Announced
from controlplane.kubernetes.objects import PodObject
from shared.config import StartConfig, join_address
from shared.kubernetes_config import labels_of
from shared.table import Role
from shared.transfer_attributes import TransferAttributes
from shared.worker_attributes import LABEL_KEY, MAX_LABEL_KEY, MAX_LABEL_VALUE, MAX_LABELS, WorkerAttributes
from shared.worker_rank import rank_ids

BOOTSTRAP_PORT = "vllm.ai/bootstrap-port"
"""vllm-router's annotation."""
PORT = "routerctl/port"
SCHEME = "routerctl/scheme"
ANNOTATIONS = (BOOTSTRAP_PORT, PORT, SCHEME)
NAME_LABEL = "pod"
"""The label that a worker gets beside those of its pod: where it is, as NAMESPACE/NAME."""
MAX_WORKERS = 2048
"""As of workers that register: each costs a task here and a place in every plane's table."""


class Pod(msgspec.Struct, frozen=True):
    """What is known of one pod. `uid` is never used again, `address` is; `created` orders those of one address."""

    uid: str
    name: str
    address: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    created: str = ""
    runs: bool = True
    is_ready: bool = True
    ends: bool = False

    @classmethod
    def of(cls, told: PodObject) -> Self:
        """Read a pod of the API server."""
        meta = told.metadata
        annotations = meta.annotations or {}
        return cls(
            uid=meta.uid,
            name=f"{meta.namespace}/{meta.name}",
            address=told.status.pod_ip,
            labels=meta.labels or {},
            annotations={key: annotations[key] for key in ANNOTATIONS if key in annotations},
            created=meta.creation_timestamp or "",
            runs=told.status.phase == "Running",
            is_ready=told.is_ready,
            ends=meta.deletion_timestamp is not None,
        )


class Rules(msgspec.Struct, frozen=True):
    """Whom to look for: each role's labels, the first one that a pod has counts; an empty selector means no pod."""

    selectors: tuple[tuple[Role, dict[str, str]], ...]
    port: int = 80
    ranks: int = 1

    @classmethod
    def of(cls, config: StartConfig) -> Self:
        """Take them from the configuration."""
        given: tuple[tuple[Role, tuple[str, ...]], ...] = (
            ("prefill", config.prefill_selector),
            ("decode", config.decode_selector),
            ("regular", config.selector),
        )
        selectors = tuple((role, labels_of(selector)) for role, selector in given if selector)
        return cls(selectors, config.service_discovery_port, config.intra_node_data_parallel_size)

    def role_of(self, pod: Pod) -> Role | None:
        """Return what a pod is to be; None: no worker."""
        for role, wanted in self.selectors:
            if wanted and wanted.items() <= pod.labels.items():
                return role
        return None

    def label_selector(self) -> str:
        """Return what the API server can leave out by itself: the labels that all selectors ask for, as it writes them.

        Where they have none in common it is empty, which is every pod.
        """
        wanted = [labels for _, labels in self.selectors]
        parts = []
        for key in sorted(set.intersection(*(set(labels) for labels in wanted))):
            values = sorted({labels[key] for labels in wanted})
            # An empty value can not stand in a list of them.
            if len(values) == 1:
                parts.append(f"{key}={values[0]}")
            elif "" not in values:
                parts.append(f"{key} in ({','.join(values)})")
        return ",".join(parts)


class Wanted(NamedTuple):
    """The workers that there should be, by id; how many more there are than can be; and what is wrong with pods."""

    announced: dict[str, Announced]
    left_out: int = 0
    complaints: tuple[str, ...] = ()


def workers_of(pods: Iterable[Pod], rules: Rules, known: Mapping[str, Announced]) -> Wanted:
    """Return which workers the pods are. `known` are those that they were before."""
    announced: dict[str, Announced] = {}
    complaints: list[str] = []
    left_out = 0
    # At one address the newest pod is the one that is there. Where there is no room for all, those that serve have it.
    for pod in sorted(pods, key=lambda one: (one.is_ready, one.created, one.uid), reverse=True):
        role = rules.role_of(pod)
        if role is None or not pod.runs or pod.ends:
            continue
        place = _place(pod, rules.port)
        complaints += place.complaints
        if place.url is None:
            continue
        ids = [key for key in rank_ids(place.url, rules.ranks) if key not in announced]
        if not pod.is_ready:
            ids = [key for key in ids if key in known and known[key].life == pod.uid]
        room = MAX_WORKERS - len(announced)
        announced.update(dict.fromkeys(ids[:room], _announced(pod, role, place.bootstrap_port)))
        left_out += len(ids[room:])
    return Wanted(announced, left_out, tuple(complaints))


class _Place(NamedTuple):
    url: str | None = None
    bootstrap_port: int | None = None
    complaints: tuple[str, ...] = ()


def _place(pod: Pod, port: int) -> _Place:
    """Return where the worker in a pod is, and what is wrong with what the pod says of that."""
    complaints = []
    said: dict[str, str] = {}
    for key, text in pod.annotations.items():
        if _MAY_BE[key](text):
            said[key] = text
        else:
            complaints.append(f"pod {pod.name} has the annotation {key}: {text[:40]!r}; write {_MEANT[key]}")
    bootstrap = int(said[BOOTSTRAP_PORT]) if BOOTSTRAP_PORT in said else None
    is_known = all(key in said for key in (PORT, SCHEME) if key in pod.annotations)
    try:
        address = str(ipaddress.ip_address(pod.address))
    except ValueError:
        # It has none yet.
        is_known = False
    if not is_known:
        return _Place(complaints=tuple(complaints))
    url = f"{said.get(SCHEME, 'http')}://{join_address(address, int(said.get(PORT, port)))}"
    return _Place(url, bootstrap, tuple(complaints))


def _announced(pod: Pod, role: Role, bootstrap_port: int | None) -> Announced:
    transfer = TransferAttributes(bootstrap_port=bootstrap_port) if bootstrap_port and role == "prefill" else None
    return Announced(
        attributes=WorkerAttributes(role=role, labels=_labels(pod), transfer=transfer),
        source="kubernetes",
        life=pod.uid,
        held="" if pod.is_ready else f"pod {pod.name} is not ready",
    )


def _labels(pod: Pod) -> dict[str, str | None]:
    """Return the pod's labels, as many as a worker can have, and where it is."""
    fit = {
        key: value
        for key, value in {NAME_LABEL: pod.name, **pod.labels}.items()
        if len(key) <= MAX_LABEL_KEY and re.fullmatch(LABEL_KEY, key) and len(value) <= MAX_LABEL_VALUE
    }
    return {key: fit[key] for key in sorted(fit, key=lambda key: (key != NAME_LABEL, key))[:MAX_LABELS]}


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535


_MAY_BE: dict[str, Callable[[str], bool]] = {
    BOOTSTRAP_PORT: _is_port,
    PORT: _is_port,
    SCHEME: ("http", "https").__contains__,
}
_MEANT = {BOOTSTRAP_PORT: "a port", PORT: "a port", SCHEME: "http or https"}
