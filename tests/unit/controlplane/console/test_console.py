"""Where there is no line."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import pytest

from controlplane.console.console import console
from shared.runtime_dir import RuntimeDir


def written(read: int) -> bytes:
    os.set_blocking(read, False)
    try:
        return os.read(read, 65536)
    except BlockingIOError:
        return b""


def test_what_is_no_terminal_gets_nothing(tmp_path: Path) -> None:
    read, write = os.pipe()
    with console(RuntimeDir(tmp_path), write):
        assert written(read) == b""
    assert written(read) == b""
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    own, other = pty.openpty()
    with console(RuntimeDir(tmp_path), other):
        pass
    assert written(own) == b""
    os.close(own)
    os.close(other)


def test_a_terminal_that_is_gone_ends_no_router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    own, other = pty.openpty()
    with console(RuntimeDir(tmp_path), other):
        os.close(own)
    os.close(other)
