"""The conformance test of connectors, for those of others, too.

    from dataplane.pd.conformance import check_connector

    def test_it() -> None:
        check_connector(MyConnector, answer=b'{"id":"x"}')

`answer` is what a prefill worker answers that hands something over; `prefill` and `decode` are what is known of how the
two move KV cache. It raises AssertionError with what is wrong.
"""

# ruff: noqa: S101 - it is a test
from __future__ import annotations

import json
from typing import Any

from dataplane.pd.connector import Ask, Connector, Order, Pairing, Peer
from shared.transfer import Transfer

_KEY = "0123456789abcdef" * 2
_NOBODY = Transfer()
_BODIES: dict[str, dict[str, Any]] = {
    "/v1/completions": {"model": "m", "prompt": "a b", "max_tokens": 9, "stream": True, "x": [1, {"y": None}]},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "\u00e4"}], "model": "m", "stream": True},
    "/v1/responses": {"model": "m", "input": "a b", "max_output_tokens": 9},
    "/v1/messages": {"model": "m", "messages": [{"role": "user", "content": "a"}], "max_tokens": 9},
}
_OF_PREFILL = frozenset(
    {
        "stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "min_tokens",
        "min_completion_tokens", "n", "stop", "stop_token_ids", "stop_sequences", "ignore_eos", "kv_transfer_params",
    }
)  # fmt: skip
_UNUSABLE = (b"", b"no JSON", b"[]", b'"x"', b"1", b"\xff", b'{"kv_transfer_params":[1]}', b"[" * 100_000)
_NOT_A_FIELD = frozenset({b"content-length", b"transfer-encoding", b"connection", b"host", b"authorization"})


def check_connector(
    kind: type[Connector], *, answer: bytes, prefill: Transfer = _NOBODY, decode: Transfer = _NOBODY
) -> None:
    """Check what every connector must do. Raises AssertionError."""
    assert isinstance(kind.name, str), "its name is a text"
    assert kind.name, "its name is not empty"
    connector = kind()
    first = Peer("http://p:1", "http://p:1", transfer=prefill)
    second = Peer("http://d:1", "http://d:1", transfer=decode)
    assert connector.misfit(first, second) is None, "the two that were given fit each other"
    said = connector.misfit(first._replace(transfer=Transfer()), second._replace(transfer=Transfer()))
    assert said is None or (isinstance(said, str) and said), "why two do not fit is said in words"
    order = connector.order(first)
    assert isinstance(order, Order), "its order is one of Order"
    handoff = connector.handoff(answer)
    assert isinstance(handoff, bytes), "it takes what the answer hands over"
    for path, members in _BODIES.items():
        body = json.dumps(members).encode()
        pairing = Pairing(path, body, _KEY, first, second)
        _check_prefill(connector, pairing, members, order)
        _check_decode(connector, pairing, members, handoff if order is not Order.TOGETHER else b"")
    for unusable in _UNUSABLE:
        told = connector.handoff(unusable)
        assert told in (None, b""), f"an answer such as {unusable[:20]!r} hands nothing over"
        assert told is None or not handoff, f"for an answer such as {unusable[:20]!r} no decode leg goes out"
    _check_refusals(connector, Pairing("/v1/completions", b"", _KEY, first, second))


def _check_prefill(connector: Connector, pairing: Pairing, members: dict[str, Any], order: Order) -> None:
    ask = _asked_alike(connector.prefill(pairing), connector.prefill(pairing))
    if order is Order.PREFILL_FIRST:
        assert connector.prefill(pairing._replace(decode=None)) == ask, "the prefill leg does not depend on the other"
    asked = json.loads(bytes(ask.body))
    assert asked.get("stream") is not True, "the prefill's answer is not a stream"
    assert "stream_options" not in asked, "vLLM refuses stream_options without a stream"
    limit = "max_output_tokens" if pairing.path == "/v1/responses" else "max_tokens"
    assert asked.get(limit) == 1, f"the prefill leg asks for one token ({limit})"
    for name in members.keys() - _OF_PREFILL:
        assert asked.get(name) == members[name], f"the prefill leg keeps the client's {name}"


def _check_decode(connector: Connector, pairing: Pairing, members: dict[str, Any], handoff: bytes) -> None:
    ask = _asked_alike(connector.decode(pairing, handoff), connector.decode(pairing, handoff))
    asked = json.loads(bytes(ask.body))
    for name in members:
        assert asked.get(name) == members[name], f"the decode leg keeps the client's {name}"
    assert asked.keys() - members.keys() <= {"kv_transfer_params"}, "the decode leg gets no member but its order"


def _asked_alike(ask: Ask, again: Ask) -> Ask:
    assert ask == again, "the same pairing is asked the same"
    for name, value in ask.fields:
        assert name == name.lower(), f"the field {name!r} is in lower case"
        assert name not in _NOT_A_FIELD, f"the field {name!r} is the router's"
        assert not set(value) & set(b"\r\n\0"), f"the value of {name!r} is one line"
    return ask


def _check_refusals(connector: Connector, pairing: Pairing) -> None:
    for body in (b"", b"no JSON", b"[1]", b'{"a":', b"\xff{"):
        try:
            connector.prefill(pairing._replace(body=body))
        except (ValueError, RecursionError):
            continue
        raise AssertionError(f"a body such as {body!r} is refused with ValueError")
