"""By which URL routers reach an engine."""

from __future__ import annotations

import socket

import pytest

import controlplane.register.own_address
from controlplane.register.own_address import NoAddressError, advertised, with_address
from shared.remote_address import TcpAddress

NEAR = TcpAddress("127.0.0.1", 30001)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost:8000", "https://10.0.0.5", "http://[::1]:1"]
)
def test_beside_the_router_it_is_as_it_was_given(url: str) -> None:
    assert advertised(url, [NEAR, TcpAddress("localhost", 1), TcpAddress("::1", 1)]) == url


def test_an_address_that_others_reach_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlplane.register.own_address, "_towards", lambda router: pytest.fail("not asked for"))
    assert advertised("http://10.0.0.5:8000", [TcpAddress("10.0.0.1", 30001)]) == "http://10.0.0.5:8000"


@pytest.mark.parametrize(
    ("url", "own", "found"),
    [
        ("http://127.0.0.1:8000", "10.0.0.5", "http://10.0.0.5:8000"),
        ("http://localhost", "10.0.0.5", "http://10.0.0.5:80"),
        ("https://[::1]", "fd00::5", "https://[fd00::5]:443"),
    ],
)
def test_for_a_router_elsewhere_it_is_our_address_towards_it(
    url: str, own: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[TcpAddress] = []

    def towards(router: TcpAddress) -> str:
        asked.append(router)
        return own

    monkeypatch.setattr(controlplane.register.own_address, "_towards", towards)
    far = TcpAddress("10.0.0.1", 30001)
    assert advertised(url, [NEAR, far]) == found
    assert asked == [far]


def test_the_system_says_which_address_that_is() -> None:
    assert controlplane.register.own_address._towards(NEAR) == "127.0.0.1"


def test_what_can_not_be_found_out_is_said_with_what_to_do() -> None:
    with pytest.raises(NoAddressError, match=r"towards tcp://no-such-host.invalid:1 .* give --advertise-url"):
        advertised("http://127.0.0.1:1", [TcpAddress("no-such-host.invalid", 1)])


def test_a_name_is_announced_as_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"engine": "10.0.0.7", "six": "fd00::7"}

    def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert with_address("http://engine:8000") == "http://10.0.0.7:8000"
    assert with_address("http://six") == "http://[fd00::7]:80"
    assert advertised("http://engine:8000", [TcpAddress("10.0.0.1", 30001)]) == "http://10.0.0.7:8000"


def test_a_name_that_can_not_be_is_refused_with_what_to_do() -> None:
    with pytest.raises(NoAddressError, match=r"does not resolve .* give --advertise-url http://ADDRESS:PORT"):
        with_address("http://no-such-host.invalid:8000")
    # An address would not be in its certificate.
    with pytest.raises(NoAddressError, match="--worker-server-name"):
        with_address("https://engine:8000")
