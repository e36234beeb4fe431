"""What the exporter's thread does with a collector that takes nothing, and what it says of it."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from dataplane.tracing import exporter as exporters
from dataplane.tracing.exporter import AT_ONCE, RETRY, Exporter
from dataplane.tracing.tracing import Tracing
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.test_access_log import ENDED
from tests.unit.dataplane.tracing.test_otlp import TRACE, Got, answering

AGAIN = 0.01
"""Seconds between two attempts to load certificates, and between two complaints."""


@contextmanager
def exporter(url: str, retry: float = RETRY) -> Iterator[Exporter]:
    found = Exporter(url, "plane 1", 1000.0, delay=0.005, retry=retry)
    try:
        yield found
    finally:
        found.close()


def wait_for(state: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not state():
        assert time.monotonic() < until
        time.sleep(0.005)


def said(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


def test_why_the_collector_takes_nothing_is_told_once_and_that_it_takes_traces_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with answering(400, 400, 200) as (url, _), exporter(url) as found:
        for count in (1, 2):
            found.put(ENDED, TRACE)
            wait_for(lambda: found.failed == count)  # noqa: B023
        for count in (1, 2):
            found.put(ENDED, TRACE)
            wait_for(lambda: found.exported == count)  # noqa: B023
    begin = f"the collector at {url} takes"
    assert said(caplog, begin) == [
        f"{begin} no traces (--otlp-traces-endpoint): it answers with status 400; 1 was lost so far",
        f"{begin} traces again; 2 were lost until then",
    ]


def test_a_certificate_that_can_not_be_used_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "authority.pem"
    file.write_text("-----BEGIN CERT")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(file))
    with answering(200) as (url, _), exporter(url, AGAIN) as found:
        found.put(ENDED, TRACE)
        wait_for(lambda: found.failed == 1)
        trustme.CA().cert_pem.write_to_path(str(file))

        def is_taken() -> bool:
            found.put(ENDED, TRACE)
            return found.exported > 0

        wait_for(is_taken)
    first, *_ = said(caplog, "takes no traces")
    assert "authority.pem: see OTEL_EXPORTER_OTLP_CERTIFICATE" in first
    assert first.endswith(f"tried again every {AGAIN} s; 0 were lost so far")
    assert len(said(caplog, "takes traces again")) == 1


def test_certificates_are_read_again_while_a_collector_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it refuses one that has ended."""
    with answering(401) as (url, got), exporter(url, AGAIN) as found:
        found.put(ENDED, TRACE)
        wait_for(lambda: found.failed == 1)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "gone.pem"))

        def is_opened_anew() -> bool:
            before = len(got)
            failed = found.failed
            found.put(ENDED, TRACE)
            wait_for(lambda: found.failed > failed)
            return len(got) == before

        wait_for(is_opened_anew)


def test_variables_that_have_no_effect_are_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "secret")
    with answering(400) as (url, _), exporter(url, AGAIN) as found:
        for count in (1, 2, 3):
            found.put(ENDED, TRACE)
            wait_for(lambda: found.failed == count)  # noqa: B023
    assert len(said(caplog, "OTEL_EXPORTER_OTLP_COMPRESSION")) == 1
    assert len(said(caplog, "OTEL_EXPORTER_OTLP_HEADERS")) == 1
    assert not said(caplog, "secret")


def test_a_reload_does_not_wait_for_a_collector_that_hangs() -> None:
    """The loop goes on, and what the collector takes later on is counted all the same."""
    held = threading.Event()

    async def test(url: str, got: list[Got]) -> None:
        tracing = Tracing(random.Random(1), 0.0, lambda url: Exporter(url, "plane 1", 1000.0, delay=0.005))
        tracing.use(url, 1.0)
        tracing.note(ENDED, TRACE)
        await until(lambda: bool(got))
        tracing.use(None, 1.0)
        assert not tracing.is_on
        assert (tracing.exported, tracing.tend()) == (0, 1)
        held.set()
        await until(lambda: tracing.exported == 1)
        await until(lambda: tracing.tend() == 0)
        assert tracing.exported == 1

    try:
        with answering(200, held=held) as (url, got):
            asyncio.run(test(url, got))
    finally:
        held.set()


def test_the_planes_end_waits_for_what_is_left_also_of_a_reload_before() -> None:
    with answering(200) as (url, _):
        tracing = Tracing(random.Random(1), 0.0, lambda url: Exporter(url, "plane 1", 1000.0, delay=30.0))
        for _ in range(2):
            tracing.use(url, 1.0)
            tracing.note(ENDED, TRACE)
            tracing.use(None, 1.0)
        tracing.use(url, 1.0)
        tracing.note(ENDED, TRACE)
        tracing.close()
        assert tracing.counts == {"exported": 3, "failed": 0, "dropped": 0, "passed_over": 0}


def test_what_its_last_words_have_no_time_for_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporters, "LAST_WORDS", 0.0)
    held = threading.Event()
    with answering(200, held=held) as (url, got), exporter(url) as found:
        for _ in range(3 * AT_ONCE):
            found.put(ENDED, TRACE)
        wait_for(lambda: bool(got))
        found.end()
        held.set()
        wait_for(lambda: found.is_ended)
        assert 1 <= found.exported <= AT_ONCE
        assert found.failed == 3 * AT_ONCE - found.exported
