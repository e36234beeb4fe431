import msgspec
import pytest

from controlplane.discovery.discovered import Discovered
from controlplane.health import HealthRules, Outcome
from controlplane.registry import MAX_REASON, Change, ProbeResult, Registry
from shared.table import ModelCard, Worker, WorkerState, make_table
from shared.transfer import Transfer
from shared.transfer_attributes import TransferAttributes
from shared.worker_attributes import WorkerAttributes
from shared.worker_rank import rank_ids

A = Discovered("http://a:1")
B = Discovered("http://b:1")
MODELS = {"m": b'{"id":"m"}'}


def registry(*found: Discovered) -> Registry:
    made = Registry(HealthRules())
    made.sync(found or (A,), now=0.0, wall=100.0)
    return made


def see(made: Registry, *outcomes: Outcome, models: dict[str, bytes] | None = None, wall: float = 101.0) -> Worker:
    for outcome in outcomes:
        told = models if outcome == "ok" else None
        made.probed(A.id, ProbeResult(outcome, f"{outcome} it was", told), now=1.0, wall=wall)
    worker = made.worker(A.id)
    assert worker is not None
    return worker


def test_a_found_worker_starts() -> None:
    assert registry().worker(A.id) == Worker(id=A.id, url=A.url, since=100.0)


def test_becoming_ready_brings_the_models_in_the_same_record() -> None:
    made = registry()
    change = made.probed(A.id, ProbeResult("ok", models=MODELS, version="0.32.0"), now=1.0, wall=101.0)
    ready = Worker(id=A.id, url=A.url, state="ready", since=101.0, models=("m",), version="0.32.0")
    assert change == Change(Worker(id=A.id, url=A.url, since=100.0), ready)
    member = made.members()[0]
    assert (member.cards, member.version) == (MODELS, "0.32.0")


def test_a_look_that_finds_nothing_new_is_no_change() -> None:
    made = registry()
    see(made, "ok", models=MODELS)
    assert made.probed(A.id, ProbeResult("ok", models=MODELS), now=2.0, wall=102.0) is None


def test_a_look_that_fails_is_told_of_a_worker_that_stays_in_service() -> None:
    made = registry()
    see(made, "ok", models=MODELS)
    for _ in range(2):
        worker = see(made, "unclear")
        assert (worker.state, worker.reason) == ("ready", "its last check: unclear it was")
    assert see(made, "ok").reason == ""


def test_a_worker_that_does_not_tell_its_models_keeps_what_it_told() -> None:
    made = registry()
    assert see(made, "ok").models is None
    assert see(made, "ok", models=MODELS).models == ("m",)
    assert see(made, "ok").models == ("m",)
    assert see(made, "ok", models={}).models == ()


def test_reasons_are_told_and_bounded() -> None:
    made = registry()
    made.probed(A.id, ProbeResult("failed", "x" * 1000), now=1.0, wall=101.0)
    worker = made.worker(A.id)
    assert worker is not None
    assert (worker.state, worker.reason) == ("starting", "x" * MAX_REASON)
    assert see(made, "ok").reason == ""
    down = see(made, "failed", "failed", "failed", wall=107.0)
    assert (down.state, down.reason, down.since) == ("unhealthy", "failed it was", 107.0)


def test_a_worker_that_never_started_says_so() -> None:
    made = registry()
    change = made.probed(A.id, ProbeResult("refused", "connection refused"), now=600.0, wall=700.0)
    assert change is not None
    assert change.after.reason == "not healthy within 600 s of its start: connection refused"


def test_refusing_while_it_starts_is_part_of_the_first_life() -> None:
    assert see(registry(), "refused", "refused", "ok").epoch == 1


def test_refusing_and_coming_back_is_a_new_life_once() -> None:
    made = registry()
    see(made, "ok", models=MODELS)
    made.process_started(A.id, 1000.0)
    back = see(made, "refused", "refused", "refused", "ok", "ok")
    assert (back.epoch, back.state, back.models) == (2, "ready", None)
    assert made.members()[0].cards == {}
    told = made.process_started(A.id, 2000.0)
    assert told is not None
    assert (told.after.epoch, told.after.process_start) == (2, 2000.0)
    assert see(made, "ok").epoch == 2


def test_g_disc_3_a_new_life_that_the_page_tells_before_the_prober_sees_it_counts_once() -> None:
    made = registry()
    see(made, "ok", models=MODELS)
    made.process_started(A.id, 1000.0)
    see(made, "refused")
    told = made.process_started(A.id, 2000.0)
    assert told is not None
    assert told.after.epoch == 2
    back = see(made, "ok")
    assert (back.epoch, back.process_start, back.models) == (2, 2000.0, None)
    assert see(made, "refused", "ok").epoch == 3


