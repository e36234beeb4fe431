"""What browsers are told: any page by default, the named ones else, never with credentials."""

from __future__ import annotations

import pytest

from dataplane.cors import allowed, compiled, is_preflight, preflight, with_own

PAGE, OTHER = b"https://chat.example", b"https://evil.example"
ASKS = {b"origin": PAGE, b"access-control-request-method": b"POST", b"access-control-request-headers": b"authorization"}


def origin_of(told: list[tuple[bytes, bytes]]) -> bytes | None:
    return dict(told).get(b"access-control-allow-origin")


def test_any_page_may_while_none_is_named() -> None:
    for origins in ((), ("*",)):
        assert origin_of(allowed(OTHER, compiled(origins))) == b"*"


def test_only_named_pages_may() -> None:
    origins = compiled(("HTTPS://Chat.Example/",))
    assert origin_of(allowed(PAGE, origins)) == PAGE
    for other in (OTHER, b"https://chat.example.evil", b"null", b""):
        assert allowed(other, origins) == [(b"vary", b"origin")]


def test_no_page_may_with_none() -> None:
    assert origin_of(allowed(PAGE, compiled(("none",)))) is None
    assert preflight(ASKS, compiled(("none",))) == [(b"vary", b"origin")]


@pytest.mark.parametrize("origins", [(), ("https://chat.example",)])
def test_credentials_are_never_allowed(origins: tuple[str, ...]) -> None:
    told = preflight(ASKS, compiled(origins)) + allowed(PAGE, compiled(origins))
    assert b"access-control-allow-credentials" not in dict(told)


def test_a_preflight_is_answered_with_the_fields_that_were_asked_for() -> None:
    told = dict(preflight(ASKS, compiled(("https://chat.example",))))
    assert told[b"access-control-allow-headers"] == b"authorization"
    assert b"POST" in told[b"access-control-allow-methods"]
    assert told[b"access-control-max-age"] == b"3600"
    strange = ASKS | {b"access-control-request-headers": b"a\r\nset-cookie: x"}
    assert b"access-control-allow-headers" not in dict(preflight(strange, compiled(())))


def test_what_is_a_preflight() -> None:
    assert is_preflight("OPTIONS", ASKS)
    assert not is_preflight("POST", ASKS)
    assert not is_preflight("OPTIONS", {b"origin": PAGE})


def test_a_workers_own_word_gives_way() -> None:
    answer = [(b"content-type", b"x"), (b"access-control-allow-origin", b"*"), (b"x-a", b"b")]
    assert with_own(answer, [(b"access-control-allow-origin", PAGE)]) == [
        (b"content-type", b"x"),
        (b"x-a", b"b"),
        (b"access-control-allow-origin", PAGE),
    ]
