"""Mooncake: one transfer id, and the engine that the bootstrap server tells."""

from __future__ import annotations

import json

import pytest

from dataplane.pd.connector import Order
from dataplane.pd.connectors import connector_of
from shared.transfer import Transfer
from tests.unit.dataplane.pd.pairs import BODY, KEY, fields, pairing, params, with_rank

MOONCAKE = connector_of("mooncake")
ONE = Transfer(engine_ids={"0": "e0"}, bootstrap_port=9000)
FOUR = Transfer(engine_ids={str(rank): f"e{rank}" for rank in range(4)})


def test_both_legs_are_told_at_once() -> None:
    made = pairing(ONE)
    assert MOONCAKE.order(made.prefill) is Order.TOGETHER
    assert params(MOONCAKE.prefill(made)) == {
        "do_remote_decode": True, "do_remote_prefill": False, "transfer_id": f"xfer-{KEY}",
    }  # fmt: skip
    decode = MOONCAKE.decode(made, b"")
    assert params(decode) == {
        "do_remote_decode": False,
        "do_remote_prefill": True,
        "remote_bootstrap_addr": "http://p:9000",
        "remote_engine_id": "e0",
        "transfer_id": f"xfer-{KEY}",
    }
    assert bytes(decode.body).endswith(BODY[1:])


def test_the_prefill_ends_by_its_length() -> None:
    asked = json.loads(bytes(MOONCAKE.prefill(pairing(ONE)).body))
    assert (asked["ignore_eos"], asked["max_tokens"], asked["stream"]) == (True, 1, False)
    assert not {"stop", "stop_token_ids", "stop_sequences"} & asked.keys()


@pytest.mark.parametrize(
    ("answer", "is_cut"),
    [
        ({"choices": [{"finish_reason": "length"}], "kv_transfer_params": None}, True),
        ({"choices": [{"finish_reason": "stop"}]}, False),
        ({"stop_reason": "max_tokens"}, True),
        ({"stop_reason": "end_turn"}, False),
        ({"status": "incomplete"}, True),
        ({"status": "completed"}, False),
    ],
)
def test_nothing_is_handed_over_where_it_ended_otherwise(answer: object, is_cut: bool) -> None:
    assert (MOONCAKE.handoff(json.dumps(answer).encode()) == b"") == is_cut
    assert (MOONCAKE.handoff(json.dumps(answer).encode()) is None) == (not is_cut)


def test_the_engine_is_that_of_the_rank_which_the_prefill_leg_names() -> None:
    seen = set()
    for number in range(16):
        made = pairing(FOUR, key=f"{number:032x}")
        rank = fields(MOONCAKE.prefill(made))["x-data-parallel-rank"]
        decode = MOONCAKE.decode(made, b"")
        assert params(decode)["remote_engine_id"] == f"e{rank}"
        assert "x-data-parallel-rank" not in fields(decode)
        assert params(decode)["remote_bootstrap_addr"] == "http://p:8998"
        seen.add(rank)
    assert seen == {"0", "1", "2", "3"}


def test_a_worker_that_is_a_rank_is_named_by_the_router() -> None:
    made = pairing(FOUR)
    made = made._replace(prefill=with_rank(made.prefill, 2))
    assert "x-data-parallel-rank" not in fields(MOONCAKE.prefill(made))
    assert params(MOONCAKE.decode(made, b""))["remote_engine_id"] == "e2"


def test_a_prefill_worker_whose_engines_are_not_known_is_in_no_pair_and_says_why() -> None:
    made = pairing()
    assert made.decode is not None
    assert "has not told the id of its engine" in (MOONCAKE.misfit(made.prefill, made.decode) or "")
    known = made.prefill._replace(transfer=ONE)
    assert MOONCAKE.misfit(known, made.decode) is None
    assert "has not told the id of its engine" in (MOONCAKE.misfit(with_rank(known, 1), made.decode) or "")
    other = made.decode._replace(transfer=Transfer(connector="nixl"))
    assert "moves KV cache by nixl" in (MOONCAKE.misfit(known, other) or "")


def test_an_ipv6_host_stays_in_brackets() -> None:
    made = pairing(ONE)
    made = made._replace(prefill=made.prefill._replace(url="https://[::1]:8000"))
    assert params(MOONCAKE.decode(made, b""))["remote_bootstrap_addr"] == "http://[::1]:9000"
