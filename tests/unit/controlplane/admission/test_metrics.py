"""Which limits have series."""

from __future__ import annotations

from controlplane.admission.metrics import MAX_KEYS_LIMITS, shown_limits


def test_limits_of_keys_have_series_when_they_are_half_full_and_never_many() -> None:
    amounts = {"total": 10, "key:a:open": 4, "key:b:tokens": 100, "key:c:requests": 10}
    in_use = {"total": 0, "key:a:open": 2, "key:b:tokens": 49, "key:c:requests": 11}
    assert shown_limits(amounts, in_use) == ["total", "key:c:requests", "key:a:open"]
    many = {f"key:k{number}:open": 1000 for number in range(1024)}
    shown = shown_limits(
        many | {"rate": 5}, {name: 500 + number % 500 for number, name in enumerate(many)} | {"rate": 0}
    )
    assert len(shown) == 1 + MAX_KEYS_LIMITS
    assert shown[:2] == ["rate", "key:k499:open"]
