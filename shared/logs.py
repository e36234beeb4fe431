"""Logging of all processes: one line an event, to stderr, never failing its caller."""

from __future__ import annotations

import logging
import sys

LEVELS = ("debug", "info", "warning", "error", "critical")


def configure_logging(process: str, level: str) -> None:
    """Send this process's log to stderr as text, each line named by the process.

    Planes outlive the terminal or the pipe that they were started on, so a failing write is dropped.
    """
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {process}: %(message)s", "%Y-%m-%d %H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Once only: its servers turn their logging off when they are made, and it must stay off.
    for name in ("_granian", "granian"):
        logging.getLogger(name).setLevel(logging.WARNING)
    set_level(level)


def set_level(level: str) -> None:
    """Log what is of this level or above from now on."""
    root = logging.getLogger()
    wanted: int = logging.getLevelNamesMapping()[level.upper()]
    # Events are kept whatever is logged (`controlplane.events`), and they are of level info at least.
    root.setLevel(min(wanted, logging.INFO))
    for handler in root.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(wanted)
    # Libraries speak up only when something is wrong.
    for name in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(max(logging.WARNING, wanted))
