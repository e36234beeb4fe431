"""What the API server sends, as far as it is read: `PodList`, watch events, `Status`. Unknown fields are passed over.

The shapes are those of the core v1 API (https://kubernetes.io/docs/reference/kubernetes-api/). Go writes an empty list
or map as null as well.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.decoding import DECODE_ERRORS

MAX_MESSAGE = 500
"""Characters of what the API server says that are passed on to people."""


class ObjectsError(ValueError):
    """What came is not what the API server was asked for."""


class _Condition(msgspec.Struct, frozen=True):
    type: str
    status: str


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _PodStatus(msgspec.Struct, frozen=True):
    phase: str = "Unknown"
    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: tuple[_Condition, ...] | None = None


class PodObject(msgspec.Struct, frozen=True):
    """A pod as it comes."""

    metadata: _Metadata
    status: _PodStatus = _PodStatus()

    @property
    def is_ready(self) -> bool:
        """Whether its readiness probe says so."""
        return any(one.type == "Ready" and one.status == "True" for one in self.status.conditions or ())


class _ListMetadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    next_page: str | None = msgspec.field(default=None, name="continue")


class PodList(msgspec.Struct, frozen=True):
    """A page of a list. Each page of one list has the same resource version."""

    kind: str
    metadata: _ListMetadata
    items: tuple[PodObject, ...] | None = None


class _Status(msgspec.Struct, frozen=True):
    message: str = ""
    reason: str = ""
    code: int = 0


class Bookmark(msgspec.Struct, frozen=True):
    """How far a watch has come, where nothing happened."""

    version: str


class PodEvent(msgspec.Struct, frozen=True):
    """What became of a pod. `DELETED` also says that its labels do not match any more."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    pod: PodObject


class Failure(msgspec.Struct, frozen=True):
    """The server's end of a watch, or its answer instead of a list. `code` is as a status of HTTP."""

    code: int
    message: str


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Marked(msgspec.Struct, frozen=True):
    metadata: _Metadata


_list = msgspec.json.Decoder(PodList)
_event = msgspec.json.Decoder(_Event)
_pod = msgspec.json.Decoder(PodObject)
_marked = msgspec.json.Decoder(_Marked)
_status = msgspec.json.Decoder(_Status)


def read_page(body: bytes) -> PodList:
    """Return a page of a list. Raises ObjectsError."""
    try:
        page = _list.decode(body)
    except DECODE_ERRORS as error:
        raise ObjectsError(f"it is no list of pods: {error}") from None
    # A proxy before the API server answers in JSON, too.
    if page.kind != "PodList" or not page.metadata.resource_version:
        raise ObjectsError(f"it is no list of pods but of kind {page.kind[:80]!r}")
    return page


def read_event(line: bytes) -> PodEvent | Bookmark | Failure:
    """Return one event of a watch. Raises ObjectsError."""
    try:
        event = _event.decode(line)
        match event.type:
            case "ADDED" | "MODIFIED" | "DELETED":
                return PodEvent(event.type, _pod.decode(event.object))
            case "BOOKMARK":
                return Bookmark(_marked.decode(event.object).metadata.resource_version)
            case "ERROR":
                return read_failure(event.object, 0)
    except DECODE_ERRORS as error:
        raise ObjectsError(f"it is no event of a watch: {error}") from None
    raise ObjectsError(f"it is no event of a watch but of type {event.type[:80]!r}")


def read_failure(body: bytes | msgspec.Raw, code: int) -> Failure:
    """Return what an error's body says; `code` where it does not tell one. A proxy's page says nothing."""
    try:
        status = _status.decode(body)
    except DECODE_ERRORS:
        return Failure(code, "")
    shown = "".join(char if char.isprintable() else " " for char in status.message or status.reason)
    return Failure(status.code or code, shown[:MAX_MESSAGE])
