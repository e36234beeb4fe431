"""What the simulator answers when KV cache could not be fetched has the form of what vLLM was recorded with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.sim import SimConfig
from tests.compat.test_simulator_answers import CHAT, COMPLETION, chunks_of, head_of, shape
from tests.unit.controlplane.sim.client import Client, ask, run, simulator

CAPTURES = Path(__file__).parent / "captures"
CONFIG = SimConfig(port=0, time_scale=0, models=("tiny",), kv_connector="nixl")
PREFILL = {"do_remote_decode": True, "do_remote_prefill": False}


def events(raw: bytes) -> list[Any]:
    """The shape of each event; each chunk holds one."""
    datas = [chunk.removeprefix(b"data: ").removesuffix(b"\n\n") for chunk in chunks_of(raw)]
    return [data if data == b"[DONE]" else shape(json.loads(data)) for data in datas]


@pytest.mark.parametrize(
    ("name", "target", "body"),
    [("chat", "/v1/chat/completions", CHAT), ("completion", "/v1/completions", COMPLETION)],
)
def test_a_stream(name: str, target: str, body: dict[str, Any]) -> None:
    async def main() -> None:
        async with simulator(CONFIG) as [url]:
            prefill = await ask(url, "POST", target, {**body, "max_tokens": 1, "kv_transfer_params": PREFILL})
            handoff = {**prefill.json["kv_transfer_params"], "remote_engine_id": "another"}
            client = await Client.to(url)
            asked = {**body, "stream": True, "kv_transfer_params": handoff}
            client.send("POST", target, asked, {"connection": "close"})
            ours = await client.reader.read()
            await client.close()
        theirs = (CAPTURES / f"not_fetched_{name}_stream.http").read_bytes()
        # Who asked for it to be closed, both say so; in which place is the server's.
        assert sorted(head_of(ours)) == sorted(head_of(theirs))
        assert events(ours) == events(theirs)

    run(main())
