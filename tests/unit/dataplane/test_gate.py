"""What a request must pass at the plane's door, through the plane's own application."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from dataplane.accounting import Accounting
from dataplane.app import PlaneApplication
from dataplane.client import Client
from dataplane.fleet import Fleet
from dataplane.forward import Forwarder
from dataplane.gate import Gate
from shared.client_keys import ClientKey, digest_of
from shared.errors import RouterError
from shared.table import Settings, Worker, make_table
from tests.unit.dataplane.fake_granian import FakeTransaction
from tests.unit.dataplane.listening import until

URL, KEY = "http://127.0.0.1:1", b"sk-of-alice"
KEYS = (ClientKey(name="alice", digest=digest_of(KEY), models=("m",)),)
ORIGIN = (b"origin", b"https://page.example")


class Door:
    def __init__(self, settings: Settings) -> None:
        self.accounting = Accounting()
        self.fleet = Fleet(self.accounting, plane_slot=0, rng=random.Random(1))
        self.fleet.adopt(make_table(epoch=1, version=1, workers=[Worker(id=URL, url=URL)], settings=settings))
        self.gate = Gate()
        self.gate.use(settings)
        forwarder = Forwarder(self.fleet, self.accounting, lambda *_: None, random.Random(1))
        self.application = PlaneApplication(forwarder, gate=self.gate)

    def knock(
        self,
        path: str = "/v1/models",
        *headers: tuple[bytes, bytes],
        method: str = "GET",
        body: bytes = b"",
        peer: str = "203.0.113.9",
    ) -> tuple[FakeTransaction, Client]:
        transaction = FakeTransaction(method=method, path=path, headers=list(headers))
        transaction.scope["client"] = (peer, "1234")
        transaction.scope["http_version"] = "1.1"
        transaction.scope["headers"].append((b"host", b"router"))
        client = Client(transaction)
        self.application.handle(client)
        if not transaction.done_calls:
            transaction.give(body)
        return transaction, client


def status(transaction: FakeTransaction) -> int:
    return int(transaction.sent[0]["status"])


def fields(transaction: FakeTransaction) -> dict[bytes, bytes]:
    return dict(transaction.sent[0]["headers"])


def test_without_any_of_it_a_client_passes() -> None:
    async def test() -> None:
        door = Door(Settings())
        transaction, client = door.knock()
        assert status(transaction) == 200
        assert not door.gate.is_guarded
        assert (client.key, client.forwarded, client.added) == (None, None, None)

    asyncio.run(test())


def test_a_key_is_asked_for_on_every_path_but_those_of_load_balancers() -> None:
    async def test() -> None:
        door = Door(Settings(client_keys=KEYS, admin_on_main=False))
        for path in ("/v1/models", "/v1/completions", "/list_workers", "/metrics", "/any/thing"):
            transaction, _ = door.knock(path)
            assert status(transaction) == 401
            assert fields(transaction)[b"www-authenticate"] == b"Bearer"
            assert json.loads(transaction.sent[1]["body"])["error"]["code"] == "missing_api_key"
        for path in ("/health", "/liveness", "/readiness"):
            assert status(door.knock(path)[0]) != 401
        transaction, client = door.knock("/v1/models", (b"x-api-key", KEY))
        assert status(transaction) == 200
        assert client.key is not None
        assert client.key.name == "alice"
        accounting = door.accounting
        assert accounting.accepted == accounting.finished + sum(accounting.rejected.values())

    asyncio.run(test())


def test_a_key_gives_no_right_to_change_the_fleet() -> None:
    async def test() -> None:
        door = Door(Settings(client_keys=KEYS, admin_on_main=False))
        for path in ("/add_worker", "/sleep"):
            transaction, _ = door.knock(path, (b"x-api-key", KEY), method="POST")
            assert status(transaction) == 404

    asyncio.run(test())


def test_a_key_for_other_models_is_refused_before_a_worker_is_asked() -> None:
    async def test() -> None:
        door = Door(Settings(client_keys=KEYS))
        key = (b"authorization", b"Bearer " + KEY)
        for body in (b'{"model":"other"}', b"{}", b"no json"):
            transaction, _ = door.knock("/v1/completions", key, method="POST", body=body)
            await until(lambda transaction=transaction: bool(transaction.done_calls))  # type: ignore[misc]
            assert status(transaction) == 403
            error = json.loads(transaction.sent[1]["body"])["error"]
            assert (error["code"], error["param"], error["type"]) == (
                "model_not_allowed",
                "model",
                "invalid_request_error",
            )

    asyncio.run(test())


def test_settings_that_are_the_same_are_compiled_once_and_others_at_once() -> None:
    async def test() -> None:
        door = Door(Settings(client_keys=KEYS))
        door.gate.use(Settings(client_keys=()))
        assert status(door.knock("/v1/models", (b"x-api-key", KEY))[0]) == 401
        door.gate.use(Settings())
        assert status(door.knock()[0]) == 200

    asyncio.run(test())


def test_a_preflight_is_answered_by_the_plane_and_needs_no_key() -> None:
    async def test() -> None:
        door = Door(Settings(client_keys=KEYS, cors_allowed_origins=("https://page.example",)))
        asks = (b"access-control-request-method", b"POST")
        transaction, _ = door.knock("/v1/chat/completions", ORIGIN, asks, method="OPTIONS")
        assert status(transaction) == 204
        assert fields(transaction)[b"access-control-allow-origin"] == b"https://page.example"
        transaction, _ = door.knock("/v1/chat/completions", (b"origin", b"https://evil"), asks, method="OPTIONS")
        assert b"access-control-allow-origin" not in fields(transaction)
        # The page may read why it was refused.
        refused, _ = door.knock("/v1/models", ORIGIN)
        assert status(refused) == 401
        assert fields(refused)[b"access-control-allow-origin"] == b"https://page.example"

    asyncio.run(test())


def test_no_web_page_changes_the_fleet() -> None:
    async def test() -> None:
        door = Door(Settings())
        transaction, _ = door.knock("/add_worker", ORIGIN, method="POST")
        assert status(transaction) == 403
        assert json.loads(transaction.sent[1]["body"])["error"]["code"] == "from_a_web_page"

    asyncio.run(test())


def test_a_client_behind_a_trusted_proxy_is_known_by_its_own_address() -> None:
    async def test() -> None:
        door = Door(Settings(trusted_proxies=("10.0.0.0/8",)))
        way = (b"x-forwarded-for", b"198.51.100.7")
        _, client = door.knock("/v1/models", way, peer="10.0.0.1")
        assert client.told_address == ("198.51.100.7", "")
        _, client = door.knock("/v1/models", way, peer="203.0.113.9")
        assert client.told_address == ("203.0.113.9", "1234")

    asyncio.run(test())


def test_a_page_that_is_not_named_opens_no_websocket() -> None:
    class Socket(Client):
        is_socket = True

    async def test() -> None:
        door = Door(Settings(cors_allowed_origins=("https://page.example",)))
        for origin, code in ((b"https://page.example", None), (b"https://evil.example", "origin_not_allowed")):
            client = Socket(FakeTransaction(path="/v1/realtime", headers=[(b"origin", origin)]))
            if code is None:
                assert door.gate.preflight(client) is None
                continue
            with pytest.raises(RouterError) as raised:
                door.gate.preflight(client)
            assert (raised.value.status, raised.value.code) == (403, code)

    asyncio.run(test())
