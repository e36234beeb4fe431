"""Logging of all processes: one line an event, as text or JSON, never failing its caller and never waiting."""

from __future__ import annotations

import atexit
import logging
import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from shared.log_output import Lines, LogOutput

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("text", "json")

_encode = msgspec.json.Encoder().encode
_is_plain = re.compile(r"[!#-~]+").fullmatch


class _Event(msgspec.Struct, omit_defaults=True):
    """A line of the JSON log that is no request's."""

    time: str
    level: str
    process: str
    kind: str
    logger: str
    message: str
    exception: str | None = None


class _Handler(logging.Handler):
    """Formats a record where it is made, and hands the line over."""

    def __init__(self, process: str, output: LogOutput) -> None:
        super().__init__()
        self._process = process
        self._output = output
        self._text = logging.Formatter(f"%(asctime)s %(levelname)s {process}: %(message)s", "%Y-%m-%d %H:%M:%S")

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record's line over."""
        try:
            text = self._text.format(record) if self._output.wants_text else ""
            structured = self._structured(record) if self._output.wants_structured else b""
        except Exception:
            self.handleError(record)
            return
        shown = text.encode("utf-8", "backslashreplace") + b"\n" if text else b""
        self._output.offer(Lines(shown, structured, shown if record.levelno >= logging.ERROR else b""))

    def _structured(self, record: logging.LogRecord) -> bytes:
        exception = self._text.formatException(record.exc_info) if record.exc_info else None
        level = record.levelname.lower()
        message = record.getMessage().encode("utf-8", "backslashreplace").decode()
        event = _Event(iso_time(record.created), level, self._process, "event", record.name, message, exception)
        return _encode(event) + b"\n"


def configure_logging(process: str, level: str, *, log_format: str = "text", folder: str | None = None) -> LogOutput:
    """Send this process's log to stderr, and into files in `folder`, each line named by the process."""
    logging.raiseExceptions = False
    output = LogOutput(structured=log_format == "json", folder=Path(folder) if folder else None)
    atexit.register(output.close)
    root = logging.getLogger()
    root.handlers[:] = [_Handler(process, output)]
    # Once only: its servers turn their logging off when they are made, and it must stay off.
    for name in ("_granian", "granian"):
        logging.getLogger(name).setLevel(logging.WARNING)
    set_level(level)
    return output


def set_level(level: str) -> None:
    """Log what is of this level or above from now on."""
    root = logging.getLogger()
    wanted: int = logging.getLevelNamesMapping()[level.upper()]
    # Events are kept whatever is logged (`controlplane.events`), and they are of level info at least.
    root.setLevel(min(wanted, logging.INFO))
    for handler in root.handlers:
        if isinstance(handler, _Handler):
            handler.setLevel(wanted)
    # Libraries speak up only when something is wrong.
    for name in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(max(logging.WARNING, wanted))


def iso_time(wall: float) -> str:
    """Return Unix seconds as UTC by ISO 8601, to the millisecond."""
    milliseconds = int(wall * 1000)
    return f"{iso_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(4)
def iso_second(second: int) -> str:
    """Return Unix seconds as UTC by ISO 8601, without a zone."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(4)
def text_second(second: int) -> str:
    """Return Unix seconds as the text log shows them: local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


def plain(value: Any) -> str:
    """Return a value as a text line has it: in quotes, and in ASCII, where it could be taken for something else."""
    text = str(value)
    if _is_plain(text):
        return text
    return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'
