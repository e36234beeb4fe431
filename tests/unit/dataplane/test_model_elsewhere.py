"""The model of a request without JSON: found in a form as the worker finds it, or in the query."""

from __future__ import annotations

import pytest
from httpx import Request
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.client import Client
from dataplane.form import form_model
from dataplane.model_elsewhere import model_elsewhere
from tests.unit.dataplane.fake_granian import FakeTransaction

TYPE = b"multipart/form-data; boundary=b"


def form(fields: dict[str, str], file: bytes, *, last: bool = True) -> tuple[bytes, bytes]:
    """A form as httpx writes it: body and content type."""
    files = {"file": ("a.wav", file, "audio/wav")}
    asked = Request("POST", "http://x", data=fields, files=files)
    body = asked.read()
    if not last:
        separator = b"--" + asked.headers["content-type"].partition("boundary=")[2].encode() + b"\r\n"
        empty, *parts = body.split(separator)
        parts[-1], end = parts[-1].rsplit(b"--" + separator[2:-2], 1)
        body = separator.join([empty, parts[-1], *parts[:-1]]) + b"--" + separator[2:-2] + end
    return body, asked.headers["content-type"].encode()


@settings(max_examples=60, deadline=None)
@given(
    model=st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), min_size=1, max_size=40),
    file=st.binary(max_size=5000),
    last=st.booleans(),
)
def test_it_is_found_before_and_behind_an_upload(model: str, file: bytes, last: bool) -> None:
    body, content_type = form({"language": "en", "model": model, "prompt": "model"}, file, last=last)
    assert form_model(bytearray(body), {b"content-type": content_type}) == model


@given(
    body=st.binary(max_size=300),
    prefix=st.sampled_from([b"", b"--b\r\n", b'--b\r\ncontent-disposition: form-data; name="model"']),
)
def test_whatever_comes_is_read_or_not(body: bytes, prefix: bytes) -> None:
    found = form_model(prefix + body, {b"content-type": TYPE})
    assert found is None or found


HEAD = b'Content-Disposition: form-data; name="model"\r\n\r\n'


@pytest.mark.parametrize(
    ("body", "content_type", "model"),
    [
        (b"--b\r\n" + HEAD + b"m\r\n--b--\r\n", TYPE, "m"),
        (b"--b\r\n" + HEAD + b"m\r\n--b--\r\n", b'Multipart/Form-Data; charset=x; boundary="b"', "m"),
        (b"preamble\r\n--b\r\n" + HEAD + b"m\r\n--b--\r\n", TYPE, "m"),
        (b"--b\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n--b--", TYPE, "m"),
        (b'--b\r\nContent-Disposition: form-data; filename="name=model"; name="x"\r\n\r\nm\r\n--b--',
         TYPE, None),
        (b"--b\r\n" + HEAD + b"\r\n--b--\r\n", TYPE, None),
        (b"--b\r\n" + HEAD + b"\xff\r\n--b--\r\n", TYPE, None),
        (b"--b\r\n" + HEAD + b"x" * 3000 + b"\r\n--b--\r\n", TYPE, None),
        (b"--b\r\n" + HEAD + b"m", TYPE, None),
        (b"--b\r\n" + HEAD + b"m\r\n--b--\r\n", b"application/json", None),
        (b"", TYPE, None),
    ],
)  # fmt: skip
def test_forms_of_other_hands(body: bytes, content_type: bytes, model: str | None) -> None:
    assert form_model(body, {b"content-type": content_type}) == model


ALLOWED = b"--b\r\n" + HEAD + b"allowed\r\n"


@pytest.mark.parametrize(
    "disposition",
    [
        b'form-data; name="x"; name="model"',
        b'form-data; name="x"; name ="model"',
        b"form-data; name=\"x\"; name*=utf-8''model",
        b'form-data; name="mo\\del"',
        b'form-data; name="x";\r\n name="model"',
        b'form-data; name="x"\r\nContent-Disposition: form-data; name="model"',
        b'form-data; name="x"\nContent-Disposition: form-data; name="y"',
        b"form-data",
    ],
)
def test_a_form_that_others_may_read_in_another_way_names_no_model(disposition: bytes) -> None:
    odd = b"--b\r\nContent-Disposition: " + disposition + b"\r\n\r\nother\r\n"
    for parts in (ALLOWED + odd, odd + ALLOWED):
        assert form_model(parts + b"--b--\r\n", {b"content-type": TYPE}) is None


def test_a_form_that_is_not_read_to_its_end_names_no_model() -> None:
    """The last field of a name counts, and it may be behind what was read."""
    field = b'--b\r\nContent-Disposition: form-data; name="timestamp_granularities[]"\r\n\r\nword\r\n'
    long_head = b'--b\r\nContent-Disposition: form-data; name="x"\r\nX-Long: ' + b"x" * 9000 + b"\r\n\r\n\r\n"
    for rest in (field * 64, long_head, b"--b\r\nno head", b"--b\r\n"):
        assert form_model(ALLOWED + rest + b"--b--\r\n", {b"content-type": TYPE}) is None
    assert form_model(ALLOWED, {b"content-type": TYPE}) is None
    assert form_model(ALLOWED + field * 60 + b"--b--\r\n", {b"content-type": TYPE}) == "allowed"


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/form-data; boundary=b; boundary=c",
        b"multipart/form-data; boundary=b; boundary =c",
        b"multipart/form-data; boundary=b; boundary*=c",
        b"multipart/form-data; boundary=b; boundary*0=c",
        b'multipart/form-data; x="; boundary=c; boundary=b',
    ],
)
def test_a_form_whose_boundary_others_may_read_in_another_way_names_no_model(content_type: bytes) -> None:
    assert form_model(ALLOWED + b"--b--\r\n", {b"content-type": content_type}) is None


@pytest.mark.parametrize(
    ("query", "model"),
    [
        (b"model=a%2Fb", "a/b"),
        (b"x=1", None),
        (b"", None),
        (b"model=", None),
        (b"model=a&model=b", "b"),
        (b"model=a&mod%65l=b", "b"),
        (b"model=a&model=", None),
        (b"model=a" + b"&x=1" * 2000, "a"),
    ],
)
def test_a_socket_names_its_model_in_the_query(query: bytes, model: str | None) -> None:
    """Of several the last counts, as at vLLM's server."""
    client = Client(FakeTransaction(method="GET", path="/v1/realtime", query=query))
    assert model_elsewhere(client, b"") == model


def test_a_form_with_two_content_types_names_no_model() -> None:
    """Servers differ in which one counts."""
    types = [(b"content-type", TYPE), (b"content-type", b"multipart/form-data; boundary=c")]
    for headers in (types, types[::-1]):
        client = Client(FakeTransaction(method="POST", path="/v1/audio/transcriptions", headers=headers))
        assert model_elsewhere(client, ALLOWED + b"--b--\r\n") is None
