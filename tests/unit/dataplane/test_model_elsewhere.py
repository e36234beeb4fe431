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


@pytest.mark.parametrize(("query", "model"), [(b"model=a%2Fb", "a/b"), (b"x=1", None), (b"", None), (b"model=", None)])
def test_a_socket_names_its_model_in_the_query(query: bytes, model: str | None) -> None:
    client = Client(FakeTransaction(method="GET", path="/v1/realtime", query=query))
    assert model_elsewhere(client, b"") == model
