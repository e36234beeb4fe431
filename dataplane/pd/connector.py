"""What a way of moving KV cache asks of the router: pure steps over plain data, no socket and no clock.

A connector says what two workers must be asked so that one computes a prompt and the other answers with its KV cache.
The engine (`transaction.py`) chooses the two, asks them in the connector's `order`, and sees to all that can fail:

    prefill-first   choose P -> ask P -> its answer -> choose D -> ask D
    pair-first      choose P and D -> ask P -> its answer -> ask D
    together        choose P and D -> ask both at once

Each pair of legs is a `Pairing` with a key that no other has. What failed is begun again with another one, so
nothing that was made for a pairing is ever used twice.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import ClassVar, NamedTuple

from dataplane.pd.members import Members
from shared.transfer import Transfer

_OUTPUT_LIMIT = {"/v1/responses": "max_output_tokens"}
_NOT_FOR_PREFILL = ("stream_options", "min_tokens", "min_completion_tokens")
"""vLLM answers 400 to the first one without a stream, and to the others when they are above one token."""
_WHERE_PRESENT = {"max_completion_tokens": "1"}
LEASE = 20.0
"""Seconds: vLLM 0.22+ keeps what was handed over for 30 s, unless the decode worker asks for it."""


class Order(Enum):
    """When the decode worker is chosen and asked."""

    PREFILL_FIRST = "prefill-first"
    """Chosen and asked when the prefill worker's answer is there."""
    PAIR_FIRST = "pair-first"
    """Chosen before the prefill worker is asked, which must know it; asked when its answer is there."""
    TOGETHER = "together"
    """Chosen before, and asked in the same moment."""


class Peer(NamedTuple):
    """One of the two workers, as the table has it; `models` is None while it has not told them."""

    id: str
    url: str
    rank: int | None = None
    version: str | None = None
    models: tuple[str, ...] | None = None
    transfer: Transfer = Transfer()


class Pairing(NamedTuple):
    """One pair of legs: the client's request, a `key` of 32 hex digits that no other pairing has, and the peers.

    `decode` is None while it is not chosen, which only `Order.PREFILL_FIRST` has, and only for the prefill leg.
    """

    path: str
    body: bytes | bytearray
    key: str
    prefill: Peer
    decode: Peer | None = None


class Ask(NamedTuple):
    """What a leg is sent. `fields` (names in lower case) stand in the place of all of the client's of these names.

    The other fields of the client go to both legs, its credentials too. `x-data-parallel-rank` is set by the router
    for a worker that is a rank (`Peer.rank`), and is a connector's to set for others only. A `x-request-id` here is for
    the workers: the client's answer has the one that it knows.
    """

    body: bytes | bytearray
    fields: tuple[tuple[bytes, bytes], ...] = ()


class Connector(ABC):
    """One way. The class variables are what is true of it for any two workers."""

    name: ClassVar[str]
    """As in `--kv-connector`."""
    serves_once: ClassVar[bool] = True
    """Whether a decode leg uses up what was prepared for it. Another try takes another prefill, once the first one may
    have reached a worker or `lease` is over; and a 500 says that it could not be fetched. False: nothing is handed
    over, whoever looks finds it."""
    lease: ClassVar[float] = LEASE
    """Seconds from the prefill's answer in which the decode leg must go out, where it `serves_once`."""
    serves_whole: ClassVar[bool] = True
    """Whether a prefill or decode worker can do a request by itself, which `--pd-fallback` and requests that can not be
    shared (`eligible.py`) need. False: only regular workers are asked for that."""
    takes_several: ClassVar[bool] = False
    """Whether several prompts, or several answers to one (`n`), can be handed over together."""

    @abstractmethod
    def order(self, prefill: Peer) -> Order:
        """Return when the decode worker is chosen and asked, for this prefill worker."""

    def misfit(self, prefill: Peer, decode: Peer) -> str | None:
        """Return why the two can not be a pair, in words for a receipt; None when they can, as far as is known.

        It may look at versions, models, modes, numbers of ranks, at how an address is built, and at whether a port or
        the rank's engine id is there, not at what these are: of workers that are alike in all that (`pairs.kind_of`)
        only two are asked about.
        """
        return other_connector(self.name, prefill, decode)

    @abstractmethod
    def prefill(self, pairing: Pairing) -> Ask:
        """Return what the prefill worker is asked. Raises ValueError, RecursionError for a body that can not be read.

        The engine reads the answer whole, so it must not be a stream: see `one_token`.
        """

    @abstractmethod
    def handoff(self, answer: bytes) -> bytes | None:
        """Return what the decode worker must know of the prefill's answer (2xx), `b""` for nothing.

        None means that nothing usable was handed over: no decode leg may go out for it. The decode worker is then
        asked with the client's body, if it `serves_whole`. When both were asked together, the decode leg is
        closed, and there is another pairing.
        """

    @abstractmethod
    def decode(self, pairing: Pairing, handoff: bytes) -> Ask:
        """Return what the decode worker is asked; `handoff` is `b""` for `Order.TOGETHER`.

        Raises ValueError, RecursionError as `prefill`. With `Order.PREFILL_FIRST` the result must be the same for any
        two decode workers apart from their own names and addresses.
        """


def one_token(
    path: str, body: bytes | bytearray, members: Mapping[str, str] = {}, *, without: tuple[str, ...] = ()
) -> bytes:
    """Return a body that asks for one token, not streamed, with further `members` (JSON texts), `without` others.

    Raises ValueError (RecursionError for deep nesting) when the body is no JSON object.
    """
    values = {"stream": "false", _OUTPUT_LIMIT.get(path, "max_tokens"): "1", **members}
    return _members(tuple(values), without).edited(body, values)


@lru_cache(64)
def _members(put: tuple[str, ...], without: tuple[str, ...]) -> Members:
    where_present = {name: value for name, value in _WHERE_PRESENT.items() if name not in put}
    return Members(put, where_present, tuple({*_NOT_FOR_PREFILL, *without} - {*put, *where_present}))


def first_member(body: bytes | bytearray, name: str, value: bytes) -> bytes:
    """Return the body, a JSON object that has no such member, with one before all others. Raises ValueError."""
    start = body.index(b"{") + 1
    comma = b"" if _ends(body, start) else b","
    return b"".join((body[:start], b'"', name.encode(), b'":', value, comma, body[start:]))


_ends = re.compile(rb"\s*\}").match


_is_address = re.compile(r"[!-~]{1,256}").fullmatch


def has_address(peer: Peer) -> bool:
    """Whether a worker has told an address that can stand in a request id: visible ASCII, as a field's value needs."""
    return _is_address(peer.transfer.address) is not None


def other_connector(name: str, *peers: Peer) -> str | None:
    """Return which peer has told that it moves KV cache in another way than `name`, in words; None for none."""
    for peer in peers:
        if peer.transfer.connector not in ("", name):
            return f"{peer.id} moves KV cache by {peer.transfer.connector}, not by {name}"
    return None


def other_version(prefill: Peer, decode: Peer) -> str | None:
    """Return that the two have told different versions of the server, in words; None when not, or not known."""
    if None in (prefill.version, decode.version) or prefill.version == decode.version:
        return None
    return f"{prefill.id} runs version {prefill.version}, {decode.id} runs {decode.version}"


def other_models(prefill: Peer, decode: Peer) -> str | None:
    """Return that the two have told models of which none is the other's, in words; None when not, or not known."""
    if prefill.models is None or decode.models is None or set(prefill.models) & set(decode.models):
        return None
    return f"{prefill.id} and {decode.id} serve no model in common"
