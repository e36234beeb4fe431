"""Asking the router's processes how they are, over their sockets in the runtime folder."""

from __future__ import annotations

from pathlib import Path

from shared.messages import (
    ControlStatus,
    ControlStatusRequest,
    MessageError,
    PlaneRetire,
    PlaneStatus,
    PlaneStatusRequest,
    decode_downward,
    decode_plane_socket,
    encode,
)
from shared.runtime_dir import RuntimeDir
from shared.sockets import Context, ask

_ASK_PLANE = encode(PlaneStatusRequest())
_RETIRE = encode(PlaneRetire())
_ASK_CONTROL = encode(ControlStatusRequest())


async def plane_status(context: Context, runtime: RuntimeDir, plane_id: str, *, timeout: float) -> PlaneStatus | None:
    """Return how a plane is; None when it does not answer within `timeout` seconds."""
    return await _ask_plane(context, runtime, plane_id, _ASK_PLANE, timeout)


async def tell_retired(context: Context, runtime: RuntimeDir, plane_id: str, *, timeout: float) -> None:
    """Tell a plane that it is about to be stopped while the router goes on; one that does not answer is not told."""
    await _ask_plane(context, runtime, plane_id, _RETIRE, timeout)


async def _ask_plane(
    context: Context, runtime: RuntimeDir, plane_id: str, question: bytes, timeout: float
) -> PlaneStatus | None:
    frame = await _ask(context, runtime.plane_endpoint(plane_id), question, timeout)
    if frame is None:
        return None
    try:
        answer = decode_plane_socket(frame)
    except MessageError:
        return None
    return answer if isinstance(answer, PlaneStatus) else None


async def control_status(context: Context, runtime: RuntimeDir, *, timeout: float) -> ControlStatus | None:
    """Return how the control plane is; None when it does not answer within `timeout` seconds."""
    frame = await _ask(context, runtime.control_endpoint, _ASK_CONTROL, timeout)
    if frame is None:
        return None
    try:
        answer = decode_downward(frame)
    except MessageError:
        return None
    return answer if isinstance(answer, ControlStatus) else None


async def _ask(context: Context, endpoint: str, frame: bytes, timeout: float) -> bytes | None:
    # ZeroMQ would try again only after 100 ms; a file that is not there yet is known at once.
    if not _has_socket(endpoint):
        return None
    return await ask(context, endpoint, frame, timeout=timeout)


def _has_socket(endpoint: str) -> bool:
    return Path(endpoint.removeprefix("ipc://")).exists()
