"""What a client says of itself, and who is believed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.client_headers import FORWARDED, NOT_BELIEVED, TrustedProxies
from dataplane.upstream.head import added_lines, field_lines

PROXIES = TrustedProxies(("10.0.0.0/8", "::1"))
WAY = b"x-forwarded-for"


def client_of(way: bytes, peer: str = "10.0.0.1") -> str | None:
    told = PROXIES.forwarded(peer, [(WAY, way)])
    return None if told is None else told.client


def test_nothing_that_spoofs_goes_to_a_worker() -> None:
    headers = [(name, b"spoofed") for name in sorted(NOT_BELIEVED)] + [(b"x-mine", b"kept")]
    lines = field_lines(headers, b"id", "GET", 0)
    assert b"spoofed" not in lines
    assert b"x-mine: kept\r\n" in lines


def test_only_a_trusted_proxy_is_believed() -> None:
    assert client_of(b"203.0.113.9") == "203.0.113.9"
    assert client_of(b"203.0.113.9", peer="192.0.2.1") is None
    assert client_of(b"203.0.113.9", peer="::ffff:10.0.0.1") == "203.0.113.9"
    assert client_of(b"203.0.113.9", peer="a path") is None


def test_the_client_is_the_last_that_is_no_trusted_proxy() -> None:
    assert client_of(b"1.1.1.1, 203.0.113.9, 10.0.0.2") == "203.0.113.9"
    assert client_of(b"10.0.0.3, 10.0.0.2") == "10.0.0.3"
    assert client_of(b"1.1.1.1, unknown, 10.0.0.2") == "10.0.0.2"
    assert client_of(b"") == "10.0.0.1"


def test_the_way_is_passed_on_with_the_proxy_at_its_end() -> None:
    headers = [(WAY, b"1.1.1.1"), (b"x-forwarded-proto", b"https"), (WAY, b"203.0.113.9"), (b"x-a", b"b")]
    told = PROXIES.forwarded("10.0.0.1", headers)
    assert told is not None
    assert told.fields == ((b"x-forwarded-proto", b"https"), (WAY, b"1.1.1.1, 203.0.113.9, 10.0.0.1"))
    assert added_lines(told.fields).count(b"\r\n") == 2


def test_a_proxy_that_tells_nothing_is_a_client() -> None:
    assert PROXIES.forwarded("10.0.0.1", [(b"x-a", b"b")]) is None


@given(st.lists(st.tuples(st.sampled_from(sorted(FORWARDED)), st.binary(max_size=40)), max_size=6))
@settings(max_examples=200, deadline=None)
def test_whatever_a_trusted_proxy_sends_names_an_address(headers: list[tuple[bytes, bytes]]) -> None:
    told = PROXIES.forwarded("10.0.0.1", headers)
    assert told is None or told.client.replace(".", "").replace(":", "").isalnum() or "%" in told.client
