"""Who stays and who goes, over histories of pings that are lost, late and doubled (G-DISC-1, G-DISC-2)."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.discovery.discovered import Announced
from controlplane.discovery.refusals import RefusedError
from controlplane.discovery.registration import Farewell, Registration
from controlplane.discovery.registrations import (
    MAX_PER_SENDER,
    MAX_UNPROVEN,
    MAX_UNPROVEN_PER_SENDER,
    MAX_WORKERS,
    Heard,
    Registrations,
)
from shared.table import Role
from shared.transfer import Transfer
from shared.worker_attributes import WorkerAttributes

HOST = "10.0.0.9"
PING = 3.0
SILENT = 15.0


def announced(role: Role = "prefill", address: str = "10.0.0.9:1") -> Announced:
    return Announced(attributes=WorkerAttributes(role=role), transfer=Transfer(connector="nccl", address=address))


def told(port: int = 80, *, host: str = HOST, life: str = "", ranks: int | None = None, **said: str) -> Registration:
    return Registration(
        url=f"http://{host}:{port}",
        announced=announced(**said),  # type: ignore[arg-type]
        life=life,
        ranks=ranks,
    )


def well(key: str) -> bool:
    return True


def ill(key: str) -> bool:
    return False


def test_the_first_ping_is_a_new_worker_and_the_next_ones_say_nothing() -> None:
    found = Registrations()
    assert found.heard(told(), HOST, now=0.0) == Heard(told(), ("http://10.0.0.9:80",))
    assert found.heard(told(), HOST, now=3.0) is None
    assert len(found) == 1


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 2), st.booleans()), min_size=1, max_size=30), st.data())
def test_up_to_two_lost_and_late_and_doubled_pings_remove_nobody_g_disc_1(
    history: list[tuple[int, float, bool]], data: st.DataObject
) -> None:
    """Even of a worker that is not well: it is there, and may be loading its model."""
    found, now = Registrations(), 0.0
    found.heard(told(), HOST, now=now)
    for lost, late, doubled in history:
        end = now + PING * (lost + 1) + late
        while now < end:
            now = min(end, now + data.draw(st.floats(0.1, 1.5), label="pause between sweeps"))
            assert found.sweep(now=now, is_well=ill).gone == ()
        for _ in range(1 + doubled):
            assert found.heard(told(), HOST, now=now) is None


@settings(max_examples=100)
@given(st.lists(st.floats(0.1, 3.0), min_size=1, max_size=200))
def test_who_is_well_stays_however_long_it_is_silent_g_disc_1(pauses: list[float]) -> None:
    found, now = Registrations(), 0.0
    found.heard(told(), HOST, now=now)
    for pause in pauses:
        now += pause
        assert found.sweep(now=now, is_well=well).gone == ()


@settings(max_examples=100)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0.1, 3.0)), min_size=1, max_size=60))
def test_who_goes_was_silent_and_ill_for_long_enough(history: list[tuple[bool, bool, float]]) -> None:
    found, now, last_ping, last_well = Registrations(), 0.0, 0.0, 0.0
    found.heard(told(), HOST, now=now)
    for pings, is_well, pause in history:
        now += pause
        if pings:
            if found.heard(told(), HOST, now=now) is not None:
                last_well = now
            last_ping = now
        if is_well:
            last_well = now
        swept = found.sweep(now=now, is_well=lambda _, is_well=is_well: is_well)  # type: ignore[misc]
        if swept.gone:
            assert now - last_ping >= SILENT
            assert now - last_well >= SILENT


def second_is_well(key: str) -> bool:
    return key.endswith(":2")


def test_who_is_silent_and_ill_goes_each_by_itself() -> None:
    found = Registrations()
    for port in (1, 2, 3):
        found.heard(told(port), HOST, now=0.0)
    gone: list[tuple[float, str]] = []
    for now in range(1, 60):
        if now % 3 == 0:
            # The first in the list pings on: it keeps nobody else.
            found.heard(told(1), HOST, now=now)
        swept = found.sweep(now=float(now), is_well=second_is_well if now < 20 else ill)
        gone += [(now, key) for key in swept.gone]
    assert [key for _, key in gone] == ["http://10.0.0.9:3", "http://10.0.0.9:2"]
    assert len(found) == 1


def test_who_is_quiet_is_looked_at_once() -> None:
    found = Registrations()
    found.heard(told(), HOST, now=0.0)
    asked = [found.sweep(now=float(now), is_well=well).quiet for now in range(1, 30)]
    assert [asked.index(one) + 1 for one in asked if one] == [5]
    found.heard(told(), HOST, now=30.0)
    assert found.sweep(now=31.0, is_well=well).quiet == ()
    assert found.sweep(now=33.0, is_well=well).quiet == ()
    assert found.sweep(now=35.5, is_well=well).quiet == ("http://10.0.0.9:80",)


def test_while_this_process_stands_nobody_grows_silent() -> None:
    found = Registrations()
    found.heard(told(), HOST, now=0.0)
    found.sweep(now=1.0, is_well=ill)
    found.sweep(now=3601.0, is_well=ill)
    for second in range(3602, 3614):
        assert found.sweep(now=float(second), is_well=ill).gone == ()
    assert any(found.sweep(now=float(second), is_well=ill).gone for second in range(3614, 3620))


def test_another_role_or_address_is_another_registration() -> None:
    found = Registrations()
    found.heard(told(), HOST, now=0.0)
    changed = found.heard(told(role="decode"), HOST, now=1.0)
    assert changed is not None
    assert changed.before == changed.ids == ("http://10.0.0.9:80",)
    assert found.heard(told(role="decode", address="10.0.0.9:2"), HOST, now=1.0) is not None


def test_another_number_of_ranks_is_told() -> None:
    found = Registrations()
    found.heard(told(ranks=2), HOST, now=0.0)
    changed = found.heard(told(ranks=3), HOST, now=0.0)
    assert changed is not None
    assert (len(changed.before), len(changed.ids), len(found)) == (2, 3, 3)


def test_a_new_life_is_told_once_and_the_first_is_none() -> None:
    found = Registrations()
    found.restore({"http://10.0.0.9:80": announced()}, now=0.0)
    assert found.heard(told(life="a"), HOST, now=0.0) is None
    changed = found.heard(told(life="b"), HOST, now=0.0)
    assert changed is not None
    assert changed.is_new_life
    assert found.heard(told(life="b"), HOST, now=0.0) is None


def test_somebody_else_can_not_change_who_is_there_g_disc_2() -> None:
    found = Registrations()
    found.heard(told(), "10.0.0.1", now=0.0)
    with pytest.raises(RefusedError) as caught:
        found.heard(told(role="decode"), "10.0.0.66", now=1.0)
    assert caught.value.reason == "conflict"
    with pytest.raises(RefusedError):
        found.goodbye(Farewell(told().url, "", 1), "10.0.0.66", now=1.0)
    # What says the same is a ping: pods behind a node change their addresses.
    assert found.heard(told(), "10.0.0.66", now=1.0) is None
    with pytest.raises(RefusedError):
        found.heard(told(role="decode"), "10.0.0.66", now=2.0)
    # The worker itself may, and everybody when it is there no more.
    assert found.heard(told(role="decode"), HOST, now=2.0) is not None
    assert found.heard(told(), "10.0.0.66", now=2.0 + SILENT) is not None


def test_goodbye_forgets() -> None:
    found = Registrations()
    found.heard(told(ranks=2), HOST, now=0.0)
    assert found.goodbye(Farewell(told().url, "", 1), HOST, now=1.0) == ("http://10.0.0.9:80@0", "http://10.0.0.9:80@1")
    assert found.goodbye(Farewell(told().url, "", 1), HOST, now=1.0) == ()
    assert len(found) == 0


def test_an_earlier_control_planes_workers_have_time_to_ping() -> None:
    found = Registrations()
    known = {f"http://10.0.0.9:80@{rank}": announced() for rank in range(2)}
    found.restore(known, now=100.0)
    assert found.sweep(now=100.0 + SILENT - 1, is_well=ill).gone == ()
    assert found.heard(told(ranks=2), HOST, now=100.0 + SILENT - 1) is None
    assert found.sweep(now=100.0 + SILENT + 1, is_well=ill).gone == ()


def flood(found: Registrations, sender: str, count: int, now: float) -> int:
    """Register so many servers from one address; return how many were taken."""
    taken = 0
    for port in range(1, count + 1):
        try:
            found.heard(told(port, host=sender), sender, now=now)
        except RefusedError as refused:
            if refused.reason not in ("sender_limit", "limit"):
                raise
            continue
        taken += 1
    return taken


def test_one_address_registers_so_many_and_no_more_g_disc_2() -> None:
    found, now, taken = Registrations(), 0.0, 0
    for _ in range(10):
        now += 1
        taken = flood(found, "10.0.0.1", MAX_PER_SENDER + 100, now)
        # They have all become healthy.
        found.sweep(now=now, is_well=well)
    assert taken == len(found) == MAX_PER_SENDER
    assert found.heard(told(), HOST, now=now) is not None


def test_those_that_were_never_well_are_few_and_take_turns_g_disc_2() -> None:
    found = Registrations()
    assert flood(found, "10.0.0.1", 1000, 0.0) == MAX_UNPROVEN_PER_SENDER
    for host in range(50):
        flood(found, f"10.0.1.{host}", 1000, 0.0)
    assert len(found) == MAX_UNPROVEN
    # Who comes from elsewhere is taken at once, in place of one of the flood's.
    assert found.heard(told(), HOST, now=0.0) is not None
    assert len(found) == MAX_UNPROVEN
    found.sweep(now=1.0, is_well=lambda key: key == "http://10.0.0.9:80")
    for host in range(50):
        flood(found, f"10.0.2.{host}", 1000, 30.0)
    assert "http://10.0.0.9:80" in found.announced()


def test_who_found_no_room_comes_in_as_soon_as_others_are_well() -> None:
    found = Registrations()
    flood(found, "10.0.0.1", 100, 0.0)
    flood(found, "10.0.0.2", 40, 0.0)
    swept = found.sweep(now=0.5, is_well=ill)
    assert (len(found), swept.came) == (2 * MAX_UNPROVEN_PER_SENDER, ())
    came = []
    for turn in range(4):
        swept = found.sweep(now=1.0 + turn, is_well=well)
        came.append([heard.told.place[2] for heard, sender in swept.came if sender == "10.0.0.1"])
    assert list(map(len, came)) == [32, 32, 4, 0]
    assert came[0][0] == MAX_UNPROVEN_PER_SENDER + 1, "the first that was refused is the first to come in"
    assert len(found) == 140
    assert not found.is_waited


def test_of_two_senders_that_wait_none_keeps_the_other_out() -> None:
    found = Registrations()
    for host in range(5):
        flood(found, f"10.0.0.{host}", 60, 0.0)
    assert len(found) == MAX_UNPROVEN
    swept = found.sweep(now=1.0, is_well=well)
    each = Counter(sender for _, sender in swept.came)
    assert each.total() == MAX_UNPROVEN
    assert max(each.values()) - min(each.values()) <= 1


def test_who_waits_and_is_not_heard_any_more_is_forgotten() -> None:
    found = Registrations()
    flood(found, "10.0.0.1", MAX_UNPROVEN_PER_SENDER + 2, 0.0)
    kept = told(MAX_UNPROVEN_PER_SENDER + 2, host="10.0.0.1")
    with pytest.raises(RefusedError):
        found.heard(kept, "10.0.0.1", now=9.0)
    swept = found.sweep(now=16.0, is_well=well)
    assert [heard.told for heard, _ in swept.came] == [kept]


def test_so_many_wait_and_no_more_g_disc_2() -> None:
    found = Registrations()
    for host in range(20):
        flood(found, f"10.0.1.{host}", 1000, 0.0)
    assert len(found._waiting) == MAX_WORKERS
    assert max(map(len, found._waiting._by_sender.values())) == MAX_PER_SENDER


def test_from_one_address_they_take_turns() -> None:
    found = Registrations()
    flood(found, "10.0.0.1", MAX_UNPROVEN_PER_SENDER, 0.0)
    late = told(999, host="10.0.0.1")
    with pytest.raises(RefusedError) as caught:
        found.heard(late, "10.0.0.1", now=5.0)
    assert caught.value.reason == "sender_limit"
    assert found.heard(late, "10.0.0.1", now=10.0) is not None
    assert "http://10.0.0.1:1" not in found.announced()
    assert len(found) == MAX_UNPROVEN_PER_SENDER


def test_a_flood_from_everywhere_pushes_nobody_out_g_disc_2() -> None:
    found, now = Registrations(), 0.0
    found.heard(told(), HOST, now=now)
    for host in range(MAX_WORKERS // MAX_UNPROVEN_PER_SENDER + 2):
        now += 0.1
        flood(found, f"10.0.1.{host}", MAX_UNPROVEN_PER_SENDER, now)
        found.sweep(now=now, is_well=well)
    assert len(found) == MAX_WORKERS
    assert found.heard(told(), HOST, now=now) is None
    with pytest.raises(RefusedError) as caught:
        found.heard(told(99), HOST, now=now)
    assert caught.value.reason == "limit"
    # Those that are there no more go, and there is room again.
    for _ in range(40):
        now += 1
        found.heard(told(), HOST, now=now)
        found.sweep(now=now, is_well=ill)
    assert len(found) == 1
    assert found.heard(told(99), HOST, now=now) is not None


def test_ranks_count_each_and_a_refused_change_changes_nothing_g_disc_2() -> None:
    found = Registrations()
    for port in range(1, 5):
        # More than may be looked at at a time are all right where they are one server.
        found.heard(told(port, ranks=64), HOST, now=0.0)
        found.sweep(now=float(port) / 10, is_well=well)
    with pytest.raises(RefusedError):
        found.heard(told(5), HOST, now=0.5)
    found.heard(told(1, ranks=63), HOST, now=0.5)
    with pytest.raises(RefusedError):
        found.heard(told(2, ranks=66), HOST, now=0.5)
    assert len(found) == MAX_PER_SENDER - 1
    assert found.heard(told(2, ranks=64), HOST, now=0.5) is None


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.sampled_from([HOST, "10.0.0.1"]), st.booleans())))
def test_what_is_counted_is_what_is_there(history: list[tuple[int, int, str, bool]]) -> None:
    found = Registrations()
    found.restore({"http://10.0.0.9:1": announced()}, now=0.0)
    for now, (port, ranks, sender, is_well) in enumerate(history, 1):
        with suppress(RefusedError):
            found.heard(told(port, ranks=ranks), sender, now=float(now))
        found.sweep(now=float(now), is_well=well if is_well else ill)
        assert len(found) == len(found.announced())
    for now in range(len(history) + 1, len(history) + 50):
        found.sweep(now=float(now), is_well=ill)
    assert len(found) == 0
    assert flood(found, "10.0.0.1", 1000, 1e6) == MAX_UNPROVEN_PER_SENDER
