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
from shared.table import Settings, make_table
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


def test_a_plane_takes_no_clients_without_the_workers_key() -> None:
    """Its requests would all be refused; others have the port to themselves until the key can be read."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="rc-") as folder:
        runtime, key, log = RuntimeDir(Path(folder)), Path(folder) / "key", Path(folder) / "log"
        runtime.config.write_bytes(msgspec.json.encode(StartConfig(port=port)))
        table = make_table(epoch=1, version=1, settings=Settings(worker_key_file=str(key)))
        runtime.table.write_bytes(encode(table))
        command = (sys.executable, "-m", "dataplane", folder, "--slot", "0", "--id", "0123456789abcdef")
        with log.open("wb") as written, subprocess.Popen(command, stderr=written) as plane:

            def serves() -> bool:
                assert plane.poll() is None
                try:
                    return httpx.get(f"http://127.0.0.1:{port}/liveness").status_code == 200
                except httpx.TransportError:
                    return False

            try:
                eventually(lambda: "this plane takes no clients" in log.read_text(), "the word in the log")
                assert not serves()
                key.write_text("sk-workers")
                eventually(serves, "the plane to serve")
            finally:
                plane.kill()
