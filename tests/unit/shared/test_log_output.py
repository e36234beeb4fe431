"""Where lines go, and that nobody waits for it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shared.log_output import ERROR_FILE, MOST_WAITING, STRUCTURED_FILE, TEXT_FILE, Lines, LogOutput
from tests.integration.routers import eventually


class Sink:
    """Takes what is written, once it is let go."""

    def __init__(self, *, stopped: bool = False) -> None:
        self.data = b""
        self._go = threading.Event()
        if not stopped:
            self._go.set()

    def go(self) -> None:
        self._go.set()

    def write(self, data: bytes) -> None:
        self._go.wait()
        self.data += data


def lines(text: bytes, *, is_error: bool = False) -> Lines:
    return Lines(text, b"{" + text.strip() + b"}\n", text if is_error else b"")


def test_each_file_gets_what_belongs_there(tmp_path: Path) -> None:
    sink = Sink()
    output = LogOutput(structured=False, folder=tmp_path, stderr=sink.write)
    assert output.wants_text
    assert output.wants_structured
    output.offer(lines(b"fine\n"))
    output.offer(lines(b"bad\n", is_error=True))
    output.close()
    assert sink.data == (tmp_path / TEXT_FILE).read_bytes() == b"fine\nbad\n"
    assert (tmp_path / ERROR_FILE).read_bytes() == b"bad\n"
    assert (tmp_path / STRUCTURED_FILE).read_bytes() == b"{fine}\n{bad}\n"


def test_stderr_can_have_json() -> None:
    sink = Sink()
    output = LogOutput(structured=True, stderr=sink.write)
    assert not output.wants_text
    output.offer(lines(b"fine\n"))
    output.close()
    assert sink.data == b"{fine}\n"


def test_a_reader_that_stops_costs_lines_and_no_time() -> None:
    sink = Sink(stopped=True)
    output = LogOutput(structured=False, stderr=sink.write)
    megabyte = Lines(b"x" * (1 << 20), b"")
    taken = sum(output.offer(megabyte, 10) for _ in range(20))
    assert taken == MOST_WAITING >> 20
    assert output.dropped == (20 - taken) * 10
    sink.go()
    output.close()
    assert len(sink.data) == taken << 20


def test_what_can_not_be_written_is_counted() -> None:
    def fail(data: bytes) -> None:
        raise BrokenPipeError(len(data))

    output = LogOutput(structured=False, stderr=fail)
    output.offer(Lines(b"a\nb\n", b""))
    output.close()
    assert output.dropped == 2


def test_files_that_can_not_be_written_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "logs"
    folder.write_text("in the way")
    sink = Sink()
    output = LogOutput(structured=False, folder=folder, stderr=sink.write)
    output.offer(lines(b"one\n"))
    output.offer(lines(b"two\n", is_error=True))
    eventually(lambda: f"the log files in {folder} (--log-dir) can not be written: " in caplog.text, "the word")
    folder.unlink()
    output.offer(lines(b"three\n", is_error=True))
    output.close()
    assert sink.data == b"one\ntwo\nthree\n"
    assert (folder / TEXT_FILE).read_bytes().endswith(b"three\n")
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "written again; " in caplog.records[1].getMessage()
    assert output.dropped > 0


def test_what_comes_after_the_end_is_written_all_the_same() -> None:
    sink = Sink()
    output = LogOutput(structured=False, stderr=sink.write)
    output.close()
    output.offer(lines(b"last words\n"))
    assert sink.data == b"last words\n"
