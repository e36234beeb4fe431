"""How commands reach the admin API of a running router: where it is, its token, and one request."""

from __future__ import annotations

import http.client
import os
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import typer

from shared.admin_token import read_admin_token
from shared.config import ConfigError, StartConfig, join_address, scheme
from shared.process import is_alive, living_planes
from shared.runtime_dir import ProcessRecord, RuntimeDir, default_runtime_dir, read_record

TIMEOUT = 3.0
"""Seconds to wait for an answer that the admin API has at hand."""
DEFAULT_ADMIN = "http://127.0.0.1:30080"

Folder = Annotated[
    str | None,
    typer.Option(
        "--runtime-dir",
        metavar="FOLDER",
        show_default=False,
        help="The router's runtime folder, else ROUTERCTL_RUNTIME_DIR, else that of a router on port 30000.",
    ),
]
TokenFile = Annotated[
    str | None,
    typer.Option(
        "--admin-token-file",
        metavar="FILE",
        show_default=False,
        help="File with the admin API's token, else ROUTERCTL_ADMIN_TOKEN_FILE, else that of the router on the folder.",
    ),
]


class Answer(NamedTuple):
    """What the admin API said."""

    status: int
    body: bytes


class NotReached(Exception):  # noqa: N818 - it is a state of the router, no fault of the program
    """No answer came; the message says why. `was_sent`: the request may have been taken, and be carried out yet."""

    def __init__(self, message: str, *, was_sent: bool = True) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class Target(NamedTuple):
    """Which router is meant: its runtime folder, and its admin API's address.

    `url` is None when the folder's control plane is down. `is_folder_meant`: the folder tells of the router, too.
    """

    runtime: RuntimeDir
    url: str | None
    is_folder_meant: bool


def checked(url: str) -> str:
    """Return the URL of an admin API. Raises ConfigError when it is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"--admin or ROUTERCTL_ADMIN is {url!r}; write it as http://host:port")
    return url.rstrip("/")


def admin_url(runtime: RuntimeDir) -> str | None:
    """Return where the router on this folder has its admin API; None when its control plane is down."""
    config = read_record(runtime.config, StartConfig)
    if config is None:
        # Nobody has started a router there, so no port is known to be its own.
        return None
    if (record := read_record(runtime.control_plane, ProcessRecord)) is None or not is_alive(record):
        # The port that it had may be another router's by now.
        return None
    return f"{scheme(config.admin_tls_cert)}://{join_address(config.admin_host, config.admin_port)}"


def find(admin: str | None, folder: str | None) -> Target:
    """Return the router that is meant. Raises ConfigError, and RuntimeDirError for a folder of another user.

    What is given on the command line counts before the environment, an address before a folder. The default address
    is asked only where nothing is given and no part of a router runs on the default folder: one that does has its
    own address, and another router may have the default one.
    """
    named = folder or os.environ.get("ROUTERCTL_RUNTIME_DIR")
    runtime = RuntimeDir(Path(named).absolute() if named else default_runtime_dir(StartConfig().port))
    # Who names a folder on the command line means that router, whatever the environment says.
    given = admin or (None if folder else os.environ.get("ROUTERCTL_ADMIN"))
    if given:
        return Target(runtime, checked(given), is_folder_meant=folder is not None or not admin)
    runtime.check_readable()
    url = admin_url(runtime)
    if url is None and not named and not some_of_it_runs(runtime):
        url = DEFAULT_ADMIN
    return Target(runtime, url, is_folder_meant=True)


def may_come_back(admin: str | None, folder: str | None) -> bool:
    """Whether parts of a router run on the folder that is meant, which only lacks its control plane."""
    target = find(admin, folder)
    return target.url is None and some_of_it_runs(target.runtime)


def some_of_it_runs(runtime: RuntimeDir) -> bool:
    """Whether a supervisor or a plane runs on a folder."""
    supervisor = read_record(runtime.supervisor, ProcessRecord)
    return (supervisor is not None and is_alive(supervisor)) or bool(living_planes(runtime))


START_OR_NAME = "start one with `routerctl start`, or name another with --admin URL or --runtime-dir FOLDER"


def nobody(runtime: RuntimeDir) -> str:
    """Return what to say of a folder on which no admin API is known to be, and what to do."""
    if some_of_it_runs(runtime):
        told = "planes go on by what they know (`routerctl status` shows them)"
        return f"no control plane runs on runtime folder {runtime.path}; {told}"
    return f"no router runs on runtime folder {runtime.path}; {START_OR_NAME}"


class Access(NamedTuple):
    """The token to send with its file, and the file of the certificate that must be met where that is known."""

    token: str | None = None
    pinned: str | None = None
    token_file: str = ""


def access_to(url: str, given: str | None, runtime: RuntimeDir) -> Access:
    """Return the token: of the file that was named, else of the one that the router on this folder reads.

    The latter is for that router alone, and goes to no other address. Raises ConfigError.
    """
    config = read_record(runtime.config, StartConfig)
    own = config if config is not None and url == admin_url(runtime) else None
    pinned = own.admin_tls_cert if own is not None else None
    for where, path in (
        ("--admin-token-file", given),
        ("ROUTERCTL_ADMIN_TOKEN_FILE", os.environ.get("ROUTERCTL_ADMIN_TOKEN_FILE")),
        ("--admin-token-file", own.admin_token_file if own is not None else None),
    ):
        if path:
            return Access(read_admin_token(where, Path(path)), pinned, path)
    return Access(None, pinned)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token is for nobody else."""

    def redirect_request(self, *_: object) -> None:
        """Refuse."""
        return


def ask(
    url: str,
    method: str = "GET",
    *,
    access: Access = Access(),  # noqa: B008 - it is a tuple
    body: bytes | None = None,
    timeout: float = TIMEOUT,
) -> Answer:
    """Send a request. Raises NotReached, and ConfigError for a TLS file that can not be used."""
    handlers: list[urllib.request.BaseHandler] = []
    if url.startswith("https:"):
        # Only for those who use it: it takes a while to import.
        from controlplane.cli.admin_tls import context_for

        handlers.append(urllib.request.HTTPSHandler(context=context_for(access.pinned)))
    # A proxy for the outside world has no business between us and our own router.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect(), *handlers)
    request = urllib.request.Request(url, data=body, method=method)  # noqa: S310 - http(s) only, see `checked`
    if body is not None:
        request.add_header("content-type", "application/json")
    if access.token is not None:
        request.add_header("authorization", f"Bearer {access.token}")
    try:
        with opener.open(request, timeout=timeout) as answer:
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read())
    except (OSError, http.client.HTTPException) as error:
        # urllib hides what failed before the answer began in an error of its own.
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            raise NotReached(f"not within {timeout:g} s") from None
        was_sent = not isinstance(cause, ConnectionRefusedError | socket.gaierror)
        said = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
        raise NotReached(said, was_sent=was_sent) from None
