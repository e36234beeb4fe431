"""The table that the control plane left on disk, so that a plane that starts without it can serve."""

from __future__ import annotations

import logging
from pathlib import Path

from shared.messages import MessageError, decode_table
from shared.table import RoutingTable, make_table

logger = logging.getLogger(__name__)


def load_last_known_good(path: Path) -> RoutingTable | None:
    """Return the table in `path`; None when there is none, or none that is whole (a warning tells why)."""
    try:
        stored = decode_table(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, MessageError) as error:
        logger.warning("last known good table %s can not be read: %s", path, error)
        return None
    table = make_table(
        epoch=stored.stamp.epoch,
        version=stored.stamp.version,
        workers=stored.workers.values(),
        models=stored.models.values(),
        settings=stored.settings,
    )
    if table.stamp != stored.stamp:
        logger.warning("last known good table %s is damaged: its hash is not that of its content", path)
        return None
    return table
