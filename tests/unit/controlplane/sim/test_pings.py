from __future__ import annotations

import msgspec
import pytest

from controlplane.sim.config import ConfigError, SimConfig, check
from controlplane.sim.faults import FaultSet, LatePings, LostPings, parse
from controlplane.sim.service import serve
from tests.unit.controlplane.waiting import until


def test_only_connectors_that_register_may() -> None:
    with pytest.raises(ConfigError, match="routerctl register"):
        check(SimConfig(kv_connector="nixl", register="tcp://127.0.0.1:1"))
    with pytest.raises(ConfigError, match="write tcp://HOST:PORT"):
        check(SimConfig(kv_connector="nccl", kv_role="kv_producer", register="127.0.0.1:1"))


def test_lost_pings_meet_pings_and_nothing_else() -> None:
    faults = FaultSet()
    faults.add(parse("lost_pings,first=2")[1])
    faults.add(parse("late_pings=1.5")[1])
    faults.add(parse("status=503,path=/")[1])
    assert [bool((met := faults.meet("ping")) and met.get(LostPings)) for _ in range(3)] == [True, True, False]
    met = faults.meet("ping")
    assert met is not None
    late = met.get(LatePings)
    assert late is not None
    assert late.seconds == 1.5
    other = faults.meet("/v1/completions")
    assert other is not None
    assert other.get(LatePings) is None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            SimConfig(port=0, kv_connector="nccl", kv_role="kv_producer"),
            [{"type": "P", "http_address": "{}", "zmq_address": "{}"}] * 2,
        ),
        (
            SimConfig(port=0, kv_connector="moriio", kv_role="kv_consumer", kv_mode="read", data_parallel_size=2),
            [
                {"type": "HELLO"},
                {
                    "type": "D",
                    "http_address": "{}",
                    "zmq_address": "host:{host},handshake:{port},notify:{port}",
                    "dp_size": 2,
                    "tp_size": 1,
                    "transfer_mode": "READ",
                },
            ],
        ),
    ],
)
def test_they_are_those_of_vllm(config: SimConfig, expected: list[dict[str, object]]) -> None:
    import asyncio

    import zmq.asyncio

    async def run() -> None:
        context = zmq.asyncio.Context()
        router = context.socket(zmq.ROUTER)
        router.setsockopt(zmq.LINGER, 0)
        port = router.bind_to_random_port("tcp://127.0.0.1")
        urls: list[str] = []
        said = msgspec.structs.replace(config, register=f"tcp://127.0.0.1:{port}", ping_seconds=0.01)
        serving = asyncio.ensure_future(serve(said, ready=urls.extend))
        try:
            found = [await router.recv_multipart() for _ in expected]
            await until(lambda: bool(urls))
            host, _, number = urls[0].removeprefix("http://").partition(":")
            text = msgspec.json.encode(expected).decode()
            text = text.replace("{}", f"{host}:{number}").replace("{host}", host).replace("{port}", number)
            assert [msgspec.msgpack.decode(frames[1]) for frames in found] == msgspec.json.decode(text)
            address = msgspec.json.decode(text)[-1]["zmq_address"]
            assert {frames[0] for frames in found} == {address.encode()}
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            context.destroy(linger=0)

    asyncio.run(run())
