"""What clients are told of their keys' limits."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.admission.key_answers import duration, rate_fields, remaining
from dataplane.admission.key_limits import KeyLimits
from dataplane.admission.window import Window
from shared.limits import Limit


def window(kind: str, amount: int, allowed: int, used: int = 0) -> Window:
    made = Window(Limit(f"key:a:{kind}", "window", amount))
    made.allow(allowed, 0.0)
    made.take(used, 0.0)
    return made


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.02, "21ms"), (0.0001, "1ms"), (0.9995, "1s"), (1, "1s"), (8.64, "9s"), (60, "1m0s"), (61, "1m1s")],
)
def test_times_are_as_go_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text.encode()


@given(st.floats(0, 61))
@settings(max_examples=100, deadline=None)
def test_times_are_never_too_short(seconds: float) -> None:
    found = re.fullmatch(r"(?:(\d+)m)?(\d+)(m?s)", duration(seconds).decode())
    assert found is not None
    told = int(found[1] or 0) * 60 + int(found[2]) / (1000 if found[3] == "ms" else 1)
    assert seconds - 0.0001 <= told <= seconds + 1


def test_only_the_limits_that_there_are_have_fields() -> None:
    requests, tokens = window("requests", 60, 60, 1), window("tokens", 150_000, 150_000, 16)
    both = KeyLimits("a", None, requests, tokens, None)
    assert rate_fields(both, 1, 0.5) == [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"x-ratelimit-reset-requests", b"1m1s"),
        (b"x-ratelimit-limit-tokens", b"150000"),
        (b"x-ratelimit-remaining-tokens", b"149984"),
        (b"x-ratelimit-reset-tokens", b"1m1s"),
    ]
    assert next(name for name, _ in rate_fields(KeyLimits("a", None, None, tokens, None), 1, 0.0)).endswith(b"-tokens")
    assert rate_fields(KeyLimits("a", None, None, None, None), 1, 0.0) == []


def test_what_is_left_is_told_of_all_planes_and_never_more_than_there_can_be() -> None:
    assert remaining(window("requests", 100, 50, 1), 2) == 98
    assert remaining(window("requests", 100, 99, 0), 2) == 100
    assert remaining(window("requests", 100, 0, 0), 2) == 0
    assert remaining(window("tokens", 100, 100, 130), 1) == 0
