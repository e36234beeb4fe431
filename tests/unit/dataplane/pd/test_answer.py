"""A decode worker's answer on its way to the client."""

from __future__ import annotations

from typing import cast

import pytest

from dataplane.client import Client, Headers
from dataplane.pd import answer as module
from dataplane.pd.answer import Answer

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
BODY = b'{"usage":{"prompt_tokens":9,"prompt_tokens_details":null}}'
COUNTED = b'{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}}'


class Heard:
    """Takes what the client would get."""

    method = "POST"

    def __init__(self, path: str) -> None:
        self.path = path
        self.started = False
        self.head: tuple[int, Headers] | None = None
        self.parts: list[bytes] = []
        self.whole: bytes | None = None
        self.is_over = False

    def start(self, status: int, headers: Headers) -> None:
        self.started = True
        self.head = (status, headers)

    def send(self, data: bytes) -> None:
        assert not self.is_over
        self.parts.append(data)

    def finish(self, last: bytes = b"") -> None:
        self.send(last)
        self.is_over = True

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.start(status, headers)
        self.whole = body
        self.is_over = True


def to_client(
    cached: int | None, path: str = "/v1/completions", *, hides_transfer: bool = True
) -> tuple[Answer, Heard]:
    heard = Heard(path)
    answer = Answer(cast(Client, heard), hides_transfer=hides_transfer)
    answer.changes.cached = cached
    return answer, heard


def test_a_whole_answer_has_the_prefills_count_and_its_own_length() -> None:
    answer, heard = to_client(4)
    headers = [JSON, (b"content-length", b"%d" % len(BODY)), (b"x-else", b"1")]
    answer.answer(200, headers, BODY)
    assert heard.whole == COUNTED
    assert heard.head == (200, [JSON, (b"x-else", b"1"), (b"content-length", b"%d" % len(COUNTED))])


@pytest.mark.parametrize(
    ("cached", "status", "headers", "body"),
    [
        (None, 200, [JSON], BODY),
        (4, 200, [JSON], COUNTED),
        (4, 400, [JSON], BODY),
        (4, 200, [(b"content-type", b"text/plain")], BODY),
        (4, 200, [], BODY),
        (4, 200, [JSON, (b"content-encoding", b"gzip")], BODY),
    ],
)
def test_where_nothing_is_to_change_the_same_objects_pass(
    cached: int | None, status: int, headers: Headers, body: bytes
) -> None:
    answer, heard = to_client(cached)
    answer.answer(status, headers, body)
    assert heard.head is not None
    assert (heard.whole is body, heard.head[1] is headers) == (True, True)


def test_a_large_answer_waits_until_its_length_is_known() -> None:
    answer, heard = to_client(4)
    answer.start(200, [JSON, (b"content-length", b"%d" % len(BODY))])
    assert (answer.started, heard.started) == (True, False)
    assert answer.send(BODY[:20]) is None
    assert answer.send(BODY[20:]) is None
    assert not heard.started
    answer.finish()
    assert heard.whole == COUNTED
    assert heard.head == (200, [JSON, (b"content-length", b"%d" % len(COUNTED))])


def test_one_that_is_too_large_passes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 30)
    answer, heard = to_client(4)
    headers = [JSON, (b"content-length", b"%d" % len(BODY))]
    answer.start(200, headers)
    answer.send(BODY[:20])
    answer.send(BODY[20:])
    answer.finish()
    assert heard.head == (200, headers)
    assert b"".join(heard.parts) == BODY
    assert heard.is_over


def test_a_stream_keeps_its_parts() -> None:
    answer, heard = to_client(4)
    answer.start(200, [EVENTS])
    assert heard.started
    text = b'data: {"choices":[{"text":"a"}]}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":8}}}\n\n'
    for part in (text, text, usage, b"data: [DONE]\n\n"):
        answer.send(part)
    answer.finish()
    assert heard.parts == [text, text, usage.replace(b"8", b"4"), b"data: [DONE]\n\n", b""]
    assert heard.parts[0] is text
    assert heard.is_over


def test_a_cut_event_goes_on_when_it_is_whole_and_a_stream_without_an_end_goes_on_to_its_last_byte() -> None:
    answer, heard = to_client(4)
    answer.start(200, [EVENTS])
    for part in (b'data: {"choices":[],"usage":{"prompt_tokens_details":{"cached', b'_tokens":8}}}\n', b"\ndata: {"):
        answer.send(part)
    assert heard.parts == [b'data: {"choices":[],"usage":{"prompt_tokens_details":{"cached_tokens":4}}}\n', b"\n"]
    answer.finish()
    assert heard.parts[-1] == b"data: {"
    assert heard.is_over


def test_the_count_may_come_while_the_stream_runs() -> None:
    answer, heard = to_client(None)
    answer.start(200, [EVENTS])
    answer.send(b'data: {"cho')
    answer.send(b'ices":[{}]}\n\n')
    answer.changes.cached = 4
    answer.send(b'data: {"choices":[],"usage":{"prompt_tokens":9}}\n\n')
    assert heard.parts[:2] == [b'data: {"cho', b'ices":[{}]}\n\n']
    assert b'"cached_tokens":4' in heard.parts[2]


@pytest.mark.parametrize("hides_transfer", [True, False])
def test_only_a_trusted_client_hears_where_kv_cache_is(hides_transfer: bool) -> None:
    told = b'"kv_transfer_params":{"remote_host":"10.0.0.1"}'
    answer, heard = to_client(None, hides_transfer=hides_transfer)
    answer.answer(200, [JSON, (b"content-length", b"9")], b"{%b}" % told)
    assert heard.whole == (b'{"kv_transfer_params":null}' if hides_transfer else b"{%b}" % told)
    answer, heard = to_client(None, "/v1/responses", hides_transfer=hides_transfer)
    answer.start(200, [EVENTS])
    answer.send(b'data: {"response":{%b}}\n\n' % told)
    hidden = b'data: {"response":{"kv_transfer_params":null}}\n\n'
    assert heard.parts == [hidden if hides_transfer else b'data: {"response":{%b}}\n\n' % told]
