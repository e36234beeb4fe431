"""A command in a terminal of its own: keys in, and what its screen shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.routers import PATIENCE, eventually

_PARTS = re.compile(rb"\x1b\[(\d+);1H|\x1b\[[0-9;?]*[A-Za-z]|\x1b[()>=78].?")


class Terminal:
    """A pseudo terminal and the process that runs in it."""

    def __init__(self, command: tuple[str, ...], columns: int, lines: int, **environment: str) -> None:
        self._own, other = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(other)
        self._lines: dict[int, bytes] = {}
        self.raw = b""
        given = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONUTF8": "1", **environment}
        self.process = subprocess.Popen(
            command,
            stdin=other,
            stdout=other,
            stderr=other,
            env=given,
            start_new_session=True,
            # Ctrl-C and changes of size are signals for those whose terminal it is.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )
        self.other = other

    def resize(self, columns: int, lines: int) -> None:
        """Change its size, as somebody does who pulls at a window's corner."""
        fcntl.ioctl(self._own, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._own, keys.encode())

    def read(self) -> str:
        """Return the whole screen after what has come until now."""
        while select.select([self._own], [], [], 0.02)[0]:
            try:
                data = os.read(self._own, 65536)
            except OSError:
                break
            self.raw += data
        self._draw()
        return "\n".join(self._lines.get(number, b"").decode(errors="replace") for number in range(1, 101)).rstrip()

    def until(self, text: str) -> str:
        """Wait until the screen has a text, and return it whole."""
        deadline = time.monotonic() + PATIENCE
        while text not in (screen := self.read()):
            assert time.monotonic() < deadline, f"waited in vain for {text!r}:\n{screen}"
            assert self.process.poll() is None, screen
        return screen

    def until_raw(self, data: bytes) -> None:
        """Wait until these bytes have come."""

        def has_come() -> bool:
            self.read()
            return data in self.raw

        eventually(has_come, repr(data))

    def _draw(self) -> None:
        # Frames say for each line where it goes: no more of a terminal is needed to read them.
        parts = re.split(rb"\x1b\[(\d+);1H", self.raw)
        for number, text in zip(parts[1::2], parts[2::2], strict=True):
            self._lines[int(number)] = _PARTS.sub(b"", text)

    def close(self) -> None:
        """End the process, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.other)
        os.close(self._own)


@contextmanager
def terminal(*command: str, columns: int = 80, lines: int = 24, **environment: str) -> Iterator[Terminal]:
    """Run a command in a terminal of this size."""
    one = Terminal(command, columns, lines, **environment)
    try:
        yield one
    finally:
        one.close()
