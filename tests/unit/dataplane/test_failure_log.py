from __future__ import annotations

import errno
import logging
import ssl

import pytest

from dataplane.failure_log import LINES_PER_SECOND, FailureLog, why_no_connection
from shared.tls import TlsFileError


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="dataplane.failures")
    return caplog


def test_a_failure_has_its_requests_id(said: pytest.LogCaptureFixture) -> None:
    FailureLog(0.0).tell(0.0, logging.WARNING, b"mine-1", "http://w:1", "no connection")
    assert said.messages == ["request mine-1: worker http://w:1: no connection"]
    assert said.records[0].levelno == logging.WARNING


def test_a_storm_is_a_few_lines_and_a_count(said: pytest.LogCaptureFixture) -> None:
    log = FailureLog(0.0)
    for _ in range(1000):
        log.tell(0.0, logging.WARNING, b"x", "w", "no connection")
    assert len(said.messages) == LINES_PER_SECOND
    log.tell(1.0, logging.WARNING, b"x", "w", "no connection")
    assert said.messages[-1] == "request x: worker w: no connection (990 such lines left out)"
    log.tell(1.1, logging.WARNING, b"x", "w", "no connection")
    assert "left out" not in said.messages[-1]


def test_an_id_can_not_write_lines_of_its_own(said: pytest.LogCaptureFixture) -> None:
    FailureLog(0.0).tell(0.0, logging.WARNING, b"a\xff" + b"b" * 500, "", "no connection")
    assert len(said.messages[0]) < 200
    assert said.messages[0].isascii()
    assert "worker -:" in said.messages[0]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 80)"), "connection refused"),
        (TimeoutError(), "it took too long"),
        (ssl.SSLError("no luck"), "TLS failed: no luck"),
        (TlsFileError("--worker-ca-file /x: gone"), "TLS failed: --worker-ca-file /x: gone"),
        (ConnectionResetError(), "ConnectionResetError"),
        (OSError("several at once"), "several at once"),
    ],
)
def test_why_there_is_no_connection(error: OSError, text: str) -> None:
    assert why_no_connection(error) == text
