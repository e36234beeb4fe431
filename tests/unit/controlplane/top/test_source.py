from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.cli.admin_command import Refusal, Router
from controlplane.top.source import Source


def test_where_no_router_runs_it_does_not_speak_of_planes(tmp_path: Path) -> None:
    router = Router(None, str(tmp_path), None)
    with pytest.raises(Refusal) as refused:
        Source(router).look()
    assert str(refused.value) == f"no router runs on runtime folder {tmp_path} (`routerctl start` starts one)"
