"""What OpenTelemetry's variables say of sending, and what is told of those that can not be read."""

from __future__ import annotations

import pytest

from dataplane.tracing.environment import sending

HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
COMPRESSION = "OTEL_EXPORTER_OTLP_COMPRESSION"


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("", {}),
        ("x-key=a%20b, X-Other = c ,", {"x-key": "a b", "x-other": "c"}),
        ("authorization=Basic abc==", {"authorization": "Basic abc=="}),
        ("x-key=", {"x-key": ""}),
    ],
)
def test_headers(text: str, headers: dict[str, str]) -> None:
    assert sending({HEADERS: text}) == (headers, False, ())


@pytest.mark.parametrize(
    "text", ["secret", "=secret", "x y=secret", 'x="secret"', "x=a%0asecret", "x=secret\u00e9", "x%0ay=secret"]
)
def test_a_header_that_can_not_be_read_is_told_by_its_variable_and_never_by_its_value(text: str) -> None:
    found = sending({HEADERS: f"x-key=a,{text}"})
    assert found.headers == {"x-key": "a"}
    (warning,) = found.warnings
    assert warning.startswith(f"{HEADERS}: entry 2 is no NAME=VALUE")
    assert "secret" not in warning


def test_the_variable_for_traces_alone_is_the_one_that_is_named() -> None:
    specific = "OTEL_EXPORTER_OTLP_TRACES_HEADERS"
    found = sending({HEADERS: "x=1", specific: "broken"})
    assert found.headers == {}
    assert found.warnings[0].startswith(f"{specific}: ")


def test_warnings_are_bounded() -> None:
    assert len(sending({HEADERS: "broken," * 1000}).warnings) <= 8


@pytest.mark.parametrize(
    ("text", "compressed"), [("", False), ("none", False), ("gzip", True), (" GZIP ", True), ("brotli", False)]
)
def test_compression(text: str, compressed: bool) -> None:
    found = sending({COMPRESSION: text})
    assert found.is_compressed == compressed
    told = (f"{COMPRESSION} can be gzip or none, not 'brotli': traces are sent uncompressed",)
    assert found.warnings == (told if text == "brotli" else ())
