"""How a port of the router proves who it is over TLS, and how its clients do: what its server is given.

granian does its TLS itself (rustls) and reads the files once. So a replaced certificate comes into use with a new
server: of the data port with a new plane, of the admin port with one beside the old (`controlplane/certificates.py`).
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, NamedTuple

from granian.constants import SSLProtocols

from shared.config import SERVER_TLS_FILES, StartConfig, flag_of
from shared.file_identity import file_identity
from shared.tls import load_pair, trust


class ServerTls(NamedTuple):
    """Paths of PEM files, and the flags that name them. With `client_ca` only clients of these authorities come in."""

    cert: str
    key: str
    client_ca: str | None
    flags: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Those that are given."""
        return tuple(path for path in self[:3] if path is not None)


def server_tls(config: StartConfig, fields: tuple[str, ...] = SERVER_TLS_FILES) -> ServerTls | None:
    """Return what the port whose files these fields name has; None: it speaks plain HTTP."""
    cert, key, client_ca = (getattr(config, field) for field in fields)
    return ServerTls(cert, key, client_ca, tuple(map(flag_of, fields))) if cert and key else None


def check(tls: ServerTls) -> None:
    """Read the files. Raises TlsFileError, which names the one that can not be used by its flag."""
    cert_flag, key_flag, ca_flag = tls.flags
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, (cert_flag, tls.cert), (key_flag, tls.key))
    if tls.client_ca is not None:
        trust(context, ca_flag, tls.client_ca)


def identity(tls: ServerTls) -> tuple[object, ...]:
    """Return what is different when a file was replaced."""
    return tuple(file_identity(path) for path in tls.paths)


def tls_options(tls: ServerTls | None) -> dict[str, Any]:
    """Return what granian's server is given: TLS 1.2 or later."""
    if tls is None:
        return {}
    return {
        "ssl_cert": Path(tls.cert),
        "ssl_key": Path(tls.key),
        "ssl_ca": None if tls.client_ca is None else Path(tls.client_ca),
        "ssl_client_verify": tls.client_ca is not None,
        "ssl_protocol_min": SSLProtocols.tls12,
    }
