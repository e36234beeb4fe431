"""Asks the API server: a list of pods in pages, and a watch of what becomes of them. Bounded in time and size.

A connection's life is that of one client: whoever has seen a failure makes a new one, by what the files hold then.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Literal, Self

import httpx

from controlplane.kubernetes.credentials import Credentials, CredentialsError
from controlplane.kubernetes.objects import (
    Bookmark,
    Failure,
    ObjectsError,
    PodEvent,
    PodList,
    read_event,
    read_failure,
    read_page,
)

PAGE = 250
"""Pods in a page of a list."""
MAX_PAGES = 1000
"""With this many pods a cluster has more than Kubernetes can (150,000)."""
MAX_PAGE = 64 * 1024 * 1024
MAX_EVENT = 4 * 1024 * 1024
"""Bytes. What the API server keeps of one object is at most 1.5 MiB."""
WATCH_SECONDS = 60
"""After which the server ends a watch, and another one goes on: so long a connection that has died may go unnoticed."""
_OVERTIME = 5.0
_CONNECT = 5.0
_READ = WATCH_SECONDS + _OVERTIME
_LIST = 30.0
_MAX_ERROR = 64 * 1024

Reason = Literal["unreachable", "forbidden", "expired", "server", "malformed"]


class ApiError(Exception):
    """The API server does not tell. The message is for people; `reason` is one of a handful of words."""

    def __init__(self, reason: Reason, message: str, *, wait: float = 0.0) -> None:
        """`wait` is for how many seconds the server wants to be left alone."""
        super().__init__(message)
        self.reason: Reason = reason
        self.wait = wait


class KubernetesClient:
    """An async context manager that closes its connection."""

    def __init__(self, credentials: Credentials, namespace: str | None, label_selector: str) -> None:
        """`namespace` None is all of them."""
        self._credentials = credentials
        self._path = "/api/v1/pods" if namespace is None else f"/api/v1/namespaces/{namespace}/pods"
        self._where = "all namespaces" if namespace is None else f"namespace {namespace}"
        self._selector = {"labelSelector": label_selector} if label_selector else {}
        try:
            trust = credentials.trust()
        except CredentialsError as error:
            raise ApiError("forbidden", str(error)) from None
        # Without the client around it nothing follows a redirect, with the token, and no line of the log has each URL.
        self._http = httpx.AsyncHTTPTransport(verify=trust, trust_env=False)

    async def __aenter__(self) -> Self:
        """Open nothing yet."""
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Close the connection that was kept."""
        await self._http.aclose()

    async def page(self, after: str) -> PodList:
        """Return a page of the list: the first, or the one after a page that told `after`. Raises ApiError."""
        query: dict[str, str | int] = {**self._selector, "limit": PAGE}
        if after:
            query["continue"] = after
        try:
            async with asyncio.timeout(_LIST), self._asked("list", query) as response:
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > MAX_PAGE:
                        raise ApiError("malformed", f"a page of the list of pods has more than {MAX_PAGE} bytes")
        except TimeoutError:
            raise ApiError("unreachable", f"it did not list the pods within {_LIST:g} s") from None
        try:
            return read_page(bytes(body))
        except ObjectsError as error:
            raise ApiError("malformed", str(error)) from None

    async def watch(self, version: str, accepted: Callable[[], None]) -> AsyncIterator[PodEvent | Bookmark]:
        """Yield what becomes of pods after a resource version, until the server ends the watch. Raises ApiError.

        `accepted` is called once it has begun.
        """
        query: dict[str, str | int] = {
            **self._selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": WATCH_SECONDS,
        }
        deadline = asyncio.get_running_loop().time() + _READ
        async with self._asked("watch", query) as response:
            accepted()
            chunks, rest = aiter(response.aiter_raw()), bytearray()
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        rest += await anext(chunks)
                except (StopAsyncIteration, TimeoutError):
                    # What is cut off in the middle comes again: the version is still that before it.
                    return
                *lines, tail = rest.split(b"\n")
                rest = tail
                if len(rest) > MAX_EVENT:
                    raise ApiError("malformed", f"an event of a pod has more than {MAX_EVENT} bytes")
                for line in lines:
                    if line.strip():
                        yield _event(bytes(line))

    @asynccontextmanager
    async def _asked(self, verb: str, query: Mapping[str, str | int]) -> AsyncIterator[httpx.Response]:
        """Send a request; yields the answer where it is one. Raises ApiError."""
        try:
            headers = {
                "authorization": f"Bearer {self._credentials.token()}",
                "accept": "application/json",
                "accept-encoding": "identity",
                "user-agent": "routerctl",
            }
            url, limits = f"{self._credentials.url}{self._path}", {"timeout": {"connect": _CONNECT, "read": _READ}}
            request = httpx.Request("GET", url, params=dict(query), headers=headers, extensions=limits)
            response = await self._http.handle_async_request(request)
            try:
                if response.status_code != 200:
                    raise self._refusal(verb, response, await _beginning(response))
                yield response
            finally:
                await response.aclose()
        except CredentialsError as error:
            raise ApiError("forbidden", str(error)) from None
        except httpx.ConnectTimeout:
            raise ApiError("unreachable", f"no connection to {self._credentials.url} within {_CONNECT:g} s") from None
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            raise ApiError("unreachable", f"{self._credentials.url}: {error or type(error).__name__}") from None

    def _refusal(self, verb: str, response: httpx.Response, body: bytes) -> ApiError:
        failure = read_failure(body, response.status_code)
        said = f": {failure.message}" if failure.message else ""
        match response.status_code:
            case 401:
                return ApiError(
                    "forbidden",
                    f"the API server does not know the token in {self._credentials.folder} (401): it has expired, or "
                    f"is another cluster's{said}",
                )
            case 403:
                return ApiError(
                    "forbidden",
                    f"the router's service account may not {verb} pods in {self._where} (403); bind a "
                    f"{'ClusterRole' if self._where == 'all namespaces' else 'Role'} with get, list and watch of pods "
                    f"to it, as in deploy/kubernetes{said}",
                )
            case 410:
                return _expired(failure)
            case status:
                after = response.headers.get("retry-after", "")
                wait = float(after) if after.isascii() and after.isdecimal() and len(after) <= 4 else 0.0
                return ApiError("server", f"the API server answers {status} to {verb} pods{said}", wait=wait)


def _event(line: bytes) -> PodEvent | Bookmark:
    try:
        event = read_event(line)
    except ObjectsError as error:
        raise ApiError("malformed", str(error)) from None
    if isinstance(event, Failure):
        if event.code == 410:
            raise _expired(event)
        raise ApiError("server", f"the API server ends the watch: {event.code} {event.message}")
    return event


def _expired(failure: Failure) -> ApiError:
    return ApiError("expired", f"what was asked for is too old by now: {failure.message}")


async def _beginning(response: httpx.Response) -> bytes:
    """Return as much of a body as an error has."""
    body = bytearray()
    async with asyncio.timeout(_CONNECT):
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > _MAX_ERROR:
                break
    return bytes(body[:_MAX_ERROR])
