"""vLLM's `/load`: how many requests its server works on, for a worker whose `/metrics` has no gauges.

That is one with `--disable-log-stats`. It counts only with `--enable-server-load-tracking`, and answers 0 without. So
a 0 says nothing before another number was seen.
"""

from __future__ import annotations

import msgspec

from controlplane.load_page import EngineLoad
from shared.decoding import DECODE_ERRORS

MAX_BYTES = 4096


class _Answer(msgspec.Struct):
    server_load: float


class ServerLoad:
    """What one worker's `/load` tells."""

    def __init__(self) -> None:
        self._tracks = False

    def read(self, body: bytes) -> EngineLoad | None:
        """Return the load of an answer's body; None while it tells none. What runs and what waits is one number."""
        try:
            count = msgspec.json.decode(body, type=_Answer).server_load
        except DECODE_ERRORS:
            return None
        self._tracks |= count > 0
        return EngineLoad(max(0.0, count), 0.0, 0.0) if self._tracks else None
