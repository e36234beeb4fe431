"""Which limits there are, by what an operator writes."""

from __future__ import annotations

import pytest

from shared.config import StartConfig
from shared.config_faults import faults
from shared.config_settings import settings_of
from shared.limits import MAX_MODELS, MOST_ADAPTIVE, Limit, fair_share, limits_of, model_limits, worker_limits
from shared.table import Settings, Worker


def test_without_flags_there_is_one_large_limit() -> None:
    assert limits_of(settings_of(StartConfig())) == ()
    limited = settings_of(StartConfig(max_concurrent_requests=7))
    assert limits_of(limited) == (Limit("total", "slots", 7),)
    assert limits_of(Settings()) == ()


def test_each_flag_is_a_limit() -> None:
    config = StartConfig(
        max_concurrent_requests=0,
        rate_limit_tokens_per_second=2.5,
        model_max_concurrent_requests=("a=3", "org/b=v1=7"),
    )
    assert limits_of(settings_of(config)) == (
        Limit("rate", "rate", 2500),
        Limit("model:a", "slots", 3),
        Limit("model:org/b=v1", "slots", 7),
    )


def test_a_workers_own_limit_counts_over_that_of_all_and_0_is_none() -> None:
    workers = [Worker(id=f"w{most}", url="http://w:1", max_concurrent_requests=most) for most in (None, 0, 7)]
    assert worker_limits(settings_of(StartConfig()), workers) == (Limit("worker:w7", "slots", 7),)
    of_all = settings_of(StartConfig(worker_max_concurrent_requests=3))
    assert worker_limits(of_all, workers) == (Limit("worker:wNone", "slots", 3), Limit("worker:w7", "slots", 7))
    found = settings_of(StartConfig(adaptive_worker_limit=True))
    assert worker_limits(found, workers) == (
        Limit("worker:wNone", "slots", MOST_ADAPTIVE),
        Limit("worker:w7", "slots", 7),
    )


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("a",), "write MODEL=N"),
        (("=3",), "write MODEL=N"),
        (("a=0",), "a number from 1"),
        (("a=-1",), "a number from 1"),
        (("a=\u0663",), "a number from 1"),
        (("a=1", "a=2"), "names model a twice"),
        (tuple(f"m{number}=1" for number in range(MAX_MODELS + 1)), f"name at most {MAX_MODELS}"),
    ],
)
def test_what_is_no_limit_is_named(texts: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        model_limits(texts)
    (fault,) = faults(StartConfig(model_max_concurrent_requests=texts))
    assert said in fault.text
    assert fault.text.startswith("--model-max-concurrent-requests ")


def test_fair_shares_are_never_more_than_the_limit() -> None:
    assert [fair_share(10, planes) for planes in (0, 1, 3, 20)] == [10, 10, 3, 0]
