"""Which worker made a response of `/v1/responses`: only that one can tell of it, cancel it, or go on from it.

vLLM keeps responses in its server's memory, under ids of its own making. A plane notes who made those whose answers it
passed on. Of others (another plane's, or of before its start) it asks one worker after the other until one does not
answer 404, and notes that one: each plane searches once for each id, and nothing has to be told between planes.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from dataplane.slot import Slot
from shared.decoding import DECODE_ERRORS
from shared.routes import Route, named_in

if TYPE_CHECKING:
    from dataplane.exchange import Exchange

FAMILY = "responses"
MOST = 16_384
"""Ids that a plane knows: 3 MB, and hours of conversations that go on."""
_LONGEST = 128
"""Characters of an id; vLLM's have 21, and a client can choose one."""
_made = re.compile(rb'^(?:\{|.*?"response":\{)"id":"([\w\-.]{1,%d})"' % _LONGEST, re.DOTALL).match


class _Body(msgspec.Struct, frozen=True):
    previous_response_id: str | None = None


_decode = msgspec.json.Decoder(_Body).decode


def wanted_response(path: str, route: Route, body: bytes | bytearray) -> str:
    """Return the id of the response that a request of the family is about; empty when it makes a new one."""
    if route.finds:
        return named_in(path, route)
    try:
        return _decode(body).previous_response_id or ""
    except DECODE_ERRORS:
        return ""


class ResponseHomes:
    """The workers' ids by those of the last responses; an id that is used again is new."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._homes: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._homes)

    def note(self, response: str, worker: str) -> None:
        """Know who made a response, or showed that it has it."""
        if response and len(response) <= _LONGEST:
            self._homes[response] = worker
            self._homes.move_to_end(response)
            if len(self._homes) > self._most:
                self._homes.popitem(last=False)

    def home(self, response: str, among: Sequence[Slot], tried: Collection[Slot]) -> Slot | None:
        """Return the worker that made a response, if it is known, among those and not tried."""
        worker = self._homes.get(response)
        if worker is None:
            return None
        return next((slot for slot in among if slot.id == worker and slot not in tried), None)

    def learn(self, wanted: str, exchange: Exchange, worker: str) -> None:
        """Learn from a worker's whole answer to a request that was about `wanted`, or made a response."""
        if exchange.status == HTTPStatus.NOT_FOUND:
            return
        self.note(wanted, worker)
        if exchange.status == HTTPStatus.OK and (made := _made(b"".join(exchange.tail))) is not None:
            self.note(made[1].decode(), worker)
