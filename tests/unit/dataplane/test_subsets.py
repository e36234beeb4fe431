"""Which workers a model, a group of its workers and a LoRA adapter have, and what is said when nobody is ready."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from dataplane.fleet_view import FleetView
from dataplane.subsets import Served, Subset, may_serve
from shared.model_rules import ModelArm, ModelRule
from shared.table import Settings, Worker, WorkerState
from tests.unit.dataplane.test_fleet import TestFleet, table, with_fleet
from tests.unit.dataplane.test_fleet import worker as plain_worker

CANARY = {"track": "canary"}
RULES = {
    "alias": ModelRule(to="base"),
    "split": ModelRule(split=(ModelArm(to="base", weight=9), ModelArm(to="base", labels=CANARY, weight=1))),
    "sql": ModelRule(parent="base"),
    "to-sql": ModelRule(to="sql"),
    "later": ModelRule(to="nobodys"),
}


def worker(
    name: str,
    *models: str,
    labels: Mapping[str, str] | None = None,
    state: WorkerState = "ready",
    priority: int = 50,
) -> Worker:
    return replace(plain_worker(name, models=models or None, state=state), labels=dict(labels or {}), priority=priority)


def view_of(fleet: TestFleet, *workers: Worker, settings: Settings | None = None) -> FleetView:
    models = dict.fromkeys(model for one in workers for model in one.models or ())
    fleet.adopt(table(workers, models=list(models), settings=settings or Settings(models=RULES)))
    return fleet.view


def ids(view: FleetView, served: Served | None) -> list[list[str]]:
    return [[slot.id for slot in group] for group in view.groups(served)]


def test_a_subset_has_the_workers_with_its_labels() -> None:
    def test(fleet: TestFleet) -> None:
        canary = {"track": "canary", "zone": "a"}
        view = view_of(fleet, worker("a", "base"), worker("b", "base", labels=canary), worker("c", "x", labels=CANARY))
        [_, arm] = view.routes["split"].arms
        assert ids(view, arm.served) == [["b"]]
        assert ids(view, "base") == [["a", "b"]]
        assert [view.may_serve(one, arm.served) for one in view.table.workers.values()] == [False, True, False]

    with_fleet(test)


def test_workers_that_have_an_adapter_come_before_others_of_its_parent() -> None:
    def test(fleet: TestFleet) -> None:
        settings = Settings(models=RULES)
        view = view_of(fleet, worker("a", "base"), worker("b", "base", "sql"), worker("c", "x"), settings=settings)
        assert ids(view, "sql") == [["b"], ["a"]]
        assert ids(view, view.routes["to-sql"].arms[0].served) == [["b"], ["a"]]
        assert [view.may_serve(one, "sql") for one in view.table.workers.values()] == [True, True, False]
        # Nobody has it: vLLM's resolver loads it, or says that it is not there.
        assert ids(view_of(fleet, worker("a", "base"), worker("c", "x")), "sql") == [["a"]]
        # Its own are all down.
        view = view_of(fleet, worker("a", "base"), worker("b", "base", "sql", state="unhealthy"))
        assert ids(view, "sql") == [["a"]]
        # Priorities count among either.
        low = worker("low", "base", "sql", priority=1)
        view = view_of(fleet, worker("a", "base"), worker("b", "base", "sql"), low, worker("d", "base", priority=1))
        assert ids(view, "sql") == [["b"], ["low"], ["a"], ["d"]]

    with_fleet(test)


def test_an_adapter_that_nobody_named_has_the_workers_that_loaded_it() -> None:
    def test(fleet: TestFleet) -> None:
        view = view_of(fleet, worker("a", "base"), worker("b", "base", "lora"), settings=Settings())
        assert ids(view, "lora") == [["b"]]
        assert view.routes == {}

    with_fleet(test)


def test_a_worker_that_has_not_told_its_models_may_serve_any() -> None:
    def test(fleet: TestFleet) -> None:
        view = view_of(fleet, worker("a"), worker("b", labels=CANARY))
        assert ids(view, "sql") == [["a", "b"]]
        assert ids(view, Subset("base", (("track", "canary"),))) == [["b"]]
        assert [arm.model for arm in view.routes["later"].open] == ["nobodys"]

    with_fleet(test)


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("nope", 404, "The model `nope` does not exist. Models served here: base, alias, split, sql, to-sql."),
        ("later", 503, "No worker that serves `later` (which stands for `nobodys`) is ready."),
        ("down", 503, "No worker that serves `down` is ready."),
    ],
)
def test_unknown_is_404_and_known_but_nobody_ready_is_503(name: str, status: int, said: str) -> None:
    def test(fleet: TestFleet) -> None:
        view = view_of(fleet, worker("a", "base"), worker("b", "down", state="unhealthy"))
        error = view.refusal(name)
        assert (error.status, error.retry_after) == (status, 1 if status == 503 else None)
        assert error.message.replace("base, down,", "base,").startswith(said)
        assert view.refusal(Subset("base", (("a", "b"),))).message.startswith("No worker that serves `base a=b` is re")

    with_fleet(test)


def test_unknown_models_go_to_anybody_where_that_is_wanted() -> None:
    def test(fleet: TestFleet) -> None:
        workers = worker("a", "base"), worker("b", "down", state="unhealthy")
        view = view_of(fleet, *workers, settings=Settings(forward_unknown_models=True))
        assert ids(view, "nope") == [["a"]]
        # Who serves this one is known.
        assert ids(view, "down") == [[]]

    with_fleet(test)


def test_an_arm_of_two_halves_is_ready_when_both_are() -> None:
    def test(fleet: TestFleet) -> None:
        prefill, decode = replace(worker("p", "base"), role="prefill"), replace(worker("d", "base"), role="decode")
        settings = Settings(models=RULES, pd_fallback=False, disaggregated=True)
        assert view_of(fleet, prefill, decode, settings=settings).routes["alias"].open
        assert not view_of(fleet, prefill, settings=settings).routes["alias"].open

    with_fleet(test)


def test_what_a_worker_may_serve() -> None:
    assert may_serve(worker("a"), "anything", {})
    assert may_serve(worker("a", "base"), "base", {})
    assert not may_serve(worker("a", "base"), "alias", RULES)
    assert not may_serve(worker("a", labels={"track": "stable"}), Subset("base", (("track", "canary"),)), {})
