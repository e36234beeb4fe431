from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from controlplane.kv_events.sources import Endpoint, SourcesError, given, told_by_worker
from shared.worker_url import origin

CAPTURE = Path(__file__).parents[3] / "compat" / "captures" / "get_kv_event_sources.http"
URL = "http://10.1.2.3:8000"


def test_what_vllm_answers_is_read() -> None:
    body = CAPTURE.read_bytes().partition(b"\r\n\r\n")[2]
    assert told_by_worker(body, URL) == (Endpoint(0, "tcp://10.1.2.3:5557", "tcp://127.0.0.1:5558", "kv-events"),)


def test_ranks_are_told_each_by_itself() -> None:
    body = b'{"1": {"endpoint": "tcp://0.0.0.0:5558"}, "0": {"endpoint": "tcp://host-7:5557", "later": [1]}}'
    assert told_by_worker(body, "http://[::1]:8000") == (
        Endpoint(0, "tcp://host-7:5557", None),
        Endpoint(1, "tcp://[::1]:5558", None),
    )


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"0": {}},
        {"0": {"endpoint": None}},
        {"0": {"endpoint": "tcp://*:1", "enable_kv_cache_events": False}},
        {"0": {"endpoint": "tcp://*:1", "publisher": "null"}},
    ],
)
def test_a_worker_may_publish_nothing(told: object) -> None:
    assert told_by_worker(msgspec.json.encode(told), URL) == ()


@pytest.mark.parametrize(
    "told",
    [
        [],
        {"x": {"endpoint": "tcp://*:1"}},
        {"-1": {"endpoint": "tcp://*:1"}},
        {"0": {"endpoint": "ipc:///etc/passwd"}},
        {"0": {"endpoint": "tcp://*"}},
        {"0": {"endpoint": "tcp://*:x"}},
        {"0": {"endpoint": "tcp://a b\n:1"}},
        {"0": {"endpoint": "tcp://*:1", "replay_endpoint": "inproc://x"}},
        {str(rank): {} for rank in range(1025)},
    ],
)
def test_what_is_no_source_is_refused(told: object) -> None:
    with pytest.raises(SourcesError):
        told_by_worker(msgspec.json.encode(told), URL)


def test_the_operator_names_endpoints_by_rank() -> None:
    events = ("http://a:1/=tcp://a:5557", "tcp://a:5558", "http://b:1=tcp://b:7")
    found = given(events, ("http://a:1=tcp://a:6557",), 16)
    assert found == {
        origin("http://a:1"): (
            Endpoint(0, "tcp://a:5557", "tcp://a:6557", block_size=16),
            Endpoint(1, "tcp://a:5558", None, block_size=16),
        ),
        origin("http://b:1"): (Endpoint(0, "tcp://b:7", None, block_size=16),),
    }
