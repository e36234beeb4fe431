"""What vLLM's `/load` tells, and when it tells nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.load_page import EngineLoad
from controlplane.server_load import ServerLoad

CAPTURE = Path(__file__).parents[2] / "compat" / "captures" / "get_load.http"


def test_a_0_says_nothing_before_another_number_was_seen() -> None:
    zero = CAPTURE.read_bytes().partition(b"\r\n\r\n")[2]
    load = ServerLoad()
    assert load.read(zero) is None
    assert load.read(b'{"server_load": 3}') == EngineLoad(3.0, 0.0, 0.0)
    assert load.read(zero) == EngineLoad(0.0, 0.0, 0.0)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"server_load": "x"}', b'{"server_load": -1}', b"\xff"])
def test_what_is_no_load(body: bytes) -> None:
    assert ServerLoad().read(body) is None