def test_a_restart_between_two_looks_is_seen_when_refused_once() -> None:
    made = registry()
    assert see(made, "ok", "refused", "ok").epoch == 2


def test_a_changed_process_start_after_doubt_is_a_new_life() -> None:
    made = registry()
    see(made, "ok", models=MODELS)
    told = made.process_started(A.id, 1000.0)
    assert told is not None
    assert (told.after.epoch, told.after.process_start) == (1, 1000.0)
    see(made, "failed", "failed", "failed", "ok", "ok")
    change = made.process_started(A.id, 2000.0)
    assert change is not None
    assert (change.after.epoch, change.after.models) == (2, ("m",))
    assert made.process_started(A.id, 500.0) is None


def test_evidence_is_doubt_enough() -> None:
    made = registry()
    see(made, "ok")
    made.process_started(A.id, 1000.0)
    assert made.suspect(A.id, 1)
    see(made, "ok")
    assert made.process_started(A.id, 2000.0) is not None


def test_g_disc_3_a_restart_that_nobody_missed_is_a_new_life() -> None:
    made = registry()
    see(made, "ok", models=MODELS)
    made.process_started(A.id, 1000.0)
    told = made.process_started(A.id, 1001.0)
    assert told is not None
    assert (told.after.epoch, told.after.state, told.after.models) == (2, "ready", ("m",))


def test_several_servers_behind_one_url_are_one_life_after_their_first_words() -> None:
    made = registry()
    see(made, "ok")
    for start in (10.0, 30.0, 20.0):
        made.process_started(A.id, start)
    assert [made.process_started(A.id, start) for start in (10.0, 20.0, 30.0) * 3] == [None] * 9


def test_doubt_ends_when_the_process_is_the_same() -> None:
    made = registry()
    see(made, "ok")
    made.process_started(A.id, 1000.0)
    see(made, "failed", "failed", "failed", "ok", "ok")
    assert made.process_started(A.id, 1000.0) is None
    assert made.process_started(A.id, 500.0) is None


def test_evidence_counts_only_against_the_present_life_of_a_ready_worker() -> None:
    made = registry()
    assert not made.suspect(A.id, 1)
    see(made, "ok")
    assert made.suspect(A.id, 1)
    assert not made.suspect(A.id, 2)
    assert not made.suspect("http://nobody", 1)


def test_a_worker_that_goes_and_returns_lives_another_life() -> None:
    made = registry(A, B)
    gone = made.sync((B,), now=5.0, wall=105.0)
    assert [(change.after.id, change.after.state) for change in gone] == [(A.id, "gone")]
    assert made.worker(A.id) is None
    assert made.pause(A.id) is None
    assert made.probed(A.id, ProbeResult("ok"), now=6.0, wall=106.0) is None
    made.sync((B, A), now=7.0, wall=107.0)
    assert [(member.worker.id, member.worker.epoch) for member in made.members()] == [(B.id, 1), (A.id, 2)]


@pytest.mark.parametrize("state", ["ready", "unhealthy"])
def test_an_earlier_table_is_taken_over(state: str) -> None:
    old = msgspec.convert(
        {"id": A.id, "url": A.url, "epoch": 4, "state": state, "since": 50.0, "models": ["m"], "reason": "r"}, Worker
    )
    made = registry(A, B)
    made.restore(make_table(epoch=1, version=9, workers=[old], models=[ModelCard(id="m", card=MODELS["m"])]), now=1.0)
    assert made.worker(A.id) == old
    assert made.members()[0].cards == MODELS
    assert made.members()[1].worker.state == "starting"
    assert made.pause(A.id) == 0.0
    if state == "ready":
        assert see(made, "refused", "ok").epoch == 5
    else:
        assert see(made, "ok").state == "unhealthy"


@pytest.mark.parametrize(
    ("state", "seconds", "epoch"), [("ready", 2000.0, 5), ("ready", 1000.0, 4), ("draining", 2000.0, 5)]
)
def test_g_disc_3_a_restart_without_a_control_plane_is_seen_by_the_next_one(
    state: WorkerState, seconds: float, epoch: int
) -> None:
    made = registry(A)
    old = Worker(id=A.id, url=A.url, epoch=4, state=state, process_start=1000.0)
    made.restore(make_table(epoch=1, version=9, workers=[old]), now=1.0)
    see(made, "ok")
    made.process_started(A.id, seconds)
    worker = made.worker(A.id)
    assert worker is not None
    assert (worker.epoch, worker.process_start) == (epoch, seconds)
    assert made.process_started(A.id, 500.0) is None


