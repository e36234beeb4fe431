from __future__ import annotations

from typing import Any

import pytest

from shared.config import StartConfig
from shared.config_file import ConfigFile
from shared.config_sources import gather
from shared.config_warnings import without_effect
from shared.worker_attributes import ConfiguredWorker

URL = "http://a:1"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, []),
        ({"queue_size": 0}, ["with --queue-size 0, as nobody may wait"]),
        ({"max_concurrent_requests": 0}, ["without --max-concurrent-requests or --model-max-concurrent-requests"]),
        ({"max_concurrent_requests": 0, "model_max_concurrent_requests": ("m=1",)}, []),
        ({"worker_max_concurrent_requests": 2}, ["have limits (--worker-max-concurrent-requests)"]),
        ({"adaptive_worker_limit": True}, ["have limits (--adaptive-worker-limit)"]),
        (
            {"workers": (ConfiguredWorker(url=URL, max_concurrent_requests=3),)},
            ["have limits (max_concurrent_requests of workers)"],
        ),
        ({"workers": (ConfiguredWorker(url=URL, max_concurrent_requests=0),)}, []),
        ({"prefill": (URL,), "decode": ("http://b:1",)}, ["that a prefill and a decode worker share"]),
    ],
)
def test_taking_places_of_batch_requests_back_where_that_can_not_be(given: dict[str, Any], told: list[str]) -> None:
    config = StartConfig(**{"preempt_batch": True, "max_concurrent_requests": 4, **given})
    found = list(without_effect(config))
    assert len(found) == len(told)
    for fault, text in zip(found, told, strict=True):
        assert text in fault.text
        assert fault.text.startswith("--preempt-batch has no effect ")
        assert "; " in fault.text
    assert not list(without_effect(StartConfig(**{"max_concurrent_requests": 4, **given})))


def test_a_warning_names_the_places_of_the_values_and_is_no_problem() -> None:
    file = ConfigFile("r.toml", "max_concurrent_requests = 4\nqueue_size = 0\npreempt_batch = true\n")
    gathered = gather({}, {}, file)
    assert not gathered.problems
    (warning,) = gathered.warnings
    assert warning.startswith("r.toml:3: preempt_batch has no effect with r.toml:2: queue_size 0, as nobody may wait")
    assert gather({"queue_size": "5"}, {}, file).warnings == ()
