"""A client of a running router's admin API and of its planes' own sockets."""

import http.client
import json
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import zmq

from benchlib.processes import BenchError
from shared.messages import PlaneStatus, PlaneStatusRequest, decode_plane_socket, encode
from shared.runtime_dir import RuntimeDir

_ANSWER_MS = 5000
_ASK = encode(PlaneStatusRequest())


class Admin:
    """One kept connection to the admin port, and one to each plane. A context manager."""

    def __init__(self, port: int, runtime: Path) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._context = zmq.Context()
        folder = RuntimeDir(runtime)
        self._planes = []
        for record in sorted(folder.planes.glob("*.json")):
            plane = self._context.socket(zmq.DEALER)
            plane.connect(folder.plane_endpoint(record.stem))
            self._planes.append(plane)

    def __enter__(self) -> "Admin":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self._context.destroy(linger=0)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return status and JSON."""
        headers = {"content-type": "application/json"}
        self._http.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self._http.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def change(self, method: str, path: str, body: object = None) -> bool:
        """Make a change of the members; return whether every plane routed by it when the answer came."""
        status, answer = self.ask(method, path, body)
        if status >= 300:
            raise BenchError(f"{method} {path}: {status} {answer}")
        return bool(answer["on_every_plane"])

    def statuses(self) -> list[PlaneStatus]:
        """Ask every plane how it is."""
        for plane in self._planes:
            plane.send(_ASK)
        return [self._status(plane) for plane in self._planes]

    @staticmethod
    def _status(plane: "zmq.Socket[bytes]") -> PlaneStatus:
        if not plane.poll(_ANSWER_MS):
            raise BenchError("a plane does not answer")
        status = decode_plane_socket(plane.recv())
        if not isinstance(status, PlaneStatus):
            raise BenchError("a plane answers something else than how it is")
        return status


def worker_path(url: str, verb: str = "") -> str:
    """Return a worker's path on the admin port."""
    return f"/workers/{quote(url, safe='')}{verb}"
