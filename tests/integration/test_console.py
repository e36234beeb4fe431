"""`routerctl start --console` in a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.integration.routers import PATIENCE, Router
from tests.integration.terminals import terminal


def test_logs_scroll_above_a_line_and_ctrl_c_gives_it_back(tmp_path: Path) -> None:
    router = Router(tmp_path, "--data-planes=1", "--console")
    ports = (
        f"--port={router.port}",
        f"--admin-port={router.admin_port}",
        f"--prometheus-port={router.prometheus_port}",
    )
    command = (sys.executable, "-m", "controlplane.cli", "start", *ports, f"--runtime-dir={router.runtime.path}")
    try:
        with terminal(*command, *router.arguments, lines=20) as screen:
            screen.until("0/0 workers ready  1/1 planes  0 open")
            screen.until_raw(b"ready: http://")
            # As without it, and from all processes.
            assert b"INFO control plane: --admin-port: listening on" in screen.raw
            assert b"supervisor: started plane 0" in screen.raw
            assert b"\x1b[1;19r" in screen.raw
            screen.resize(40, 10)
            screen.until_raw(b"\x1b[1;9r")
            screen.type("\x03")
            assert screen.process.wait(PATIENCE) == 0
            screen.read()
            assert screen.raw.endswith(b"\x1b[10;1H\x1b[2K\x1b[r\x1b8")
            assert b"SIGINT: stopping" in screen.raw
        assert router.survivors() == []
    finally:
        router.close()
