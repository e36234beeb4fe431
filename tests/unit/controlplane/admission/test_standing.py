"""How full the limits are, as people are told."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from controlplane.admission.standing import MAX_LIMITS, admission_status
from shared.leases import OTHERS
from shared.limits import Kind


class Told(NamedTuple):
    used: dict[str, int]
    tenants: dict[str, Counter[str]] | None = None

    def in_use(self, name: str) -> int:
        return self.used.get(name, 0)

    def lent(self, name: str, now: float) -> int:
        return self.used.get(name, 0) + 1

    def wanted(self, name: str) -> Counter[str]:
        return (self.tenants or {}).get(name, Counter())


def test_the_fullest_limit_is_first_and_a_rate_has_its_unit() -> None:
    limits: dict[str, tuple[Kind, int]] = {"rate": ("rate", 2500), "total": ("slots", 100), "model:m": ("slots", 10)}
    wanted = Counter({"": 1, OTHERS: 2, "alice": 9, "bob": 4})
    status = admission_status(limits, Told({"total": 40, "model:m": 9}, {"model:m": wanted}), {"0": 2, "1": 3}, 5.0)
    assert [(one.name, one.amount, one.in_use, one.lent) for one in status.limits] == [
        ("model:m", 10, 9, 10),
        ("total", 100, 40, 41),
        ("rate", 2.5, None, 0.001),
    ]
    assert status.limits[0].wanted == {"alice": 9, "bob": 4, "others": 2}
    assert (status.more, status.waiting) == (0, 5)


def test_of_many_limits_the_fullest_are_told() -> None:
    limits: dict[str, tuple[Kind, int]] = {f"model:{number}": ("slots", 1000) for number in range(MAX_LIMITS + 7)}
    used = {f"model:{number}": number for number in range(MAX_LIMITS + 7)}
    status = admission_status(limits, Told(used), {}, 0.0)
    assert (len(status.limits), status.more, status.limits[0].name) == (MAX_LIMITS, 7, f"model:{MAX_LIMITS + 6}")


def test_requests_without_a_key_are_called_so() -> None:
    status = admission_status({"total": ("slots", 4)}, Told({"total": 4}, {"total": Counter({"": 6})}), {"0": 2}, 0.0)
    assert status.limits[0].wanted == {"(no key)": 6}
