"""The conformance test finds what no connector may do, and plugins are found by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dataplane.pd.conformance import check_connector
from dataplane.pd.connector import Ask, Connector, Order, Pairing, Peer, one_token
from dataplane.pd.connectors import connector_of, refusal
from shared.config import StartConfig
from shared.config_faults import faults
from shared.connector_plugins import PluginError
from shared.table import RoutingTable, Settings, make_table
from shared.transfer import Transfer
from tests.unit.dataplane.pd.pairs import moriio


class Tagged(Connector):
    """The example of docs/prefill-decode.md: a store that both reach, and that wants to know what belongs together."""

    name = "tagged"
    serves_once = False

    def order(self, prefill: Peer) -> Order:
        return Order.PREFILL_FIRST

    def prefill(self, pairing: Pairing) -> Ask:
        return Ask(one_token(pairing.path, pairing.body), ((b"x-kv-tag", pairing.key.encode()),))

    def handoff(self, answer: bytes) -> bytes | None:
        return b""

    def decode(self, pairing: Pairing, handoff: bytes) -> Ask:
        return Ask(pairing.body, ((b"x-kv-tag", pairing.key.encode()),))


class Streaming(Tagged):
    def prefill(self, pairing: Pairing) -> Ask:
        return Ask(pairing.body)


class Losing(Tagged):
    def decode(self, pairing: Pairing, handoff: bytes) -> Ask:
        return Ask(one_token(pairing.path, pairing.body))


class Shouting(Tagged):
    def decode(self, pairing: Pairing, handoff: bytes) -> Ask:
        return Ask(pairing.body, ((b"X-KV-Tag", b"1"),))


class Credulous(Tagged):
    def handoff(self, answer: bytes) -> bytes | None:
        return answer or None


class Hasty(Tagged):
    def handoff(self, answer: bytes) -> bytes | None:
        return b"" if b"{}" not in answer else b"x"


class Strange(Tagged):
    def misfit(self, prefill: Peer, decode: Peer) -> str | None:
        return "never"


def test_a_connector_of_ones_own_conforms() -> None:
    check_connector(Tagged, answer=b"{}")


_NIXL = {
    "do_remote_prefill": True, "remote_block_ids": [[1]], "remote_engine_id": "e", "remote_request_id": "r",
    "remote_host": "h", "remote_port": 1,
}  # fmt: skip
_CUT = {"choices": [{"finish_reason": "length"}]}


@pytest.mark.parametrize(
    ("name", "answer", "transfers"),
    [
        ("nixl", {"kv_transfer_params": _NIXL}, ()),
        ("nixl_push", {"kv_transfer_params": _NIXL}, ()),
        ("mooncake", _CUT, (Transfer(engine_ids={"0": "e"}), Transfer())),
        ("moriio", {"kv_transfer_params": {**_NIXL, "transfer_id": "t"}}, moriio("read")),
        ("moriio", {"kv_transfer_params": {**_NIXL, "transfer_id": "t"}}, moriio("write")),
        ("nccl", {}, (Transfer(address="10.0.0.1:21001"), Transfer(address="10.0.0.2:21001"))),
        ("example", {}, ()),
        ("lmcache", {}, ()),
    ],
)
def test_the_routers_own_conform(name: str, answer: Any, transfers: tuple[Transfer, ...]) -> None:
    prefill, decode = transfers or (Transfer(), Transfer())
    check_connector(type(connector_of(name)), answer=json.dumps(answer).encode(), prefill=prefill, decode=decode)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (Streaming, "is not a stream"),
        (Losing, "the decode leg keeps the client's"),
        (Shouting, "lower case"),
        (Credulous, "hands nothing over"),
        (Hasty, "no decode leg goes out"),
        (Strange, "fit each other"),
    ],
)
def test_what_no_connector_may_do_is_found(kind: type[Connector], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_connector(kind, answer=b"{}")


# --- by name ---------------------------------------------------------------------------------------------


def table(connector: str) -> RoutingTable:
    return make_table(epoch=1, version=1, settings=Settings(kv_connector=connector))


def test_a_connector_is_found_as_module_and_class() -> None:
    name = f"{__name__}:Tagged"
    assert isinstance(connector_of(name), Tagged)
    assert refusal(table(name)) is None
    assert not list(faults(StartConfig(kv_connector=name)))


def test_an_installed_connector_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mine-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[routerctl.connectors]\nmine = {__name__}:Tagged\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(connector_of("mine"), Tagged)
    assert not list(faults(StartConfig(kv_connector="mine")))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody_has_this:Connector", "can not be imported.*PYTHONPATH"),
        ("json:JSONDecoder", "no class with a method `prefill`"),
        ("nxil", "did you mean nixl[?].*module:Class"),
        ("best", "choose one of: auto, nixl.*module:Class"),
    ],
)
def test_a_name_that_leads_nowhere_says_what_to_do(name: str, reason: str) -> None:
    (fault,) = faults(StartConfig(kv_connector=name))
    assert re.search(reason, fault.text)
    assert fault.text.startswith("--kv-connector")
    assert refusal(table(name)) is not None


def test_a_class_that_is_no_connector_is_refused_by_the_plane() -> None:
    name = "tests.unit.dataplane.pd.test_conformance:Prefilling"
    with pytest.raises(PluginError, match="does not derive"):
        connector_of(name)
    assert refusal(table(name)) is not None


class Prefilling:
    def prefill(self) -> None:
        """Have the method, and nothing else."""
