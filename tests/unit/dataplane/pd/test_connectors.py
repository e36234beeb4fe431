"""What each connector has the two workers asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.pd.connector import Ask, Connector, Order, Pairing, Peer
from dataplane.pd.connectors import connector_of
from shared.config_pd import KV_CONNECTORS
from shared.transfer import Transfer

NIXL, EXAMPLE = connector_of("nixl"), connector_of("example")
ORDER = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
# As vLLM 0.32 answered.
TOLD = (
    b'{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[38,37,39,27,26,25]],'
    b'"remote_engine_id":"8412fc54-c6b7-42c2-b052-d77f4ad13edd","remote_request_id":"cmpl-8cdaec562b5c20bf-0-b18b8370",'
    b'"remote_host":"127.0.0.1","remote_port":5600,"tp_size":1,"dcp_size":1,"pp_size":1,"remote_num_tokens":161,'
    b'"remote_blocks_expiry_time":null,"transfer_mode":"pull","remote_prefill_cached_tokens":0}'
)
P, D = Peer("p", "http://p:1"), Peer("d", "http://d:1")


def asked_of_prefill(connector: Connector, path: str, body: bytes) -> bytes:
    ask = connector.prefill(Pairing(path, body, "0" * 32, P))
    assert ask.fields == ()
    return bytes(ask.body)


def asked_of_decode(connector: Connector, body: bytes, handoff: bytes) -> Ask:
    return connector.decode(Pairing("/v1/completions", body, "0" * 32, P, D), handoff)


def test_the_configuration_offers_those_that_are_there() -> None:
    assert [connector_of(name).name for name in KV_CONNECTORS] == list(KV_CONNECTORS)


def test_a_prefill_is_one_token_not_streamed_and_keeps_what_it_does_not_know() -> None:
    body = (
        b'{"model": "m", "prompt":"\\u0041 x" , "stream":true,'
        b'"stream_options":{"include_usage":true}, "top_k":1e1,\n"min_tokens":3}'
    )
    asked = asked_of_prefill(NIXL, "/v1/completions", body)
    assert json.loads(asked) == {
        "model": "m", "prompt": "A x", "stream": False, "top_k": 10.0, "max_tokens": 1, "kv_transfer_params": ORDER,
    }  # fmt: skip
    assert asked.endswith(b'"model": "m", "prompt":"\\u0041 x" , "stream":false,"top_k":1e1}')
    assert "kv_transfer_params" not in json.loads(asked_of_prefill(EXAMPLE, "/v1/completions", body))


@pytest.mark.parametrize(
    ("path", "given", "there"),
    [
        ("/v1/chat/completions", {"max_completion_tokens": 9}, {"max_completion_tokens": 1, "max_tokens": 1}),
        ("/v1/chat/completions", {"max_tokens": 9, "min_completion_tokens": 2}, {"max_tokens": 1}),
        ("/v1/messages", {"max_tokens": 9}, {"max_tokens": 1}),
        ("/v1/responses", {"max_output_tokens": 9}, {"max_output_tokens": 1}),
        ("/v1/responses", {}, {"max_output_tokens": 1}),
    ],
)
def test_each_endpoint_has_its_own_name_for_the_limit(path: str, given: Any, there: Any) -> None:
    assert json.loads(asked_of_prefill(EXAMPLE, path, json.dumps(given).encode())) == {"stream": False, **there}


def test_what_is_handed_over_goes_on_as_it_stands() -> None:
    handoff = NIXL.handoff(b'{"id":"x","kv_transfer_params": %b ,"metrics":null}' % TOLD)
    assert handoff == TOLD
    spliced = b' {"kv_transfer_params":%b,"model":"m", "prompt":"x"}' % TOLD
    assert asked_of_decode(NIXL, b' {"model":"m", "prompt":"x"}', TOLD) == Ask(spliced)
    assert asked_of_decode(NIXL, b"{ }", TOLD) == Ask(b'{"kv_transfer_params":%b }' % TOLD)
    assert EXAMPLE.handoff(b'{"kv_transfer_params": %b}' % TOLD) == b""
    assert asked_of_decode(EXAMPLE, b"{ }", b"") == Ask(b"{ }")


@pytest.mark.parametrize(
    "key",
    ["do_remote_prefill", "remote_block_ids", "remote_engine_id", "remote_request_id", "remote_host", "remote_port"],
)
@pytest.mark.parametrize("is_null", [True, False])
def test_with_a_needed_key_missing_nothing_is_handed_over(key: str, is_null: bool) -> None:
    told = json.loads(TOLD)
    if is_null:
        told[key] = None
    else:
        del told[key]
    assert NIXL.handoff(json.dumps({"kv_transfer_params": told}).encode()) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b'{"kv_transfer_params":null}',
        b'{"kv_transfer_params":[1]}',
        b"\xff",
        b"[" * 9999,
    ],
)
def test_an_answer_without_it_hands_nothing_over(answer: bytes) -> None:
    assert NIXL.handoff(answer) is None


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=9)
)
def test_nothing_that_a_worker_says_is_too_much(value: object) -> None:
    assert NIXL.handoff(json.dumps({"kv_transfer_params": value}).encode()) is None


@pytest.mark.parametrize(
    ("prefill", "decode", "words"),
    [
        (P, D, None),
        (P._replace(version="0.32.0"), D, None),
        (P._replace(version="0.32.0"), D._replace(version="0.32.0", models=("m",)), None),
        (P._replace(version="0.31.0"), D._replace(version="0.32.0"), "p runs version 0.31.0, d runs 0.32.0"),
        (P._replace(models=("m", "n")), D._replace(models=("n",)), None),
        (P._replace(models=("m",)), D._replace(models=("n",)), "p and d serve no model in common"),
        (P, D._replace(transfer=Transfer(connector="nccl")), "d moves KV cache by nccl, not by nixl"),
    ],
)
def test_nixl_needs_the_same_version_and_model_on_both_sides(prefill: Peer, decode: Peer, words: str | None) -> None:
    assert NIXL.misfit(prefill, decode) == words


def test_a_disk_can_be_shared_by_all_that_use_it() -> None:
    old, new = P._replace(version="0.31.0", models=("m",)), D._replace(version="0.32.0", models=("n",))
    assert EXAMPLE.misfit(old, new) is None
    assert EXAMPLE.misfit(old._replace(transfer=Transfer(connector="nixl")), new) is not None
    assert (EXAMPLE.order(P), EXAMPLE.serves_once) == (Order.PREFILL_FIRST, False)
