"""What the control plane asks single planes, and their answers: receipts, requests, trials of settings."""

from __future__ import annotations

import msgspec

from shared.plane_identity import PlaneIdentity
from shared.receipt import Receipt
from shared.request_lines import RequestLines
from shared.table import Settings, Stamp


class ReceiptRequest(msgspec.Struct, frozen=True, tag="receipt-request"):
    """Asks a plane for the receipt of a request. Answered by `ReceiptAnswer` of the same `request_id`."""

    request_id: int
    stamp: Stamp
    request: str


class RequestLinesRequest(msgspec.Struct, frozen=True, tag="request-lines-request"):
    """Asks a plane for `most` of its open requests and as many of its last ones, or of those with trouble.

    Answered by `RequestLinesAnswer` of the same `request_id`.
    """

    request_id: int
    stamp: Stamp
    most: int
    troubled: bool


class Trial(msgspec.Struct, frozen=True, tag="trial"):
    """Asks whether the plane could serve by these settings. It goes on by those that it has, and answers `Tried`."""

    request_id: int
    stamp: Stamp
    settings: Settings


class ReceiptAnswer(msgspec.Struct, frozen=True, tag="receipt-answer"):
    """The newest receipt of the request asked for; None when the plane has none."""

    plane: PlaneIdentity
    request_id: int
    receipt: Receipt | None


class RequestLinesAnswer(msgspec.Struct, frozen=True, tag="request-lines-answer"):
    """The plane's open and last requests."""

    plane: PlaneIdentity
    request_id: int
    lines: RequestLines


class Tried(msgspec.Struct, frozen=True, tag="tried"):
    """What came of the `Trial` of the same id; `refusal` says why the plane could not, empty when it could."""

    plane: PlaneIdentity
    request_id: int
    refusal: str
