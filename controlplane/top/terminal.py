"""The terminal of `routerctl top`: keys in, frames out, and as it was before when it is left, whatever happens."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from controlplane.top.frame import Screen
from shared.log_files import write_all

# Another screen, no cursor, no wrapping: a size that has just changed must not tear a frame.
_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = b"\x1b[?7h\x1b[?25h\x1b[?1049l"


class Terminal:
    """The controlling terminal, by two file descriptors."""

    def __init__(self, keys: int, output: int) -> None:
        self.keys = keys
        self._output = output
        self._is_dumb = is_dumb()

    def screen(self) -> Screen:
        """Return its size now."""
        try:
            size = os.get_terminal_size(self._output)
        except OSError:
            size = os.terminal_size((80, 24))
        # Some report nothing, such as a console over a serial line.
        return Screen(size.columns or 80, size.lines or 24, is_ascii())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Give keys as they are pressed and show frames, inside."""
        before = termios.tcgetattr(self.keys)
        tty.setcbreak(self.keys)
        try:
            if not self._is_dumb:
                write_all(self._output, _ENTER)
            yield
        finally:
            termios.tcsetattr(self.keys, termios.TCSADRAIN, before)
            if not self._is_dumb:
                write_all(self._output, _LEAVE)

    def draw(self, lines: Sequence[Text], screen: Screen) -> None:
        """Show a frame. A dumb terminal gets one below the other."""
        shown = styled(lines, screen.width)
        if self._is_dumb:
            text = "\n".join(line.rstrip() for line in shown) + "\n"
        else:
            # Each line is emptied before it is written: behind a full one, its last letter would go.
            text = "".join(f"\x1b[{number};1H\x1b[K{line}" for number, line in enumerate(shown, 1)) + "\x1b[0m"
        write_all(self._output, text.encode(sys.stdout.encoding or "ascii", "replace"))


def styled(lines: Sequence[Text], width: int) -> list[str]:
    """Return lines with what makes them bold or coloured, as far as TERM and NO_COLOR allow it."""
    console = Console(width=max(1, width), force_terminal=True, highlight=False, markup=False, emoji=False)
    told = []
    for line in lines:
        with console.capture() as capture:
            console.print(line, end="", overflow="crop", no_wrap=True, crop=True)
        told.append(capture.get())
    return told


def is_dumb() -> bool:
    """Whether the terminal knows no cursor."""
    return os.environ.get("TERM", "") in ("", "dumb", "unknown")


def is_ascii() -> bool:
    """Whether only ASCII can be shown."""
    return is_dumb() or "utf" not in (sys.stdout.encoding or "").lower()
