"""What a worker is like, as its operator says: role, labels, weight, capacity, limit, priority, how it moves KV cache.

Each source of workers may say some of it and leave the rest out. What operators said while the router runs lies over
what the configuration says, attribute by attribute and label by label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec

from shared.as_written import as_written
from shared.table import DEFAULT_PRIORITY, DEFAULT_WEIGHT, Role
from shared.transfer_attributes import TransferAttributes, wrong_transfer

MAX_LABELS = 32
MAX_LABEL_KEY = 63
MAX_LABEL_VALUE = 128
"""Characters. Labels travel to every plane with each change of their worker."""
MAX_WEIGHT = 1000.0
CAPACITIES = (0.001, 1_000_000.0)
MAX_LIMIT = 1_000_000
MAX_PRIORITY = 2**32 - 1
"""vllm-router's priorities are 32-bit."""

ATTRIBUTES = ("role", "labels", "weight", "capacity", "max_concurrent_requests", "priority", "transfer")
LABEL_KEY = "[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"


class WorkerAttributes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What somebody says of a worker; None is nothing. A label whose value is None is taken away."""

    role: Role | None = None
    labels: dict[str, str | None] = {}
    weight: float | None = None
    capacity: float | None = None
    max_concurrent_requests: int | None = None
    priority: int | None = None
    transfer: TransferAttributes | None = None

    def __post_init__(self) -> None:
        for name in ("weight", "capacity"):
            if isinstance(value := getattr(self, name), int):
                msgspec.structs.force_setattr(self, name, float(value))


class ConfiguredWorker(WorkerAttributes, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A worker as the configuration names it."""

    url: str


class AttributeChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A merge patch (RFC 7396): what is left out stays, null goes back to what the configuration says."""

    labels: dict[str, str | None] | msgspec.UnsetType | None = msgspec.UNSET
    weight: float | msgspec.UnsetType | None = msgspec.UNSET
    capacity: float | msgspec.UnsetType | None = msgspec.UNSET
    max_concurrent_requests: int | msgspec.UnsetType | None = msgspec.UNSET
    priority: int | msgspec.UnsetType | None = msgspec.UNSET


NOTHING_SAID = WorkerAttributes()


def attributes_of(worker: WorkerAttributes) -> WorkerAttributes:
    """Return the attributes alone, without the URL of a `ConfiguredWorker`."""
    return WorkerAttributes(**{name: getattr(worker, name) for name in ATTRIBUTES})


def layered(over: WorkerAttributes, under: WorkerAttributes) -> WorkerAttributes:
    """Return what two say, `over` wherever it says something."""
    said = {name: getattr(over, name) for name in ATTRIBUTES if getattr(over, name) is not None}
    return msgspec.structs.replace(under, **{**said, "labels": {**under.labels, **over.labels}})


def patched(said: WorkerAttributes, change: AttributeChange, configured: WorkerAttributes) -> WorkerAttributes:
    """Return what operators say after a change. Labels that the configuration does not have are not kept as gone."""
    given = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not msgspec.UNSET}
    if "labels" in given:
        labels = {**said.labels, **given["labels"]} if given["labels"] is not None else {}
        given["labels"] = {key: value for key, value in labels.items() if value is not None or key in configured.labels}
    return msgspec.structs.replace(said, **given)


def resolved(configured: WorkerAttributes, said: WorkerAttributes = NOTHING_SAID) -> dict[str, Any]:
    """Return the fields of `shared.table.Worker` (but for role and transfer) that both make, with the defaults."""
    labels = {**configured.labels, **said.labels}
    weight = configured.weight if said.weight is None else said.weight
    priority = configured.priority if said.priority is None else said.priority
    limit = configured.max_concurrent_requests
    return {
        "labels": {key: labels[key] for key in sorted(labels) if labels[key] is not None},
        "weight": DEFAULT_WEIGHT if weight is None else weight,
        "capacity": configured.capacity if said.capacity is None else said.capacity,
        "max_concurrent_requests": limit if said.max_concurrent_requests is None else said.max_concurrent_requests,
        "priority": DEFAULT_PRIORITY if priority is None else priority,
    }


def said_names(said: WorkerAttributes) -> tuple[str, ...]:
    """Return which attributes something is said of."""
    return tuple(name for name in ATTRIBUTES if getattr(said, name) not in (None, {}))


def wrong_attributes(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and fault of each attribute that can not work, typed as JSON or TOML has typed it.

    A fault goes on from the name: "is 'x'; write a number from 0 to 1000".
    """
    if (role := values.get("role")) is not None:
        yield from _wrong_role(role)
    if (labels := values.get("labels")) is not None:
        yield from (("labels", fault) for fault in _wrong_labels(labels))
    for name, low, high in (("weight", 0.0, MAX_WEIGHT), ("capacity", *CAPACITIES)):
        value = values.get(name)
        if value is not None and (type(value) not in (int, float) or not low <= value <= high):
            yield name, f"is {as_written(value)}; write a number from {low:g} to {high:.12g}"
    if (transfer := values.get("transfer")) is not None:
        yield from (("transfer", fault) for fault in wrong_transfer(transfer))
    most = values.get("max_concurrent_requests")
    if most is not None and (type(most) is not int or not 0 <= most <= MAX_LIMIT):
        yield (
            "max_concurrent_requests",
            f"is {as_written(most)}; write a whole number from 1 to {MAX_LIMIT}, or 0 for no limit",
        )
    priority = values.get("priority")
    if priority is not None and (type(priority) is not int or not 0 <= priority <= MAX_PRIORITY):
        yield (
            "priority",
            f"is {as_written(priority)}; write a whole number from 0 to {MAX_PRIORITY}, higher is preferred",
        )


def _wrong_role(role: Any) -> Iterator[tuple[str, str]]:
    if role not in get_args(Role):
        yield "role", f"is {as_written(role)}; leave it out, or write one of: {', '.join(get_args(Role))}"


def _wrong_labels(labels: Any) -> Iterator[str]:
    if not isinstance(labels, Mapping):
        yield f'is {labels!r}; write names with texts, such as zone = "a"'
        return
    if len(labels) > MAX_LABELS:
        yield f"has {len(labels)} labels; write at most {MAX_LABELS}"
    for key, value in labels.items():
        if len(key) > MAX_LABEL_KEY or not re.fullmatch(LABEL_KEY, key):
            yield (
                f"has {key[:80]!r}; write a name of at most {MAX_LABEL_KEY} letters, digits and ._/- "
                "that begins and ends with a letter or digit"
            )
        elif value is not None and not isinstance(value, str):
            yield f"has {key!r} = {value!r}; write a text, in quotes"
        elif value is not None and (len(value) > MAX_LABEL_VALUE or not value.isprintable()):
            yield f"has a value of {key!r} that is no text of at most {MAX_LABEL_VALUE} printable characters"