def test_an_earlier_tables_starting_and_unknown_workers_are_not_taken_over() -> None:
    made = registry(A)
    workers = [Worker(id=A.id, url=A.url, since=1.0), Worker(id=B.id, url=B.url, state="ready")]
    made.restore(make_table(epoch=1, version=9, workers=workers), now=1.0)
    assert [member.worker for member in made.members()] == [Worker(id=A.id, url=A.url, since=100.0)]


def test_an_ejected_worker_is_healthy_and_shown_as_ejected_with_the_reason() -> None:
    made = registry()
    see(made, "ok", models=MODELS)
    change = made.eject(A.id, "it fails", wall=105.0)
    assert change is not None
    assert (change.after.state, change.after.reason, change.after.since) == ("ejected", "it fails", 105.0)
    assert see(made, "ok").state == "ejected"
    back = made.eject(A.id, "", wall=110.0)
    assert back is not None
    assert (back.after.state, back.after.reason, back.after.since) == ("ready", "", 110.0)
    assert made.eject("http://nobody:1", "it fails", wall=111.0) is None


def test_who_is_unhealthy_or_drains_is_shown_as_that_first() -> None:
    made = registry()
    see(made, "ok", models=MODELS)
    made.eject(A.id, "it fails", wall=105.0)
    assert see(made, "failed", "failed", "failed").state == "unhealthy"
    assert see(made, "ok", "ok").state == "ejected"
    made.sync((A._replace(draining="by an operator"),), now=2.0, wall=120.0)
    assert see(made).state == "draining"


def test_an_ejection_outlives_the_control_plane() -> None:
    old = Worker(id=A.id, url=A.url, state="ejected", reason="it fails", since=50.0, models=("m",))
    made = registry()
    made.restore(make_table(epoch=1, version=1, workers=(old,), models=[ModelCard(id="m", card=b"{}")]), now=1.0)
    assert made.worker(A.id) == old
    change = made.eject(A.id, "", wall=110.0)
    assert change is not None
    assert change.after.state == "ready"


def test_ranks_of_a_server_that_was_one_worker_are_as_it_was() -> None:
    old = Worker(id=A.id, url=A.url, epoch=4, state="ready", since=50.0, models=("m",))
    made = registry(*(Discovered(key) for key in rank_ids(A.id, 2)))
    made.restore(make_table(epoch=1, version=9, workers=[old], models=[ModelCard(id="m", card=MODELS["m"])]), now=1.0)
    assert made.at(A.url) == tuple(msgspec.structs.replace(old, id=f"{A.id}@{rank}", rank=rank) for rank in range(2))
    made.sync([Discovered(f"{A.id}@1")], now=2.0, wall=102.0)
    assert [worker.rank for worker in made.at(A.url)] == [1]
    made.sync([], now=2.0, wall=102.0)
    assert made.at(A.url) == ()


# --- KV transfers ----------------------------------------------------------------------------------------


def test_a_bootstrap_servers_engines_are_those_of_one_life() -> None:
    said = WorkerAttributes(transfer=TransferAttributes(tp_size=2))
    made = registry(A._replace(attributes=said, transfer=Transfer(address="told")))
    assert made.lacks_engines(A.id)
    told = ProbeResult("ok", models=MODELS, engines={"0": "e"}, bootstrap_port=9)
    change = made.probed(A.id, told, now=1.0, wall=101.0)
    assert change is not None
    assert change.after.transfer == Transfer(address="told", tp_size=2, engine_ids={"0": "e"}, bootstrap_port=9)
    assert not made.lacks_engines(A.id)
    see(made, "ok")
    assert not made.lacks_engines(A.id), "what is not told again stays"
    see(made, "refused")
    assert made.lacks_engines(A.id)
    worker = see(made, "ok")
    assert worker.epoch == 2
    assert worker.transfer == Transfer(address="told", tp_size=2)


def test_a_process_that_started_anew_has_other_engines() -> None:
    made = registry()
    made.probed(A.id, ProbeResult("ok", models=MODELS, engines={"0": "e"}, bootstrap_port=9), now=1.0, wall=101.0)
    made.process_started(A.id, 1000.0)
    made.suspect(A.id, 1)
    change = made.process_started(A.id, 2000.0)
    assert change is not None
    assert change.after.transfer is None
    assert made.lacks_engines(A.id)


def test_the_next_control_plane_knows_the_engines_until_it_has_asked() -> None:
    old = Worker(id=A.id, url=A.url, state="ready", transfer=Transfer(engine_ids={"0": "e"}, bootstrap_port=9))
    made = registry()
    made.restore(make_table(epoch=1, version=1, workers=[old]), now=0.0)
    worker = made.worker(A.id)
    assert worker is not None
    assert worker.transfer == old.transfer
