"""The router's own paths, by what the table says, and how they are counted."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence

import pytest

from dataplane.access_log import AccessLog
from dataplane.accounting import Accounting
from dataplane.app import PlaneApplication
from dataplane.client import Client
from dataplane.fleet import Fleet
from dataplane.fleet_view import FleetView
from dataplane.forward import Forwarder
from dataplane.own_routes import MVLLM_ROUTES, OWN_ROUTES, health, liveness, models, mvllm_health, readiness
from shared.log_output import LogOutput
from shared.model_rules import ModelRule
from shared.routes import ROUTES
from shared.table import ModelCard, Role, Settings, Worker, WorkerState, make_table
from shared.transfer import Transfer
from tests.unit.dataplane.fake_granian import FakeTransaction


def worker(name: str, state: WorkerState = "ready", role: Role = "regular") -> Worker:
    return Worker(id=name, url=f"http://{name}:8000", state=state, role=role)


def view(
    workers: Sequence[Worker] = (),
    cards: Sequence[ModelCard] = (),
    *,
    expose_worker: bool = False,
    admin_on_main: bool = True,
    connector: str = "nixl",
) -> FleetView:
    async def make() -> FleetView:
        fleet = Fleet(Accounting(), plane_slot=0, rng=random.Random(1))
        settings = Settings(expose_worker=expose_worker, admin_on_main=admin_on_main, kv_connector=connector)
        fleet.adopt(make_table(epoch=1, version=1, workers=workers, models=cards, settings=settings))
        return fleet.view

    return asyncio.run(make())


def test_a_plane_that_answers_is_alive() -> None:
    answer = liveness(view())
    assert (answer.status, answer.body) == (200, b"OK")


def test_ready_with_one_ready_worker() -> None:
    answer = readiness(view([worker("a"), worker("b", "starting"), worker("c", "ejected")]))
    assert (answer.status, answer.content_type) == (200, b"application/json")
    assert json.loads(answer.body) == {"status": "ready", "healthy_workers": 1, "total_workers": 3}


@pytest.mark.parametrize("workers", [[], [worker("a", "unhealthy")], [worker("a", "starting"), worker("b", "gone")]])
def test_not_ready_without_anybody_for_a_request(workers: list[Worker]) -> None:
    answer = readiness(view(workers))
    assert answer.status == 503
    assert json.loads(answer.body) == {
        "status": "not_ready",
        "reason": "no healthy workers available",
        "total_workers": len(workers),
    }


def test_drained_workers_are_told_and_a_fleet_of_them_is_not_ready() -> None:
    some = readiness(view([worker("a"), worker("b", "draining")]))
    counts = {"healthy_workers": 1, "total_workers": 2, "draining_workers": 1}
    assert (some.status, json.loads(some.body)) == (200, {"status": "ready", **counts})
    answer = readiness(view([worker("a", "draining"), worker("b", "draining")]))
    told = {"status": "not_ready", "reason": "all workers are drained", "total_workers": 2, "draining_workers": 2}
    assert (answer.status, json.loads(answer.body)) == (503, told)
    halves = [worker("a", "draining", "prefill"), worker("b", "draining", "prefill"), worker("c", "ready", "decode")]
    told = json.loads(readiness(view(halves)).body)
    assert told["prefill"] == {"healthy": 0, "total": 2, "draining": 2}
    assert told["decode"] == {"healthy": 1, "total": 1}


def test_ready_tells_of_both_halves_as_vllm_router_does() -> None:
    halves = [worker("a", "ready", "prefill"), worker("b", "starting", "prefill"), worker("c", "ready", "decode")]
    answer = readiness(view(halves))
    counts = {"prefill": {"healthy": 1, "total": 2}, "decode": {"healthy": 1, "total": 1}}
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ready", **counts})
    # Nobody does the half, but somebody can do the whole.
    assert readiness(view(halves[:2])).status == 200
    answer = readiness(view([worker("a", "starting", "prefill")]))
    counts = {"prefill": {"healthy": 0, "total": 1}, "decode": {"healthy": 0, "total": 0}}
    assert (answer.status, {**json.loads(answer.body), **counts}) == (503, json.loads(answer.body))


def test_all_healthy() -> None:
    answer = health(view([worker("a"), worker("b")]))
    assert (answer.status, answer.body) == (200, b"All servers healthy")


def test_one_dead_worker_does_not_take_the_router_down() -> None:
    workers = [worker("a"), worker("b", "unhealthy"), worker("c", "starting")]
    answer = health(view(workers, expose_worker=True))
    assert answer.status == 200
    assert answer.body == b"Unhealthy servers: ['b', 'c']"
    hidden = health(view(workers))
    assert (hidden.status, hidden.body) == (200, b"Unhealthy servers: 2 of 3")


def test_a_drained_worker_is_not_unhealthy() -> None:
    answer = health(view([worker("a"), worker("b", "draining")], expose_worker=True))
    assert (answer.status, answer.body) == (200, b"All servers healthy")
    answer = health(view([worker("a"), worker("b", "draining"), worker("c", "unhealthy")], expose_worker=True))
    assert (answer.status, answer.body) == (200, b"Unhealthy servers: ['c']")


def test_where_all_are_drained_load_balancers_send_elsewhere() -> None:
    drained = view([worker("a", "draining"), worker("b", "draining")])
    answer = health(drained)
    assert (answer.status, answer.body) == (503, b"No server takes requests: 2 of 2 are drained")
    assert mvllm_health(drained).status == 503


def test_pairs_alone_serve_where_no_worker_does_a_whole_request() -> None:
    pairs = [worker("a", "ready", "prefill"), worker("b", "ready", "decode"), worker("c", "unhealthy", "decode")]
    served = view(pairs, connector="moriio")
    assert health(served).status == mvllm_health(served).status == readiness(served).status == 200
    alone = view(pairs[:1], connector="moriio")
    assert health(alone).status == mvllm_health(alone).status == readiness(alone).status == 503


def test_health_in_mvllms_shape() -> None:
    workers = [worker("a"), worker("b", "unhealthy")]
    answer = mvllm_health(view(workers))
    told = json.loads(answer.body)
    assert (answer.status, answer.content_type) == (200, b"application/json")
    assert (told["status"], told["total_servers"], [one["url"] for one in told["servers"]]) == (
        "degraded",
        2,
        ["a", "b"],
    )
    hidden = json.loads(mvllm_health(view(workers, admin_on_main=False)).body)
    assert (hidden["total_servers"], hidden["servers"]) == (2, [])
    assert mvllm_health(view(workers[1:])).status == 503
    assert json.loads(mvllm_health(view()).body)["status"] == "no_servers"


def test_unhealthy_when_none_is_ready() -> None:
    assert health(view([worker("a", "unhealthy"), worker("b", "starting")])).status == 503


def test_a_fleet_whose_last_worker_is_ejected_serves() -> None:
    only = view([worker("a", "unhealthy"), worker("b", "ejected")])
    assert health(only).status == readiness(only).status == 200
    assert [slot.id for slot in only.candidates(None)] == ["b"]


def test_models_in_openais_shape_each_byte_for_byte() -> None:
    cards = [ModelCard(id="a", card=b'{"id": "a",  "x":1.0}'), ModelCard(id="b", card=b'{"id":"b"}')]
    answer = models(view(cards=cards))
    assert answer.status == 200
    assert cards[0].card in answer.body
    assert json.loads(answer.body) == {"object": "list", "data": [{"id": "a", "x": 1.0}, {"id": "b"}]}
    assert json.loads(models(view()).body) == {"object": "list", "data": []}


def test_each_route_that_a_plane_answers_has_an_answer() -> None:
    assert {*MVLLM_ROUTES, "/v1/models/{id...}"} == {route.path for route in ROUTES if route.owner == "plane"}


@pytest.mark.parametrize(("method", "is_logged"), [("GET", False), ("POST", True)])
def test_an_own_route_leaves_a_line_only_where_it_refuses(method: str, is_logged: bool) -> None:
    written: list[bytes] = []

    async def run() -> None:
        output = LogOutput(structured=False, stderr=written.append)
        access = AccessLog(asyncio.get_running_loop(), "plane 0", output)
        access.use("all", "info", prompts=False)
        fleet = Fleet(Accounting(), plane_slot=0, rng=random.Random(1))
        forwarder = Forwarder(fleet, Accounting(), lambda *_: None, random.Random(1), access=access)
        transaction = FakeTransaction(method=method, path="/v1/models", headers=[(b"x-request-id", b"mine")])
        PlaneApplication(forwarder).handle(Client(transaction))
        access.flush()
        output.close()

    asyncio.run(run())
    lines = b"".join(written).decode().splitlines()
    assert len(lines) == int(is_logged)
    assert all("WARNING plane 0: POST /v1/models 405 rejected method_not_allowed" in line for line in lines)
    assert all(line.endswith("id=mine") for line in lines)


@pytest.mark.parametrize(
    ("path", "mvllm_compat"), [*((path, False) for path in OWN_ROUTES), ("/", True), ("/health", True)]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_an_own_route_is_answered_and_counted_once(path: str, mvllm_compat: bool, method: str) -> None:
    async def run() -> None:
        accounting = Accounting()
        fleet = Fleet(accounting, plane_slot=0, rng=random.Random(1))
        fleet.adopt(make_table(epoch=1, version=1, workers=[worker("a")], settings=Settings(mvllm_compat=mvllm_compat)))
        application = PlaneApplication(Forwarder(fleet, accounting, lambda *_: None, random.Random(1)))
        transaction = FakeTransaction(method=method, path=path, headers=[(b"x-request-id", b"mine")])
        application.handle(Client(transaction))
        assert transaction.whole
        assert transaction.done_calls == 1
        assert not transaction.late
        assert (accounting.accepted, accounting.active) == (1, 0)
        assert transaction.header(b"x-request-id") == b"mine"
        taken = method in ("GET", "HEAD")
        assert transaction.status == (200 if taken else 405)
        cause = "" if taken else "method_not_allowed"
        assert accounting.requests == {(path, method, "", transaction.status, cause): 1}
        assert accounting.finished == int(taken)
        if taken:
            expected = (MVLLM_ROUTES if mvllm_compat else OWN_ROUTES)[path](fleet.view)
            assert transaction.body == (expected.body if method == "GET" else b"")
            assert transaction.header(b"content-length") == b"%d" % len(expected.body)
            assert transaction.header(b"content-type") == expected.content_type
        else:
            assert transaction.header(b"allow") == b"GET, HEAD"
            assert accounting.rejected == {"method_not_allowed": 1}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "model", "status"),
    [("GET", "m", 200), ("HEAD", "org/m", 200), ("GET", "alias", 200), ("GET", "org", 404), ("DELETE", "m", 405)],
)
def test_one_models_entry(method: str, model: str, status: int) -> None:
    async def run() -> None:
        accounting = Accounting()
        fleet = Fleet(accounting, plane_slot=0, rng=random.Random(1))
        cards = [ModelCard(id=name, card=b'{"id":"%b"}' % name.encode()) for name in ("m", "org/m")]
        settings = Settings(models={"alias": ModelRule(to="m")})
        fleet.adopt(make_table(epoch=1, version=1, workers=[worker("a")], models=cards, settings=settings))
        application = PlaneApplication(Forwarder(fleet, accounting, lambda *_: None, random.Random(1)))
        transaction = FakeTransaction(method=method, path=f"/v1/models/{model}")
        application.handle(Client(transaction))
        assert transaction.done_calls == 1
        assert transaction.status == status
        cause = {200: "", 404: "model_not_found", 405: "method_not_allowed"}[status]
        assert accounting.requests == {("/v1/models/{id...}", method, "", status, cause): 1}
        told = json.loads(transaction.body) if transaction.body else {}
        if status == 404:
            said = "The model `org` does not exist. Models served here: m, org/m, alias. "
            assert told["error"]["message"].startswith(said)
        elif status == 200:
            assert method == "HEAD" or told["id"] == model
            assert fleet.view.models_page.entries[model] in fleet.view.models_page.body

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/health/", "/Health", "/v1/model", "//health", "/"])
def test_any_other_path_goes_to_a_worker(path: str) -> None:
    async def run() -> None:
        accounting = Accounting()
        fleet = Fleet(accounting, plane_slot=0, rng=random.Random(1))
        application = PlaneApplication(Forwarder(fleet, accounting, lambda *_: None, random.Random(1)))
        transaction = FakeTransaction(method="GET", path=path)
        application.handle(Client(transaction))
        transaction.give(b"")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        # There is no worker.
        assert transaction.status == 503
        assert accounting.rejected == {"no_worker_available": 1}

    asyncio.run(run())


@pytest.mark.parametrize("exposed", [True, False])
def test_readiness_says_that_no_two_workers_can_be_a_pair(exposed: bool) -> None:
    def answer(connector: str, state: WorkerState = "ready") -> object:
        decode = Worker(id="d", url="http://d:8000", state=state, role="decode", transfer=Transfer(connector=connector))
        answer = readiness(view([worker("p", role="prefill"), decode], expose_worker=exposed))
        return json.loads(answer.body).get("no_pair")

    assert answer("nixl") is None
    assert answer("nccl") == ("d moves KV cache by nccl, not by nixl" if exposed else "no two of them can be a pair")
    # The counts say that.
    assert answer("nccl", "unhealthy") is None
