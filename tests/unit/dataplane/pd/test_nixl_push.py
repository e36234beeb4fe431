"""NIXL push: one id for both legs, and no blocks for the decode worker."""

from __future__ import annotations

import json

import pytest

from dataplane.pd.connector import Order
from dataplane.pd.connectors import connector_of
from dataplane.pd.nixl_push import REQUIRED
from tests.unit.dataplane.pd.pairs import KEY, fields, pairing, params

PUSH = connector_of("nixl_push")
TOLD = {
    "do_remote_prefill": True, "do_remote_decode": False, "remote_block_ids": [[1]], "remote_engine_id": "e",
    "remote_request_id": "cmpl-r-0-9478e19e", "remote_host": "h", "remote_port": 5600, "tp_size": 2,
    "transfer_mode": "push", "remote_num_tokens": 5,
}  # fmt: skip


def test_both_legs_have_the_routers_own_id() -> None:
    one = pairing()
    handoff = PUSH.handoff(json.dumps({"kv_transfer_params": TOLD}).encode())
    assert handoff is not None
    first, second = PUSH.prefill(one), PUSH.decode(one, handoff)
    assert fields(first) == fields(second) == {"x-request-id": KEY}
    assert params(first)["do_remote_decode"] is True
    assert PUSH.order(one.prefill) is Order.PREFILL_FIRST
    assert params(second) == {
        "do_remote_prefill": True, "do_remote_decode": False, "remote_engine_id": "e",
        "remote_request_id": "cmpl-r-0-9478e19e", "remote_host": "h", "remote_port": 5600, "tp_size": 2,
    }  # fmt: skip
    assert bytes(second.body).endswith(bytes(one.body)[1:])


@pytest.mark.parametrize("changes", [*({key: None} for key in REQUIRED), {"transfer_mode": "pull"}])
def test_what_the_decode_worker_could_not_use_is_not_handed_over(changes: dict[str, None]) -> None:
    assert PUSH.handoff(json.dumps({"kv_transfer_params": {**TOLD, **changes}}).encode()) is None


@pytest.mark.parametrize("answer", [b"", b"{}", b'{"kv_transfer_params":null}', b'{"kv_transfer_params":[1]}', b"\xff"])
def test_an_answer_without_it_hands_nothing_over(answer: bytes) -> None:
    assert PUSH.handoff(answer) is None


def test_pull_uses_no_handoff_of_a_worker_that_pushes() -> None:
    answer = json.dumps({"kv_transfer_params": TOLD}).encode()
    assert connector_of("nixl").handoff(answer) is None
    assert connector_of("nixl").handoff(answer.replace(b'"push"', b'"pull"')) is not None
