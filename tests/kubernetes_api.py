"""An API server of Kubernetes, as far as discovery of pods needs one: list and watch, by the bytes of real ones.

It runs in a thread of its own. What it says is what a test has put there; what it withholds, too.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import trustme

from tests.tls_worker import server_context

Json = dict[str, Any]
TOKEN = "a-service-accounts-token"


def pod(
    name: str,
    address: str = "10.0.0.1",
    *,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    namespace: str = "default",
    uid: str = "",
    ready: bool = True,
    phase: str = "Running",
    deleted: bool = False,
    created: str = "2026-01-01T00:00:00Z",
) -> Json:
    """A pod as a real server writes it, with much that nobody here reads."""
    metadata: Json = {
        "name": name,
        "generateName": "vllm-",
        "namespace": namespace,
        "uid": uid or f"uid-of-{name}",
        "creationTimestamp": created,
        "labels": labels if labels is not None else {"app": "vllm"},
        "annotations": {"kubectl.kubernetes.io/restartedAt": "x", **(annotations or {})},
        "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "vllm", "uid": "r", "controller": True}
        ],
        "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {}}}],
    }
    if deleted:
        metadata |= {"deletionTimestamp": "2026-01-01T00:01:00Z", "deletionGracePeriodSeconds": 30}
    status = "True" if ready else "False"
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "vllm", "image": "vllm/vllm-openai", "resources": {}}], "nodeName": "gpu-1"},
        "status": {
            "phase": phase,
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastProbeTime": None},
                {"type": "Ready", "status": status, "lastProbeTime": None, "lastTransitionTime": created},
            ],
            "hostIP": "192.168.0.1",
            **({"podIP": address, "podIPs": [{"ip": address}]} if address else {}),
            "qosClass": "BestEffort",
        },
    }


class ApiServer:
    """Use `running`. `refusal` is the status that every request gets; `is_empty` has lists without pods."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self._tls = server_context(authority.issue_cert("127.0.0.1"))
        self.folder = folder
        authority.cert_pem.write_to_path(str(folder / "ca.crt"))
        (folder / "token").write_text(f"{TOKEN}\n")
        self.port = 0
        self.token = TOKEN
        self.refusal: int | None = None
        self.is_empty = False
        self.is_deaf = False
        """Whether watches are told of nothing."""
        self.watch_seconds: float | None = None
        """After which a watch ends, instead of what the client asked for."""
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._version = 100
        self._oldest = 0
        self._pods: dict[tuple[str, str], Json] = {}
        self._history: list[tuple[int, Json | None, Json | None]] = []
        self._lists: dict[str, tuple[int, list[Json]]] = {}
        self._numbers = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def environment(self) -> dict[str, str]:
        """What a pod has in its environment."""
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}

    def put(self, one: Json) -> None:
        """Have a pod, or another state of it."""
        self._do(self._set, (one["metadata"]["namespace"], one["metadata"]["name"]), one)

    def delete(self, name: str, namespace: str = "default") -> None:
        """Have a pod no more."""
        self._do(self._set, (namespace, name), None)

    def reset(self) -> None:
        """Have no pods, and everything as at the beginning."""
        self._do(self._reset)

    def compact(self) -> None:
        """Know nothing of what has been any more; watches that have seen all of it go on."""
        self._do(self._compact)

    def forget_watches(self) -> None:
        """Have all watches be too old."""
        self._do(self._compact, 1)

    def drop_connections(self) -> None:
        """Cut all connections off in the middle."""
        self._do(self._cut_all)

    def start(self) -> None:
        """Listen, on the same port as before."""
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self) -> None:
        """Be gone: nobody listens, and connections are cut off."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)

    def _do(self, function: Callable[..., object], *arguments: object) -> None:
        async def run() -> None:
            function(*arguments)

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def _reset(self) -> None:
        self._cut_all()
        self._pods.clear()
        self._compact(1)
        self.requests.clear()
        self.token, self.refusal = TOKEN, None
        self.is_empty, self.is_deaf, self.watch_seconds = False, False, None

    def _compact(self, more: int = 0) -> None:
        self._version += more
        self._oldest = self._version

    def _set(self, key: tuple[str, str], one: Json | None) -> None:
        self._version += 1
        before = self._pods.pop(key, None)
        if one is not None:
            one["metadata"]["resourceVersion"] = str(self._version)
            self._pods[key] = one
        self._history.append((self._version, before, one))

    # --- the server ------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._cut_all()
        await asyncio.sleep(0)

    def _cut_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    await self._answer(head, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        target = urlsplit(head.split(" ", 2)[1])
        query = dict(parse_qsl(target.query))
        self.requests.append((target.path, query))
        verb = "watch" if query.get("watch") == "true" else "list"
        found = re.fullmatch(r"/api/v1/(?:namespaces/([^/]+)/)?pods", target.path)
        assert found is not None, target.path
        if f"authorization: Bearer {self.token}\r\n" not in head:
            await self._send(writer, 401, _status(401, "Unauthorized", "Unauthorized"))
        elif self.refusal is not None:
            said = (
                f'pods is forbidden: User "system:serviceaccount:default:router" cannot {verb} resource "pods" in API '
                'group "" in the namespace "default"'
            )
            await self._send(writer, self.refusal, _status(self.refusal, "Forbidden", said))
        elif verb == "watch":
            await self._watch(writer, found[1], query)
        else:
            await self._list(writer, found[1], query)

    async def _list(self, writer: asyncio.StreamWriter, namespace: str | None, query: dict[str, str]) -> None:
        key, _, start = query.get("continue", "").partition(":")
        if key and key not in self._lists:
            said = "The provided continue parameter is too old to display a consistent list result."
            await self._send(writer, 410, _status(410, "Expired", said))
            return
        if not key:
            key = str(next(self._numbers))
            matching = [one for one in self._pods.values() if _matches(one, namespace, query)]
            self._lists[key] = (self._version, [] if self.is_empty else matching)
        version, items = self._lists[key]
        first, limit = int(start or 0), int(query["limit"])
        rest = len(items) - first - limit
        more = {"continue": f"{key}:{first + limit}", "remainingItemCount": rest} if rest > 0 else {}
        page = {
            "kind": "PodList",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": str(version), **more},
            "items": items[first : first + limit],
        }
        await self._send(writer, 200, page)

    async def _watch(self, writer: asyncio.StreamWriter, namespace: str | None, query: dict[str, str]) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        seen = int(query["resourceVersion"])
        end = self._loop.time() + (self.watch_seconds or float(query["timeoutSeconds"]))
        while self._loop.time() < end and not writer.is_closing():
            if seen < self._oldest:
                said = f"too old resource version: {seen} ({self._oldest})"
                _line(writer, {"type": "ERROR", "object": _status(410, "Expired", said)})
                break
            for version, before, after in self._history:
                if version > seen:
                    seen = version
                    event = _event(before, after, namespace, query)
                    if event is not None and not self.is_deaf:
                        event["object"]["metadata"]["resourceVersion"] = str(version)
                        _line(writer, event)
            await asyncio.sleep(0.01)
        else:
            mark = {
                "kind": "Pod",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": str(seen), "creationTimestamp": None},
                "spec": {"containers": None},
                "status": {},
            }
            _line(writer, {"type": "BOOKMARK", "object": mark})
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _send(self, writer: asyncio.StreamWriter, status: int, body: Json) -> None:
        text = json.dumps(body, separators=(",", ":")).encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n".encode()
        )
        writer.write(text)
        await writer.drain()

    def run(self) -> None:
        """Be the thread."""
        self._loop.run_forever()
        if pending := asyncio.all_tasks(self._loop):
            for task in pending:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(pending))
        self._loop.close()

    def end(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)


@contextmanager
def running(folder: Path) -> Iterator[ApiServer]:
    """Run one; `folder` gets what the service account of a pod has."""
    server = ApiServer(folder)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.end()
        thread.join()


def _matches(one: Json | None, namespace: str | None, query: dict[str, str]) -> bool:
    if one is None or namespace not in (None, one["metadata"]["namespace"]):
        return False
    labels = one["metadata"]["labels"]
    for part in re.findall(r"[^,(]+(?:\([^)]*\))?", query.get("labelSelector", "")):
        key, _, values = part.partition(" in ")
        if not values:
            key, values = part.split("=", 1)
        if labels.get(key) not in values.strip("()").split(","):
            return False
    return True


def _event(before: Json | None, after: Json | None, namespace: str | None, query: dict[str, str]) -> Json | None:
    """What a watch with a selector is told of a change: who matches no more is gone, whatever became of it."""
    was, is_ = _matches(before, namespace, query), _matches(after, namespace, query)
    if not was and not is_:
        return None
    one = after if after is not None else before
    assert one is not None
    kind = "DELETED" if not is_ else "MODIFIED" if was else "ADDED"
    return {"type": kind, "object": {"kind": "Pod", "apiVersion": "v1", **one, "metadata": dict(one["metadata"])}}


def _status(code: int, reason: str, message: str) -> Json:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def _line(writer: asyncio.StreamWriter, event: Json) -> None:
    line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
    # Two chunks: an event need not come in one piece.
    for part in (line[: len(line) // 2], line[len(line) // 2 :]):
        writer.write(b"%x\r\n%b\r\n" % (len(part), part))
