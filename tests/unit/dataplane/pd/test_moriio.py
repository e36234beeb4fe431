"""MoRIIO: addresses in the id, one after the other or at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataplane.pd.connector import Order
from dataplane.pd.connectors import connector_of
from shared.transfer import Transfer
from tests.unit.dataplane.pd.pairs import (
    D_ADDRESS,
    DECODE_LABEL,
    KEY,
    P_ADDRESS,
    PREFILL_LABEL,
    fields,
    moriio,
    pairing,
    params,
    with_rank,
)

MORIIO = connector_of("moriio")
TOLD = {
    "do_remote_prefill": True, "do_remote_decode": False, "remote_block_ids": [1, 2], "remote_engine_id": "e",
    "remote_host": "10.0.0.1", "remote_handshake_port": 6301, "remote_notify_port": 61005, "tp_size": 1,
    "transfer_id": f"tx-{KEY}",
}  # fmt: skip
ANSWER = json.dumps({"kv_transfer_params": TOLD}).encode()


@pytest.mark.parametrize(("mode", "order"), [("read", Order.PAIR_FIRST), ("write", Order.TOGETHER)])
def test_vllm_finds_both_addresses_in_the_id_of_both_legs(mode: str, order: Order) -> None:
    made = pairing(*moriio(mode))
    assert MORIIO.order(made.prefill) is order
    handoff = MORIIO.handoff(ANSWER) or b""
    first, second = MORIIO.prefill(made), MORIIO.decode(made, handoff if mode == "read" else b"")
    assert fields(first) == fields(second)
    inside = f"cmpl-{fields(first)['x-request-id']}-0-9478e19e"
    for label, address in ((PREFILL_LABEL, P_ADDRESS), (DECODE_LABEL, D_ADDRESS)):
        found = label.search(inside)
        assert found is not None
        assert found.group(1) == address


def test_the_prefill_is_told_of_the_decode_worker_and_ends_by_its_length() -> None:
    prefill, decode = moriio("write", tp_size=2)
    asked = MORIIO.prefill(pairing(prefill, Transfer(address=D_ADDRESS, mode="write", dp_size=3, tp_size=4)))
    told = params(asked)
    assert (told["do_remote_decode"], told["do_remote_prefill"], told["transfer_id"]) == (True, False, f"tx-{KEY}")
    assert (told["remote_dp_size"], told["remote_tp_size"], told["remote_dp_rank"]) == (3, 4, int(KEY, 16) % 3)
    assert (told["remote_engine_id"], told["remote_block_ids"]) == (None, None)
    assert json.loads(bytes(asked.body))["ignore_eos"] is True
    assert decode.tp_size == 2


def test_read_passes_on_what_the_prefill_told() -> None:
    made = pairing(*moriio("read", dp_size=2))
    handoff = MORIIO.handoff(ANSWER)
    assert handoff is not None
    told = params(MORIIO.decode(made, handoff))
    assert told == {**TOLD, "remote_dp_size": 2, "remote_dp_rank": int(KEY, 16) % 2}


def test_write_is_told_the_mirror() -> None:
    told = params(MORIIO.decode(pairing(*moriio("write", dp_size=2, tp_size=4)), b""))
    assert told == {
        "do_remote_decode": False,
        "do_remote_prefill": True,
        "remote_engine_id": None,
        "remote_block_ids": None,
        "transfer_id": f"tx-{KEY}",
        "remote_dp_size": 2,
        "remote_tp_size": 4,
        "remote_dp_rank": int(KEY, 16) % 2,
    }


def test_ranks_behind_a_url_are_named_and_those_that_are_workers_are_not() -> None:
    made = pairing(*moriio("write", dp_size=4))
    rank = int(KEY, 16) % 4
    assert fields(MORIIO.prefill(made))["x-data-parallel-rank"] == str(rank)
    assert fields(MORIIO.decode(made, b""))["x-data-parallel-rank"] == str(rank)
    made = made._replace(prefill=with_rank(made.prefill, 3))
    assert "x-data-parallel-rank" not in fields(MORIIO.prefill(made))
    assert params(MORIIO.decode(made, b""))["remote_dp_rank"] == 3


@pytest.mark.parametrize(
    "changes", [{"remote_engine_id": None}, {"remote_block_ids": None}, {"remote_block_ids": []}, {"transfer_id": None}]
)
def test_what_the_decode_worker_could_not_use_is_not_handed_over(changes: dict[str, Any]) -> None:
    assert MORIIO.handoff(json.dumps({"kv_transfer_params": {**TOLD, **changes}}).encode()) is None


def test_who_is_no_pair_says_why() -> None:
    made = pairing(*moriio("read"))
    assert made.decode is not None
    prefill, decode = made.prefill, made.decode
    assert MORIIO.misfit(prefill, decode) is None
    writing = decode._replace(transfer=Transfer(address=D_ADDRESS, mode="write"))
    assert "has mode read" in (MORIIO.misfit(prefill, writing) or "")
    assert "has not told its address" in (MORIIO.misfit(prefill, decode._replace(transfer=Transfer())) or "")
    silent = decode._replace(transfer=Transfer(address=D_ADDRESS))
    assert "reads or writes" in (MORIIO.misfit(prefill, silent) or "")
