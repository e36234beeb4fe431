"""What the control plane asks planes for: receipts, their requests, and whether they could serve by other settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from controlplane.planes import MAX_NACK, Planes
from controlplane.publication import Publication
from controlplane.questions import Questions
from shared.messages import Downward, Upward
from shared.question_messages import (
    ReceiptAnswer,
    ReceiptRequest,
    RequestLinesAnswer,
    RequestLinesRequest,
    Trial,
    Tried,
)
from shared.receipt import Receipt
from shared.request_lines import RequestLines, merged
from shared.table import Settings, Stamp


class PlaneQuestions:
    """Asks one plane, or all that are there; those that say nothing within `patience` seconds are left out."""

    def __init__(self, send: Callable[[str, Downward], None], planes: Planes, publication: Publication) -> None:
        """`send` passes a message to the plane of an id."""
        self._questions = Questions(send)
        self._planes = planes
        self._publication = publication

    def take(self, answer: ReceiptAnswer | RequestLinesAnswer | Tried) -> None:
        """Take a plane's answer."""
        self._questions.take(answer.request_id, answer)

    async def receipts(self, request: str, patience: float) -> tuple[Receipt, ...]:
        """Return what the planes know of a request."""
        answers = await self._ask_all(lambda number, stamp: ReceiptRequest(number, stamp, request), patience)
        found = (answer.receipt for answer in answers if isinstance(answer, ReceiptAnswer))
        return tuple(receipt for receipt in found if receipt is not None)

    async def request_lines(self, most: int, patience: float, *, troubled: bool) -> RequestLines:
        """Return the open and the last requests of all planes, `most` of each kind."""
        answers = await self._ask_all(
            lambda number, stamp: RequestLinesRequest(number, stamp, most, troubled), patience
        )
        return merged(tuple(answer.lines for answer in answers if isinstance(answer, RequestLinesAnswer)), most)

    async def trial(self, plane: str, settings: Settings, patience: float) -> str | None:
        """Ask a plane whether it could serve by these settings.

        Returns why not, empty when it could; None when it has said nothing.
        """
        stamp = self._publication.table.stamp
        answer = await self._questions.ask(plane, lambda number: Trial(number, stamp, settings), patience)
        return answer.refusal[:MAX_NACK] if isinstance(answer, Tried) else None

    async def _ask_all(self, question: Callable[[int, Stamp], Downward], patience: float) -> Iterable[Upward | None]:
        stamp = self._publication.table.stamp
        return await asyncio.gather(
            *(
                self._questions.ask(plane.identity.id, lambda number: question(number, stamp), patience)
                for plane in self._planes.present()
            )
        )
