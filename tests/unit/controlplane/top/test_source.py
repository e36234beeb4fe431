from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.cli.admin_command import Refusal, Router, fetch
from controlplane.cli.status_or_folder import status_of
from controlplane.top.source import Source

NOBODY = (
    "no router runs on runtime folder {}; start one with `routerctl start`, or name another with --admin URL or "
    "--runtime-dir FOLDER"
)


def test_where_no_router_runs_it_does_not_speak_of_planes(tmp_path: Path) -> None:
    router = Router(None, str(tmp_path), None)
    with pytest.raises(Refusal) as refused:
        Source(router).look()
    assert str(refused.value) == NOBODY.format(tmp_path)


@pytest.mark.parametrize(
    "ask",
    [
        lambda router: fetch(router, "/workers", dict),
        lambda router: status_of(router, "/status", dict, lambda view: view),
    ],
)
def test_every_command_says_so(ask: Callable[[Router], object], tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        ask(Router(None, str(tmp_path), None))
    assert str(refused.value) == NOBODY.format(tmp_path)
