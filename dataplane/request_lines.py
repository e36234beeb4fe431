"""What a plane tells of its open and last requests, a line each."""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.receipts import MAX_TEXT, Record
from dataplane.request import Request
from shared.request_lines import RequestLine


def open_line(request: Request, *, plane: str, shift: float) -> RequestLine:
    """Return the line of an open request. `shift` is Unix time less the loop's, in seconds."""
    phase, workers, first_byte = request.standing()
    client, model = request.client, request.model
    return RequestLine(
        request=request.id[:MAX_TEXT].decode("latin-1"),
        plane=plane,
        method=client.method[:MAX_TEXT],
        path=client.path[:MAX_TEXT],
        model=model and model[:MAX_TEXT],
        arrived=round(request.arrived + shift, 3),
        workers=workers,
        phase=phase.value,
        first_byte=round(first_byte - request.arrived, 4) if first_byte is not None else None,
    )


def ended_lines(records: Iterable[Record], *, plane: str, shift: float) -> Iterable[RequestLine]:
    """Yield the lines of requests that have ended."""
    for record in records:
        arrived, first_byte, ended = record.times
        yield RequestLine(
            request=record.request_id.decode("latin-1"),
            plane=plane,
            method=record.method,
            path=record.path,
            model=record.model,
            arrived=round(arrived + shift, 3),
            workers=tuple(one.worker for one in record.tries),
            failed=sum(bool(one.failed) for one in record.tries),
            outcome=record.outcome,
            status=record.status,
            first_byte=round(first_byte - arrived, 4) if first_byte else None,
            ended=round(ended - arrived, 4),
        )
