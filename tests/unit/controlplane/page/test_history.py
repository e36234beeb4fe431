from math import isnan

from controlplane.page.history import MOMENTS, Histories, Moment


def test_a_worker_has_its_own_moments_in_their_order() -> None:
    histories = Histories()
    histories.note(10.0, {"a": Moment(1.0, running=2.0, kv_usage=0.5)})
    histories.note(15.0, {"a": Moment(3.0), "b": Moment(0.0)})
    told = histories.of("a")
    assert told.times == (10.0, 15.0)
    assert told.figures["inflight"] == (1.0, 3.0)
    assert told.figures["running"] == (2.0, None)
    assert told.figures["kv_usage"] == (0.5, None)
    assert histories.of("b").times == (15.0,)
    assert histories.of("nobody").times == ()
    assert set(histories.of("nobody").figures) == set(Moment._fields)


def test_only_the_last_moments_are_kept() -> None:
    histories = Histories()
    for number in range(MOMENTS + 7):
        histories.note(float(number), {"a": Moment(float(number))})
    told = histories.of("a")
    assert told.times == tuple(map(float, range(7, MOMENTS + 7)))
    assert told.figures["inflight"] == told.times


def test_a_worker_that_left_is_forgotten_and_begins_anew() -> None:
    histories = Histories()
    histories.note(1.0, {"a": Moment(1.0), "b": Moment(1.0)})
    histories.note(2.0, {"b": Moment(1.0)})
    assert histories.of("a").times == ()
    histories.note(3.0, {"a": Moment(5.0), "b": Moment(1.0)})
    assert histories.of("a").times == (3.0,)
    assert histories.of("b").times == (1.0, 2.0, 3.0)


def test_what_is_not_known_is_not_a_number() -> None:
    assert all(isnan(value) for value in Moment(1.0)[1:])
