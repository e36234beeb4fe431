"""The plane's HTTP server: granian, embedded in this process's event loop.

What we rely on in granian's ASGI implementation, each held by `tests/integration/test_server_facts*.py`:

1. `send()` does its work at the call and returns an awaitable that is done, unless its queue (4 messages)
   is full; then it returns a future-like object with `add_done_callback`. So a chunk can be passed on
   inside the upstream's `buffer_updated`, and a full queue means: pause the upstream until the callback.
2. `receive()` returns a future-like object, or one that is done when the client has already left.
3. A response whose last body message never came is cut off: TCP is closed without the final chunk.
4. `backpressure` counts connections, idle ones included; past it, new clients wait in the kernel unseen.
5. A half-close by the client is taken as its leaving.
6. HTTP/2 by prior knowledge: a stream that is reset is a leaving of its request only, in whatever phase, and the
   end of the connection one of all its requests. (granian 2.8.1 did neither.) A stream that is reset with
   NO_ERROR in the middle of its body looks as if the body had ended; the leaving follows. An answer that was cut off
   is a reset stream.
7. A client on HTTP/1.1 that has sent more than its request is seen to leave only when something is sent to it.
8. A handshake for a WebSocket is announced as a request of its own type, whatever its path; one without a key or the
   version 13 is answered 400, unannounced. Messages come and go
   whole, of 16 MiB at most; pings are answered by itself; of sends that are under way together any may be the first.
9. A descriptor that it is given to listen on is its own, and closed with the server. When another socket is put in its
   place, clients come from that one, and those that had come go on.

Its connections are served by tokio's multi-threaded runtime, with one thread. The one for a single thread is woken
for each message from another thread, by a system call, also while it is awake.

granian runs an ASGI application as one task per request. A request here is a state machine moved by
callbacks (`forward.py`), so `_Scheduler` hands it on directly: a task, its three wrapping coroutines and their
wake-ups cost more than half as much again as forwarding itself.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any, Protocol

from granian.constants import Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import AsyncWorker, Server

from dataplane.listening import Listener
from shared.server_tls import ServerTls, tls_options

# granian's compiled part; its type stub does not describe what the embedded server uses of it.
_granian: Any = importlib.import_module("granian._granian")

Scope = dict[str, Any]
ASGIMessage = dict[str, Any]

BACKLOG = 2048
"""Connections that wait for accept: more than a restart of one plane among several lets gather."""
_HEADER_READ_TIMEOUT_MS = 30_000
_BUFFER_SIZE = 64 * 1024
"""Bytes: the longest head of a request, and about what granian holds of an answer beside its queue. Its own default of
408 KiB would be held for each client that stops reading."""


class FutureLike(Protocol):
    """What granian returns when an operation has to wait."""

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call back in the event loop. One callback at most."""
        ...

    def result(self) -> Any:
        """The result, once done."""
        ...

    def cancel(self) -> bool:
        """Stop waiting."""
        ...


class Transaction(Protocol):
    """granian's side of one request."""

    @property
    def scope(self) -> Scope:
        """The ASGI scope."""
        ...

    @property
    def proto(self) -> Any:
        """Has `receive()` and `send(message)`, see above."""
        ...

    def done(self) -> None:
        """Let go of the request: without an answer it gets a 500, with half an answer it is cut off."""
        ...


Announce = Callable[[Transaction], None]


class _Kinds(dict[type, bool]):
    def __missing__(self, kind: type) -> bool:
        self[kind] = hasattr(kind, "add_done_callback")
        return self[kind]


HAS_TO_WAIT = _Kinds()
"""Whether operations of a class have to wait. Asking a class once is three times as fast as asking each object; there
are two classes."""


def waiting(operation: Any) -> FutureLike | None:
    """Return the operation when it has to wait, None when it is done already."""
    return operation if HAS_TO_WAIT[operation.__class__] else None


class _Scheduler(_granian.CallbackScheduler):  # type: ignore[misc]
    """Hands each request on, in granian's thread."""

    def __new__(cls, loop: asyncio.AbstractEventLoop, announce: Announce) -> _Scheduler:
        scheduler: _Scheduler = super().__new__(cls, loop, announce, None, None, None)
        return scheduler

    def __init__(self, loop: asyncio.AbstractEventLoop, announce: Announce) -> None:
        super().__init__()
        self._schedule_fn = announce


@AsyncWorker.wrap_target  # type: ignore[untyped-decorator]
async def _serve_directly(
    worker_id: int,
    shutdown_event: Any,
    announce: Announce,
    sock: Any,
    loop: asyncio.AbstractEventLoop,
    runtime_threads: int,
    runtime_blocking_threads: int | None,
    blocking_threads: int,
    blocking_threads_idle_timeout: int,
    backpressure: int,
    task_impl: Any,
    http_mode: Any,
    http1_settings: Any,
    http2_settings: Any,
    websockets: bool,
    static_path: Any,
    log_access_fmt: str | None,
    ssl_ctx: tuple[Any, ...],
    scope_opts: dict[str, Any],
) -> None:
    """Serve as granian's own ASGI target does (the signature is its own), with our scheduler."""
    stopped = loop.create_future()
    shutdown_event.add_cb(lambda: loop.call_soon_threadsafe(stopped.set_result, None))
    worker = _granian.ASGIWorker(
        worker_id,
        sock,
        None,
        runtime_threads,
        runtime_blocking_threads,
        blocking_threads,
        blocking_threads_idle_timeout,
        backpressure,
        http_mode,
        http1_settings,
        http2_settings,
        websockets,
        static_path,
        *ssl_ctx,
        (None, None),
    )
    worker.serve_mtr(_Scheduler(loop, announce), loop, shutdown_event)
    await stopped


class _Server(Server):
    """granian's server on a socket that it is given."""

    def __init__(self, descriptor: int, announce: Announce, connections: int, tls: ServerTls | None) -> None:
        super().__init__(
            announce,
            interface=Interfaces.ASGINL,
            websockets=True,
            backpressure=connections,
            http2_settings=HTTP2Settings(max_headers_size=_BUFFER_SIZE),
            http1_settings=HTTP1Settings(header_read_timeout=_HEADER_READ_TIMEOUT_MS, max_buffer_size=_BUFFER_SIZE),
            log_enabled=False,
            **tls_options(tls),
        )
        self._descriptor = descriptor

    def _init_shared_socket(self) -> None:
        self._shd = _granian.SocketHolder(self._descriptor, False, BACKLOG)


class HttpServer:
    """Serves on a listening socket.

    `announce` is called once per request, in granian's thread: see `arrivals.py`. It must not raise.
    """

    def __init__(self, announce: Announce, *, connections: int, tls: ServerTls | None = None) -> None:
        """Describe the server; `connections` is the limit of open client connections."""
        self._tls = tls
        self._announce = announce
        self._connections = connections
        self._server: _Server | None = None
        self._stopping = False

    async def serve(self, listener: Listener) -> None:
        """Serve until `stop`, then until the last open request has ended. Its TLS files are read once."""
        with listener.socket:
            # granian does so in a thread, some time after it has said that it serves; nobody is to come before.
            listener.socket.listen(BACKLOG)
            self._server = _Server(listener.served(), self._announce, self._connections, self._tls)
            await self._server.serve(spawn_target=_serve_directly)

    @property
    def listening(self) -> bool:
        """Whether new connections are taken."""
        return self._server is not None and bool(self._server.wrks) and not self._stopping

    def stop(self) -> None:
        """End idle connections, and the others after their requests."""
        self._stopping = True
        if self._server is not None:
            self._server.stop()  # type: ignore[no-untyped-call]
