from __future__ import annotations

import pytest

from controlplane.sim import faults


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("refuse", (None, faults.Refuse())),
        ("status=503", (None, faults.Status(status=503))),
        ("1:status=503,first=2,path=/health", (1, faults.Status(status=503, first=2, path="/health"))),
        ("slow=0.5,probability=0.25", (None, faults.Slow(seconds=0.5, probability=0.25))),
        ("stall", (None, faults.Stall())),
        ("0:die=3", (0, faults.Die(after_chunks=3))),
        ("die=worker", (None, faults.Die(worker=True))),
        ("extra_bytes=4", (None, faults.ExtraBytes(count=4))),
    ],
)
def test_command_line(argument: str, expected: tuple[int | None, faults.Fault]) -> None:
    assert faults.parse(argument) == expected


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("explode", "no fault is called 'explode'; there are refuse, status"),
        ("refuse=1", "refuse takes no value"),
        ("status=200", "status 200 is outside 400..599"),
        ("status=many", "Expected `int`, got `str`"),
        ("slow=1,probability=2", "probability 2 is outside 0..1"),
        ("slow=1,colour=red", "unknown field `colour`"),
    ],
)
def test_a_wrong_fault_says_what_is_wrong(argument: str, says: str) -> None:
    with pytest.raises(faults.FaultError) as caught:
        faults.parse(argument)
    assert says in str(caught.value)
    assert argument in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_the_first_requests_meet_a_counted_fault() -> None:
    some = faults.FaultSet()
    some.add(faults.Status(first=2))
    assert [bool(some.meet("/v1/completions")) for _ in range(4)] == [True, True, False, False]
    some.add(faults.Status(first=1))
    assert bool(some.meet("/v1/completions"))


def test_a_fault_meets_the_paths_it_names() -> None:
    some = faults.FaultSet()
    some.add(faults.Status())
    assert some.meet("/health") is None
    some.add(faults.Status(path="/"))
    assert some.meet("/health") is not None


def test_faults_of_different_names_come_together() -> None:
    some = faults.FaultSet()
    for fault in faults.decode(b'[{"name":"slow","seconds":2},{"name":"status","status":502}]'):
        some.add(fault)
    met = some.meet("/v1/models")
    assert met is not None
    assert met.get(faults.Slow) == faults.Slow(seconds=2)
    assert met.get(faults.Status) == faults.Status(status=502)
    assert met.get(faults.Die) is None


def test_a_fault_may_meet_some_requests_only() -> None:
    some = faults.FaultSet(seed=1)
    some.add(faults.Status(probability=0.5))
    met = sum(some.meet("/v1/models") is not None for _ in range(200))
    assert 50 < met < 150
