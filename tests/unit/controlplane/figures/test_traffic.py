import pytest

from controlplane.figures.traffic import Figures, Sample, Traffic, figures, is_failure
from controlplane.figures.window import MOST, Window
from controlplane.totals import Totals
from tests.unit.controlplane.figures.sums import sums


def traffic(told: Figures) -> Traffic:
    assert told.traffic is not None
    return told.traffic


def test_rates_are_of_what_came_between_two_samples() -> None:
    old = Sample(at=0.0, totals=sums(100), planes={"p": 50.0})
    new = Sample(at=10.0, totals=sums(150, failed=20), planes={"p": 80.0, "q": 10.0})
    told = figures(old, old, new)
    whole = traffic(told)
    # Answered, left by the client, and refused for the client's own mistake: all of them ended.
    assert whole.requests == (50 + 50 + 350 + 20) / 10
    assert whole.failures == 2.0
    assert (whole.prompt_tokens, whole.output_tokens, whole.seconds) == (500.0, 50.0, 10.0)
    assert told.workers["a"].requests == 7.0
    assert told.workers["a"].failures == 4.0
    assert told.planes == {"p": 3.0, "q": 1.0}


def test_failures_are_told_by_their_most_frequent_causes() -> None:
    def told(**causes: float) -> Traffic:
        requests: dict[tuple[str, ...], float] = {
            ("/v1/completions", "POST", "m", "503", cause): count for cause, count in causes.items()
        }
        requests["/v1/completions", "POST", "other", "500", ""] = 20.0
        requests["/v1/completions", "POST", "m", "404", "model_not_found"] = 1000.0
        old, new = (Sample(at=at, totals=Totals(counters={"requests": requests if at else {}})) for at in (0.0, 10.0))
        return traffic(figures(old, old, new))

    whole = told(over_capacity=50.0, no_worker_available=10.0, queue_timeout=5.0, shutdown=0.0)
    assert whole.failures == 8.5
    assert list(whole.causes.items()) == [
        ("over_capacity", 5.0),
        ("the worker's own answer", 2.0),
        ("no_worker_available", 1.0),
    ]
    calm = Sample(at=0.0, totals=sums(10, failed=3))
    assert traffic(figures(calm, calm, Sample(at=1.0, totals=sums(20, failed=3)))).causes == {}


def test_lost_traces_are_those_of_the_longer_window() -> None:
    first, second, third = (
        Sample(
            at=at, totals=Totals(counters={"traces": {("failed",): failed, ("dropped",): 2.0, ("exported",): 9 * at}})
        )
        for at, failed in ((0.0, 5.0), (50.0, 17.0), (60.0, 17.0))
    )
    assert figures(second, first, third).traces_lost == 12
    assert figures(second, second, third).traces_lost == 0
    assert figures(first, first, Sample(at=60.0, totals=Totals())).traces_lost == 0


def test_times_are_of_a_longer_window_than_rates() -> None:
    first, second = Sample(at=0.0, totals=sums(10)), Sample(at=50.0, totals=sums(110))
    told = figures(second, first, Sample(at=60.0, totals=sums(110)))
    assert traffic(told).requests == 0.0
    duration = traffic(told).duration
    assert duration is not None
    assert duration.count == 100
    assert duration.mean == pytest.approx(0.2)
    first_byte = told.workers["a"].first_byte
    assert first_byte is not None
    assert first_byte.count == 100
    assert 0.1 < first_byte.p50 <= 0.25


def test_sums_that_fall_began_anew() -> None:
    told = figures(Sample(at=0.0, totals=sums(100)), Sample(at=0.0, totals=sums(100)), Sample(at=1.0, totals=sums(5)))
    assert told.workers["a"].requests == 5.0
    duration = traffic(told).duration
    assert duration is not None
    assert duration.count == 5


def test_no_time_has_passed() -> None:
    one = Sample(at=1.0, totals=sums(1))
    assert figures(one, one, one) == Figures()


def test_a_worker_without_streams_has_no_times() -> None:
    empty = Sample(at=0.0, totals=Totals())
    told = figures(empty, empty, Sample(at=1.0, totals=Totals(counters={"worker_requests": {("a",): 3.0}})))
    assert told.workers["a"].first_byte is None
    assert traffic(told).duration is None


@pytest.mark.parametrize(
    ("status", "cause", "is_one"),
    [
        ("200", "", False),
        ("404", "model_not_found", False),
        ("400", "", False),
        ("200", "client_left", False),
        ("none", "client_left", False),
        ("200", "truncated", True),
        ("503", "no_worker_available", True),
        ("500", "", True),
        ("none", "plane_lost", True),
    ],
)
def test_failures(status: str, cause: str, is_one: bool) -> None:
    assert is_failure(status, cause) is is_one


def test_a_window_forgets_and_has_nothing_to_say_of_one_sample() -> None:
    window = Window()
    window.take(Sample(at=0.0, totals=sums(0)))
    assert window.figures == Figures()
    for turn in range(1, 61):
        window.take(Sample(at=2.0 * turn, totals=sums(2 * turn)))
    told = traffic(window.figures)
    assert told.seconds == 10.0
    # A second: one answered, one left, seven refused.
    assert told.requests == 9.0
    assert told.duration is not None
    assert told.duration.count == 60


def test_samples_are_bounded() -> None:
    window = Window()
    for turn in range(10 * MOST):
        window.take(Sample(at=turn / 1000, totals=sums(turn)))
    told = traffic(window.figures)
    assert told.seconds == pytest.approx(MOST / 1000)
