"""Requests of the control plane to workers: bounded in time and size, and their failures explained.

Each worker has an httpx client of its own: in a pool that many workers share, each request walks all of it
(a page of vLLM's metrics cost 5 ms among 100 workers, 0.7 ms alone).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple, Self

import httpx

from controlplane.health import Outcome
from shared.probe_mark import PROBE_HEADER
from shared.tls import CLIENT_CERT_FLAG, TlsFileError, WorkerTls, explain
from shared.worker_key import WorkerKey

# vLLM's server closes idle connections after 5 s.
_MAX_IDLE = 3.0
# httpcore closes a socket whose TLS handshake it ends itself, and forgets one whose handshake is cancelled: its own
# limit must come before ours.
_CONNECT_SHARE = 0.95
_CLOSED = "connection closed before the answer"
_RESET = "connection reset"

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A worker's answer; `body` is empty when it was not asked for."""

    status: int
    body: bytes


class FetchError(Exception):
    """No answer. `outcome` is what that says about the worker, `reason` a text for people without changing parts."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome: Outcome = outcome
        self.reason = reason


class WorkerClient:
    """Asks one worker, one request at a time. An async context manager that closes its connection."""

    def __init__(
        self,
        url: str,
        *,
        keep_alive: bool,
        tls: WorkerTls | None = None,
        key: WorkerKey | None = None,
        mark: str = "",
    ) -> None:
        """`keep_alive` keeps the connection for the next request; without it each request makes its own.

        `key` is what the worker asks for, `mark` tells whose requests these are (`shared.probe_mark`).
        `tls` is for an https URL; None: the system's authorities, and no client certificate.
        """
        self._url = url
        self._keep_alive = keep_alive
        self._tls = (tls or _system_tls()) if url.startswith("https:") else None
        self._key = key
        self._mark = mark
        self._context = _no_tls()
        self._connected = False
        self._requests: dict[tuple[str, str, float], httpx.Request] = {}
        self._authorization = ""
        self._http = self._make_http()

    def _make_http(self) -> httpx.AsyncHTTPTransport:
        # Without the client around it (cookies, redirects, authentication) a request costs half as much; and nothing
        # follows a redirect, from https to http for one.
        limits = httpx.Limits(max_keepalive_connections=int(self._keep_alive), keepalive_expiry=_MAX_IDLE)
        return httpx.AsyncHTTPTransport(verify=self._context, limits=limits, trust_env=False)

    def _request(self, method: str, path: str, timeout: float) -> httpx.Request:
        authorization = (self._key.authorization if self._key is not None else None) or ""
        if authorization != self._authorization:
            self._authorization = authorization
            self._requests.clear()
        request = self._requests.get((method, path, timeout))
        if request is None:
            headers = {"user-agent": "routerctl", "accept": "*/*", "accept-encoding": "identity"}
            if authorization:
                headers["authorization"] = authorization
            if self._mark:
                headers[PROBE_HEADER] = self._mark
            if not self._keep_alive:
                headers["connection"] = "close"
            # Of an exchange in the clear a time limit's kind tells whether there was a connection.
            extensions: dict[str, object] = {"timeout": {"connect": timeout * _CONNECT_SHARE}}
            if self._tls is not None:
                extensions["trace"] = self._note
                if self._tls.server_name is not None:
                    extensions["sni_hostname"] = self._tls.server_name
            request = httpx.Request(method, f"{self._url}{path}", headers=headers, extensions=extensions)
            self._requests[method, path, timeout] = request
        return request

    async def _note(self, event: str, _: object) -> None:
        # With TLS the handshake comes after this: a busy server is slow at that too.
        self._connected = self._connected or event == "connection.connect_tcp.complete" or event.startswith("http11.")

    async def __aenter__(self) -> Self:
        """Open nothing yet."""
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Close the connection that was kept."""
        await self._http.aclose()

    async def get(self, path: str, *, limit: int, timeout: float) -> Answer:
        """Return the answer to GET, with at most `limit` bytes of body (0: the body is not read).

        `timeout` is in seconds for all of it. Raises FetchError.
        """
        return await self._ask("GET", path, limit, timeout)

    async def post(self, path: str, *, timeout: float) -> Answer:
        """Return the status of the answer to POST without a body. `timeout` and errors are as in `get`."""
        return await self._ask("POST", path, 0, timeout)

    async def post_json(self, path: str, body: bytes, *, limit: int, timeout: float) -> Answer:
        """Return the answer to POST with a JSON body. The rest is as in `get`."""
        return await self._ask("POST", path, limit, timeout, body)

    async def _ask(self, method: str, path: str, limit: int, timeout: float, body: bytes = b"") -> Answer:
        if self._tls is not None:
            await self._renew_trust(self._tls)
        self._connected = False
        try:
            request = self._request(method, path, timeout)
            if body:
                headers = {**request.headers, "content-type": "application/json", "content-length": str(len(body))}
                request = httpx.Request(
                    method, request.url, headers=headers, content=body, extensions=request.extensions
                )
            async with asyncio.timeout(timeout):
                try:
                    return await self._send(request, limit)
                except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, ssl.SSLError) as error:
                    if not self._keep_alive:
                        raise
                    # As a rule the worker had just closed the idle connection; a new one shows whether it is well.
                    log.debug("%s %s on a kept connection to %s: %s", method, path, self._url, error)
                    return await self._send(request, limit)
        except httpx.ConnectTimeout:
            if self._connected:
                raise FetchError("unclear", f"no answer within {timeout:g} s") from None
            raise FetchError("failed", f"no connection within {timeout:g} s") from None
        except TimeoutError:
            raise FetchError("unclear", f"no answer within {timeout:g} s") from None
        except httpx.InvalidURL as error:
            raise FetchError("unclear", f"host name does not resolve: {error}") from error
        except httpx.ConnectError as error:
            raise _explain_connecting(error) from error
        except httpx.RemoteProtocolError as error:
            raise self._hinting(_explain_breaking(error)) from error
        except httpx.TransportError as error:
            raise self._hinting(FetchError("failed", _RESET)) from error
        except ssl.SSLError as error:
            # With TLS 1.3 a worker refuses a client only after the client took the handshake for done, and of what
            # comes then httpcore makes no error of its own.
            raise FetchError("failed", explain(error)) from error

    async def _renew_trust(self, tls: WorkerTls) -> None:
        """Make new connections with what the TLS files hold now. Raises FetchError when they are of no use."""
        try:
            context = tls.context()
        except TlsFileError as error:
            raise FetchError("unclear", f"TLS failed: {error}") from error
        if context is not self._context:
            self._context = context
            old, self._http = self._http, self._make_http()
            await old.aclose()

    def _hinting(self, error: FetchError) -> FetchError:
        # Some servers close without the alert that would say so.
        if self._tls is not None and error.reason in (_CLOSED, _RESET):
            hint = f"does the worker ask for a client certificate? {CLIENT_CERT_FLAG}"
            return FetchError(error.outcome, f"{error.reason} ({hint})")
        return error

    async def _send(self, request: httpx.Request, limit: int) -> Answer:
        answer = await self._http.handle_async_request(request)
        try:
            body = bytearray()
            if limit:
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > limit:
                        raise FetchError("failed", f"the answer is larger than {limit} bytes")
            return Answer(answer.status_code, bytes(body))
        finally:
            await answer.aclose()


