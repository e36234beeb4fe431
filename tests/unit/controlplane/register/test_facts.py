"""What is read out of an engine's answers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.register.facts import Facts, UnreadableError, merged, metrics, server_info, version


def page(*engines: int, more: str = "") -> bytes:
    lines = ["# HELP vllm:num_requests_running Number of requests.", "process_start_time_seconds 1.7952304949e+09"]
    names = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
    lines += [f'vllm:{name}{{engine="{engine}",model_name="tiny"}} 0.0' for engine in engines for name in names]
    return "\n".join((*lines, more, "")).encode()


def config(transfer: Any = None, parallel: Any = None, **env: Any) -> bytes:
    told = {"vllm_config": {"kv_transfer_config": transfer, "parallel_config": parallel, "x": 1}, "vllm_env": env}
    return msgspec.json.encode(told)


def test_start_and_ranks_are_on_the_metrics_page() -> None:
    assert metrics(page(0)) == Facts(process_start=1795230494.9, ranks=1)
    assert metrics(page(1, 0, 2)).ranks == 3


def test_engines_that_are_not_all_here_are_no_ranks_of_this_url() -> None:
    """With one API server for each rank, the only engine on its page has the rank's number."""
    assert metrics(page(3)).ranks is None
    assert metrics(b"").ranks is None


def test_nixl_shows_by_its_series() -> None:
    series = "# HELP x y\n" + 'vllm:nixl_xfer_time_seconds_count{engine="0"} 0.0'
    assert metrics(page(0, more=series)).connector == "nixl"
    assert metrics(page(0, more="# HELP vllm:nixl_x y")).connector is None


def test_the_version_is_read_and_bounded() -> None:
    assert version(b'{"version":"0.32.0","more":1}').version == "0.32.0"
    assert len(version(b'{"version":"' + b"0" * 100 + b'"}').version or "") == 64


@pytest.mark.parametrize(
    ("name", "role", "connector", "said"),
    [
        ("NixlConnector", "kv_producer", "nixl", "prefill"),
        ("NixlPushConnector", "kv_consumer", "nixl_push", "decode"),
        ("MooncakeConnector", "kv_producer", "mooncake", "prefill"),
        ("ExampleConnector", "kv_both", "example", None),
        # Tiers of one engine's cache: it hands nothing over, whatever its role is called.
        ("OffloadingConnector", "kv_both", None, None),
        ("MooncakeStoreConnector", "kv_producer", None, None),
    ],
)
def test_connector_and_role_are_in_server_info(name: str, role: str, connector: str | None, said: str | None) -> None:
    told = server_info(config({"kv_connector": name, "kv_role": role, "kv_port": 1}, {"tensor_parallel_size": 4}))
    assert (told.connector, told.role, told.tp_size) == (connector, said, 4)


def test_the_bootstrap_port_is_mooncakes() -> None:
    mooncake = {"kv_connector": "MooncakeConnector", "kv_role": "kv_producer"}
    assert server_info(config(mooncake, VLLM_MOONCAKE_BOOTSTRAP_PORT=8998)).bootstrap_port == 8998
    assert server_info(config(mooncake, VLLM_MOONCAKE_BOOTSTRAP_PORT="x")).bootstrap_port is None
    assert server_info(config(None, VLLM_MOONCAKE_BOOTSTRAP_PORT=8998)) == Facts()


def test_what_is_no_answer_of_vllm_is_refused() -> None:
    for read in (version, server_info):
        for body in (b"", b"[]", b"{}", b'{"version":1,"vllm_config":1}', b"\xff"):
            with pytest.raises(UnreadableError):
                read(body)
    with pytest.raises(UnreadableError):
        # The form for people, which is what is sent where the other one is not asked for.
        server_info(b'{"vllm_config":"model=..."}')


def test_what_was_not_told_again_stays() -> None:
    before = Facts(version="0.32.0", ranks=2, kv_events=())
    assert merged(before, Facts(ranks=1, models=("m",))) == Facts(
        version="0.32.0", ranks=1, kv_events=(), models=("m",)
    )
