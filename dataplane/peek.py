"""What routing reads of a request: little, and without changing a byte of it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence

import msgspec

from dataplane.splice import Names
from shared.decoding import DECODE_ERRORS
from shared.errors import unreadable_body


class _Arguments(msgspec.Struct, frozen=True):
    kv_transfer_params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Sampling(msgspec.Struct, frozen=True):
    extra_args: _Arguments | None = None


class Peek(msgspec.Struct, frozen=True):
    """The fields of a JSON body that routing needs; all others are skipped unread."""

    model: str | None = None
    kv_transfer_params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    vllm_xargs: _Arguments | None = None
    sampling_params: _Sampling | None = None

    def hands_over(self) -> bool:
        """Whether the body gives an engine orders for moving KV cache: see `KV_TRANSFER`."""
        unset = msgspec.UNSET
        if self.kv_transfer_params is not unset:
            return True
        if self.vllm_xargs is not None and self.vllm_xargs.kv_transfer_params is not unset:
            return True
        extra = self.sampling_params.extra_args if self.sampling_params is not None else None
        return extra is not None and extra.kv_transfer_params is not unset


KV_TRANSFER: Names = {
    "kv_transfer_params": None,
    "vllm_xargs": {"kv_transfer_params": None},
    "sampling_params": {"extra_args": {"kv_transfer_params": None}},
}
"""Where vLLM takes them from. Wrong ones end the whole engine, not the request."""

_NOTHING = Peek()
_decode = msgspec.json.Decoder(Peek).decode
_WHITE_SPACE = b" \t\r\n"
_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_ODD = 1 << 20
"""Bytes: a body that is JSON for vLLM's server but not by the standard is read by a slow parser, up to here."""


def peek(body: bytes | bytearray) -> Peek:
    """Read what routing needs; a body that is no JSON object yields nothing, and the worker says what is wrong.

    vLLM's server also takes NaN, byte order marks, UTF-16 and UTF-32: what it would read there is read here.
    Raises RouterError for such a body that is too large or nested too deeply to be looked into.
    """
    if body[:1] != b"{" and not _may_be_an_object(body):
        return _NOTHING
    try:
        return _decode(body)
    except DECODE_ERRORS:
        return _peek_slowly(body)


def _may_be_an_object(body: bytes | bytearray) -> bool:
    start = body[:64].lstrip(_WHITE_SPACE)
    # Byte order marks, and the zero bytes of UTF-16 and UTF-32 without one.
    return start.startswith((b"{", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\0" in body[:4]


def _peek_slowly(body: bytes | bytearray) -> Peek:
    if len(body) > _MOST_ODD:
        raise unreadable_body()
    try:
        found = json.loads(body)
    except RecursionError:
        # Other parsers may go deeper: what is in there can not be known.
        raise unreadable_body() from None
    except ValueError:
        return _NOTHING
    if not isinstance(found, dict):
        return _NOTHING
    model = found.get("model")
    sampling = found.get("sampling_params")
    places = (found, found.get("vllm_xargs"), sampling.get("extra_args") if isinstance(sampling, dict) else None)
    orders = any(isinstance(place, dict) and "kv_transfer_params" in place for place in places)
    return Peek(
        # Half a surrogate pair is text for json and for nobody else.
        model=model if isinstance(model, str) and not _SURROGATE.search(model) else None,
        kv_transfer_params=msgspec.Raw(b"") if orders else msgspec.UNSET,
    )


_is_usable_id = re.compile(rb"[ -~]{1,256}").fullmatch
"""It goes into logs, errors and the answer's head, so nothing in it may steer a terminal or fill them up."""


def request_id(fields: Mapping[bytes, bytes], names: Sequence[bytes], rng: random.Random) -> bytes:
    """Return the request's id: the value of the first of `names` that has one, or a new one of 24 hex digits.

    One that is not printable ASCII or has more than 256 characters is passed over.
    """
    for name in names:
        if name in fields and _is_usable_id(fields[name]):
            return fields[name]
    return rng.randbytes(12).hex().encode()