@cache
def _system_tls() -> WorkerTls:
    return WorkerTls()


@cache
def _no_tls() -> ssl.SSLContext:
    # Loading the certificate authorities takes 20 ms; a fleet without TLS needs none, and then trusts none.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what an error came from, the first cause first; of several addresses each has its own."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _causes(each)
    for before in (error.__cause__, error.__context__):
        if before is not None:
            yield from _causes(before)
            break
    yield error


def _explain_connecting(error: Exception) -> FetchError:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ConnectionRefusedError):
            return FetchError("refused", "connection refused")
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return FetchError("unclear", f"host name does not resolve: {cause.strerror}")
        if isinstance(cause, UnicodeError):
            return FetchError("unclear", f"host name does not resolve: {cause}")
        if isinstance(cause, ssl.SSLError):
            return FetchError("failed", explain(cause))
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            text = "the control plane has no file descriptor left (raise its limit of open files)"
            return FetchError("unclear", text)
        if isinstance(cause, OSError) and cause.errno is not None:
            return FetchError("failed", (cause.strerror or str(cause)).lower())
    return FetchError("failed", f"{type(causes[0]).__name__}: {causes[0]}".rstrip(": "))


def _explain_breaking(error: httpx.RemoteProtocolError) -> FetchError:
    # httpx has one class for both; h11 says which it was.
    text = str(error)
    if "disconnected" in text or "closed connection" in text:
        return FetchError("failed", _CLOSED)
    return FetchError("failed", f"no HTTP answer: {text}")
