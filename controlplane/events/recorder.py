"""Keeps the events of a process in a file of the runtime folder, where they outlive it and can be read without it.

The log's handlers call from the event loop, so a thread writes. A file that is full becomes the older one of two.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler

import msgspec

from controlplane.events.event import About, Event, Level, Teller
from shared.runtime_dir import RuntimeDir

MAX_FILE = 1 << 20
"""Bytes, some 5,000 events. There are two such files for each process."""
MAX_WAITING = 1000
MAX_TEXT = 2000
"""Characters."""


@contextmanager
def recorded_events(runtime: RuntimeDir, teller: Teller) -> Iterator[None]:
    """Keep what this process logs with `about`, whatever level its log has. The log must be configured before."""
    file = RotatingFileHandler(runtime.events(teller), maxBytes=MAX_FILE, backupCount=1, delay=True, encoding="utf-8")
    handler = _Events(teller)
    listener = QueueListener(handler.waiting, file)
    root = logging.getLogger()
    root.addHandler(handler)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        listener.stop()
        file.close()


class _Events(QueueHandler):
    """Hands on the lines that are events, as JSON. What the disk is too slow for is lost."""

    def __init__(self, teller: Teller) -> None:
        self.waiting: queue.Queue[logging.LogRecord] = queue.Queue(MAX_WAITING)
        super().__init__(self.waiting)
        self._teller = teller
        self.addFilter(lambda record: isinstance(getattr(record, "about", None), About))

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return a record whose message is the event's JSON."""
        kind, subject = record.about  # type: ignore[attr-defined]
        event = Event(
            time=round(record.created, 6),
            level=_level(record.levelno),
            kind=kind,
            subject=subject,
            text=record.getMessage()[:MAX_TEXT],
            told_by=self._teller,
        )
        return logging.makeLogRecord({"msg": msgspec.json.encode(event).decode(), "levelno": record.levelno})


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    return "warning" if number >= logging.WARNING else "info"
