"""Fields of multipart forms: found where clients put them, replaced without a byte beside them."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.form import replaced, spans_of, text_of

TYPE = b'multipart/form-data; boundary="a b"'
AUDIO = b'RIFF\r\n--other\r\nname="model"\r\n\r\nx\r\n\0\xff'


def form(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(b"--a b\r\n%b\r\n\r\n%b\r\n" % (head.encode(), content) for head, content in parts) + b"--a b--\r\n"


def model_of(body: bytes, content_type: bytes = TYPE) -> str | None:
    return text_of(body, spans_of(body, content_type, b"model"), 100)


def field(name: str) -> str:
    return f'Content-Disposition: form-data; name="{name}"'


def test_what_clients_send() -> None:
    files = {"file": ("a.wav", AUDIO, "audio/wav")}
    request = httpx.Request("POST", "http://a", data={"model": "whisper-1", "language": "en"}, files=files)
    body, content_type = request.read(), request.headers["content-type"].encode()
    assert model_of(body, content_type) == "whisper-1"
    spans = spans_of(body, content_type, b"model")
    assert replaced(body, spans, b"org/whisper") == body.replace(b"whisper-1", b"org/whisper")
    assert body[slice(*spans_of(body, content_type, b"file")[0])] == AUDIO


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (form((field("model"), b"m"), (field("file"), AUDIO)), "m"),
        (form((field("file"), AUDIO), (field("model"), b"m")), "m"),
        (form(("content-type: text/plain\r\ncontent-disposition: form-data; name=model", b"m")), "m"),
        (form(('Content-Disposition: form-data; filename="x; name=\\"model\\""; name="file"', b"m")), None),
        (form(('Content-Disposition: form-data; filename="x"; name="model"', b"m")), "m"),
        (form(('Content-Disposition: attachment; name="model"', b"m")), None),
        # vLLM reads the last one.
        (form((field("model"), b"a"), (field("model"), b"b")), "b"),
        (b"preamble\r\n" + form((field("model"), b"m")), "m"),
        (b"\r\n" + form((field("model"), b"m")), "m"),
        (form((field("file"), b"\r\n--a bc\r\n\r\nx"), (field("model"), b"m")), "m"),
        (form((field("model"), b"")), None),
        (form((field("model"), b"\xff")), None),
        (form((field("model"), b"x" * 101)), None),
        (form((field("model"), b"m"))[:-12], None),
        (b"--a b--\r\n" + form((field("model"), b"m")), None),
        (b"", None),
        (b"{}", None),
    ],
)
def test_bodies(body: bytes, model: str | None) -> None:
    assert model_of(body) == model


@pytest.mark.parametrize(
    "content_type", [b"", b"application/json", b"multipart/form-data", b"multipart/mixed; boundary=a"]
)
def test_what_is_no_form(content_type: bytes) -> None:
    assert spans_of(form((field("model"), b"m")), content_type, b"model") == []


def test_parts_are_bounded() -> None:
    many = [(field(f"f{number}"), b"x") for number in range(64)]
    assert model_of(form(*many, (field("model"), b"m"))) is None
    assert model_of(form(*many[1:], (field("model"), b"m"))) == "m"


contents = st.binary(max_size=40).filter(lambda content: b"--a b" not in content)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["model", "file", "prompt"]), contents), max_size=5), st.binary(max_size=10))
def test_g_model_3_fields_are_found_and_replaced_alone(parts: list[tuple[str, bytes]], value: bytes) -> None:
    body = form(*((field(name), content) for name, content in parts))
    spans = spans_of(body, TYPE, b"model")
    assert [body[slice(*span)] for span in spans] == [content for name, content in parts if name == "model"]
    changed = form(*((field(name), value if name == "model" else content) for name, content in parts))
    assert replaced(body, spans, value) == changed


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.lists(st.sampled_from([b"--a b", b"\r\n", b"--", field("model").encode(), b"x"])))
def test_any_bytes_can_be_looked_through(noise: bytes, pieces: list[bytes]) -> None:
    body = b"".join(pieces) + noise
    spans = spans_of(body, TYPE, b"model")
    ends = [place for span in spans for place in span]
    assert ends == sorted(ends)
    assert len(replaced(body, spans, b"")) == len(body) - sum(end - start for start, end in spans)
