"""Who answers a path: the table of routes decides, and what a refusal looks like there."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from dataplane.accounting import Accounting
from dataplane.app import PlaneApplication
from dataplane.client import Client, Headers
from dataplane.fleet import Fleet
from dataplane.forward import Forwarder
from shared.table import Settings, make_table
from tests.unit.dataplane.fake_granian import FakeTransaction
from tests.unit.dataplane.listening import until


def answer(
    path: str, settings: Settings, method: str = "POST", fields: Headers | None = None
) -> tuple[int, dict[str, object], Accounting]:
    """What a plane without workers answers, and its account."""

    async def ask() -> tuple[int, dict[str, object], Accounting]:
        accounting = Accounting()
        fleet = Fleet(accounting, plane_slot=0, rng=random.Random(1))
        fleet.adopt(make_table(epoch=1, version=1, settings=settings))
        application = PlaneApplication(Forwarder(fleet, accounting, lambda *_: None, random.Random(1)))
        transaction = FakeTransaction(method=method, path=path, headers=fields)
        application.handle(Client(transaction))
        if not transaction.done_calls:
            transaction.give(b"{}")
        await until(lambda: transaction.done_calls == 1)
        return transaction.sent[0]["status"], json.loads(transaction.body), accounting

    return asyncio.run(ask())


@pytest.mark.parametrize("path", ["/v2/invented", "/v1/responses/a/b", "/metrics/x"])
def test_with_strict_paths_an_unknown_one_is_refused(path: str) -> None:
    status, body, accounting = answer(path, Settings(strict_paths=True))
    assert (status, body["error"]["code"]) == (404, "unknown_path")  # type: ignore[index]
    assert accounting.requests == {("other", "POST", "", 404, "unknown_path"): 1}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses/x/cancel", "/v2/rerank"])
def test_known_paths_are_for_workers(path: str, strict: bool) -> None:
    status, body, _ = answer(path, Settings(strict_paths=strict))
    assert (status, body["error"]["code"]) == (503, "no_worker_available")  # type: ignore[index]


def test_unknown_paths_are_for_workers_too() -> None:
    assert answer("/v2/invented", Settings())[0] == 503


@pytest.mark.parametrize(("is_open", "status"), [(True, 503), (False, 404)])
@pytest.mark.parametrize("path", ["/sleep", "/collective_rpc", "/abort_requests", "/start_profile"])
def test_an_engine_is_changed_only_where_the_fleet_is(path: str, is_open: bool, status: int) -> None:
    assert answer(path, Settings(admin_on_main=is_open))[0] == status


def test_errors_have_the_shape_of_the_paths_clients() -> None:
    status, body, _ = answer("/v1/messages", Settings())
    assert status == 503
    assert body["type"] == "error"
    assert body["error"]["type"] == "overloaded_error"  # type: ignore[index]
    assert len(str(body["request_id"])) == 24


def test_a_route_with_a_name_in_it_is_one_label() -> None:
    labels = [next(iter(answer(f"/v1/responses/{name}", Settings(), "GET")[2].requests))[0] for name in ("a", "b")]
    assert labels == ["/v1/responses/{id}"] * 2


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/readiness", "/liveness"])
@pytest.mark.parametrize("mark", [b"1", b"9 1"])
def test_a_look_of_the_routers_own_control_plane_is_told_where_it_has_come(path: str, mark: bytes) -> None:
    status, body, accounting = answer(path, Settings(), "GET", [(b"x-routerctl-probe", mark)])
    assert (status, body["error"]["code"]) == (508, "loop_detected")  # type: ignore[index]
    assert [key[3:] for key in accounting.requests] == [(508, "loop_detected")]


@pytest.mark.parametrize("mark", [b"", b"11", b"9 2", b"a"])
def test_a_look_of_another_router_is_answered(mark: bytes) -> None:
    assert answer("/v1/models", Settings(), "GET", [(b"x-routerctl-probe", mark)])[0] == 200
