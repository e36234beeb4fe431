"""A plane started alone, on a runtime folder that is not as it should be."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import msgspec

from shared.config import StartConfig
from shared.messages import encode
from shared.runtime_dir import RuntimeDir
from shared.table import make_table
from tests.integration.routers import PATIENCE, eventually, free_ports


def test_a_plane_serves_when_its_record_can_not_be_written() -> None:
    (port,) = free_ports(1)
    # pytest's own temporary folders are too deep for the path of a UNIX socket.
    with tempfile.TemporaryDirectory(prefix="rc-") as folder:
        runtime = RuntimeDir(Path(folder))
        runtime.config.write_bytes(msgspec.json.encode(StartConfig(port=port)))
        runtime.table.write_bytes(encode(make_table(epoch=1, version=1)))
        # There is no folder for records: what a full disk does, which a test can not have.
        command = (sys.executable, "-m", "dataplane", folder, "--slot", "0", "--id", "0123456789abcdef")
        with subprocess.Popen(command, stderr=subprocess.PIPE) as plane:

            def serves() -> bool:
                assert plane.poll() is None
                try:
                    return httpx.get(f"http://127.0.0.1:{port}/liveness").status_code == 200
                except httpx.TransportError:
                    return False

            try:
                eventually(serves, "the plane to serve")
                plane.send_signal(signal.SIGTERM)
                assert plane.wait(PATIENCE) == 0
            finally:
                plane.kill()
            assert plane.stderr is not None
            assert b"can not write" in plane.stderr.read()
