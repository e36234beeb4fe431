"""What the two legs of one request are sent: pairing after pairing, nothing of one in another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.compose import compose
from dataplane.exchange import Exchange
from dataplane.leg import Message
from dataplane.pd.answer import Answer
from dataplane.pd.connector import Ask, Connector, Order, Pairing, Peer
from dataplane.pd.eligible import tokens_before_first_byte
from dataplane.pd.handover import must_renew
from dataplane.pd.usage import cached_tokens
from dataplane.upstream.head import Headers, with_length
from shared.errors import unreadable_body

if TYPE_CHECKING:
    from dataplane.forward import Forwarder
    from dataplane.request import Request

READ_BY_US = frozenset({b"accept-encoding"})
"""Not asked of either worker: the answer of the one is read here, that of the other is looked into."""


class Handing:
    """The pairing at hand, and what was handed over in it."""

    __slots__ = (
        "_composed",
        "_connector",
        "_forwarder",
        "_given_at",
        "_handoff",
        "_pairing",
        "_request",
        "answer",
        "order",
    )

    def __init__(self, request: Request, forwarder: Forwarder, connector: Connector) -> None:
        self._request = request
        self._forwarder = forwarder
        self._connector = connector
        settings = forwarder.fleet.view.settings
        self.answer = Answer(request.client, hides_transfer=not settings.trust_kv_transfer_params)
        """What the decode worker answers to; the client is behind it."""
        self.order = Order.PREFILL_FIRST
        self._pairing: Pairing | None = None
        self._handoff: bytes | None = None
        # A leg's message, and the fields that its connector put into it.
        self._composed: tuple[Headers, Message] | None = None
        # When a handoff was given that serves once (the loop's time in seconds).
        self._given_at: float | None = None

    @property
    def is_paired(self) -> bool:
        """Whether both workers were chosen for each other, so that neither leg can go on without the other."""
        return self.order is not Order.PREFILL_FIRST

    def ask_prefill(self, prefill: Peer, decode: Peer | None) -> Message:
        """Begin a pairing; return what the prefill worker is asked. Raises RouterError."""
        request = self._request
        self.answer.changes.cached = None
        self._pairing = Pairing(request.path, request.body, self._forwarder.pairing_key(), prefill, decode)
        try:
            asked = self._connector.prefill(self._pairing)
        except (ValueError, RecursionError):
            raise unreadable_body() from None
        return self.compose(asked)

    def compose(self, asked: Ask) -> Message:
        """Return what a leg is asked, with the client's head. Both legs have the same one, as a rule."""
        if self._composed is not None and self._composed[0] == asked.fields:
            line, fields, _ = self._composed[1]
            return line, with_length(fields, len(asked.body)), asked.body
        message = compose(self._request, self._forwarder.fleet, asked.body, without=READ_BY_US, fields=asked.fields)
        self._composed = asked.fields, message
        return message

    def read(self, answer: bytes) -> bytes | None:
        """Return what a prefill worker's answer hands over; None for nothing usable."""
        handoff = self._connector.handoff(answer)
        # Who computes the prompt anew counts for itself.
        self.answer.changes.cached = None if handoff is None else cached_tokens(self._request.path, answer)
        return handoff

    def hand_over(self, handoff: bytes | None) -> None:
        """Keep what the decode worker is told; None has it do the whole request."""
        self._handoff = handoff
        self._given_at = None
        if handoff is not None and self._connector.serves_once:
            self._given_at = self._forwarder.loop.time()

    def is_first_byte_due(self, decode: Exchange | None) -> bool:
        """Whether a decode worker that goes on from another's work could have begun its answer.

        Of a stream that is at once, but for queues and the transfer; of another answer when all its tokens are made.
        """
        if self._handoff is None or decode is None:
            return False
        tokens = tokens_before_first_byte(self._request.body)
        if not tokens:
            return tokens == 0
        each = self._forwarder.fleet.view.settings.decode_token_timeout
        return each > 0 and self._forwarder.loop.time() - decode.sent_at > each * tokens

    @property
    def serves_once(self) -> bool:
        """Whether it can do that only once."""
        return self._given_at is not None

    def ask_decode(self, decode: Peer) -> Ask | None:
        """Return what a decode worker is asked; None for the whole request. Raises RouterError."""
        if self._handoff is None or self._pairing is None:
            return None
        path, body, key, prefill, _ = self._pairing
        try:
            return self._connector.decode(Pairing(path, body, key, prefill, decode), self._handoff)
        except (ValueError, RecursionError):
            raise unreadable_body() from None

    def must_renew(self, *, is_sent: bool) -> bool:
        """Whether the decode leg needs another pairing before it goes on; it `is_sent` if a worker may have got it."""
        if self.is_paired or self._given_at is None:
            return self.is_paired
        age = self._forwarder.loop.time() - self._given_at
        return must_renew(is_sent=is_sent, age=age, lease=self._connector.lease)

    def choose_order(self, prefill: Peer) -> None:
        """Go by the order that the connector wants with a prefill worker."""
        self.order = self._connector.order(prefill)

    @property
    def serves_whole(self) -> bool:
        """Whether a decode worker can do a request by itself."""
        return self._connector.serves_whole

    def can_recompute(self) -> bool:
        """Whether a decode worker that got nothing can be asked for the whole request."""
        return self._connector.serves_whole and self.order is not Order.TOGETHER
