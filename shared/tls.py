"""How workers prove who they are over https, and how the router does: one set of rules for every connection to them.

Forwarding, health checks, scrapes and model lists all take their context from a `WorkerTls`. The certificate must
be signed by an authority that is trusted and be valid for the worker's name; there is no switch that turns this off.

Files may be replaced while the router runs. They are looked at about once a second, and new connections are made
with what they hold now. A replacement that can not be used (half written, or a key whose certificate is still to
come) changes nothing and is logged once.

TLS sessions are not resumed: with uvloop that cost a plane as much CPU as a new handshake (0.8 ms each; with a client
certificate 0.9 against 1.2 ms), and a resumed session would not have the worker prove itself again.
"""

from __future__ import annotations

import logging
import os
import ssl
import stat
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from shared.file_identity import file_identity

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the files."""

_CERTIFICATE = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_PRIVATE_KEY = b"PRIVATE KEY-----"
_ENCRYPTED = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")
CA_FLAG = "--worker-ca-file"
CLIENT_CERT_FLAG = "--worker-client-cert"
CLIENT_KEY_FLAG = "--worker-client-key"

# OpenSSL's codes: no way from the worker's certificate to an authority that is trusted; a certificate for another name.
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
_OTHER_NAME = frozenset({62, 64})
# Alerts by which a server says that it wants a client certificate (with TLS 1.2 it may also be something else), ...
_CERTIFICATE_MISSING = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED"})
_CERTIFICATE_PERHAPS_MISSING = frozenset({"SSLV3_ALERT_HANDSHAKE_FAILURE"})
# ... and that it does not like ours. No other certificate is ever the server's to judge.
_CERTIFICATE_REFUSED = frozenset(
    {
        "TLSV1_ALERT_UNKNOWN_CA",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_DECRYPT_ERROR",
    }
)
# What a server that speaks plain HTTP looks like to OpenSSL.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})

log = logging.getLogger(__name__)


class TlsFileError(OSError):
    """A file that can not be used. The message names it by its flag and says what is wrong and what to do."""


class TlsConfig(NamedTuple):
    """Paths of PEM files, and the name that workers' certificates must have; None is the URL's host.

    Without `ca_file` the system's authorities are trusted, with it only those in it.
    """

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    server_name: str | None = None

    def files(self) -> tuple[str, ...]:
        """Return the paths that are given."""
        return tuple(path for path in self[:3] if path is not None)


SYSTEM = TlsConfig()
"""The system's authorities, and no client certificate."""


class _Given(Protocol):
    """What has these values among others: the configuration, and the settings in the table."""

    @property
    def worker_ca_file(self) -> str | None: ...
    @property
    def worker_client_cert(self) -> str | None: ...
    @property
    def worker_client_key(self) -> str | None: ...
    @property
    def worker_server_name(self) -> str | None: ...


def tls_config(given: _Given) -> TlsConfig:
    """Return the part that is about TLS."""
    return TlsConfig(given.worker_ca_file, given.worker_client_cert, given.worker_client_key, given.worker_server_name)


def load(config: TlsConfig) -> ssl.SSLContext:
    """Return a context for connections to workers. Raises TlsFileError."""
    ca_file, cert, key, _ = config
    if key is not None and cert is None:
        raise TlsFileError(f"{CLIENT_KEY_FLAG} is given without {CLIENT_CERT_FLAG}; give both")
    if ca_file is None:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust(context, CA_FLAG, ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if cert is not None:
        load_pair(context, (CLIENT_CERT_FLAG, cert), (CLIENT_KEY_FLAG, key))
    return context


def trust(context: ssl.SSLContext, flag: str, path: str) -> bytes:
    """Take the certificates in a file as authorities; return the file's content. Raises TlsFileError."""
    text = _read(flag, path)
    if not any(mark in text for mark in _CERTIFICATE):
        raise TlsFileError(_no_pem(flag, path, "certificate"))
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise TlsFileError(_broken(flag, path, error)) from None
    return text


def load_pair(context: ssl.SSLContext, given_cert: tuple[str, str], given_key: tuple[str, str | None]) -> None:
    """Take a certificate and its key, each as the flag and the path; a key of None is in the certificate's file.

    Raises TlsFileError.
    """
    (cert_flag, cert), (key_flag, key) = given_cert, given_key
    # Trusts nobody: only to know whether it is this file or the key that can not be used.
    certificates = trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert_flag, cert)
    flag, path = (cert_flag, cert) if key is None else (key_flag, key)
    keys = certificates if key is None else _read(key_flag, key)
    if _PRIVATE_KEY not in keys:
        if key is None:
            raise TlsFileError(f"{cert_flag} {cert} holds no private key; give its file with {key_flag}")
        raise TlsFileError(_no_pem(key_flag, key, "private key"))
    if any(mark in keys for mark in _ENCRYPTED):
        raise TlsFileError(_encrypted(flag, path))
    try:
        # OpenSSL would ask for a password on the terminal.
        context.load_cert_chain(cert, key, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            of = cert if key is None else f"{cert_flag} {cert}"
            raise TlsFileError(f"{flag} {path} is not the key of {of}; give the two that belong together") from None
        raise TlsFileError(_broken(flag, path, error)) from None
    except OSError as error:
        raise TlsFileError(_broken(flag, path, error)) from None


def _read(flag: str, path: str) -> bytes:
    try:
        # A pipe, such as bash's <(...), could be read once and by one process only.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise TlsFileError(f"{flag} {path} is not a file; give the path of a PEM file")
        with open(path, "rb") as file:
            return file.read()
    except TlsFileError:
        raise
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise TlsFileError(f"{flag} {path}: {what}; give the path of a PEM file that this user may read") from None


def _no_pem(flag: str, path: str, what: str) -> str:
    return f"{flag} {path} holds no {what} in PEM format (-----BEGIN {what.upper()}-----); convert it with openssl"


def _encrypted(flag: str, path: str) -> str:
    return f"{flag} {path} is encrypted; write it without a password: openssl pkey -in {path} -out KEY, mode 0600"


def _broken(flag: str, path: str, error: OSError) -> str:
    what = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return f"{flag} {path} can not be used ({_spoken(what or str(error))}); give a whole PEM file"


class WorkerTls:
    """The present context, and the files that it was made of."""

    def __init__(self, config: TlsConfig = SYSTEM, clock: Callable[[], float] = time.monotonic) -> None:
        """Open nothing yet; `clock` gives monotonic seconds."""
        self._config = config
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._problem: TlsFileError | None = None
        self._seen: object = None
        self._checked = 0.0

    @property
    def server_name(self) -> str | None:
        """The name that workers' certificates must have; None is the URL's host."""
        return self._config.server_name

    def use(self, config: TlsConfig) -> None:
        """Take other files and another name from now on."""
        if config != self._config:
            self._config = config
            self._context = self._problem = self._seen = None

    def context(self) -> ssl.SSLContext:
        """Return what new connections are to be made with.

        Raises TlsFileError when the files can not be used and never could: nothing else may take their place.
        """
        if self._seen is None:
            self._reload(self._signature())
        elif self._clock() - self._checked >= CHECK_INTERVAL:
            self.refresh()
        if self._context is None:
            raise self._problem or TlsFileError("nothing is loaded")
        return self._context

    def refresh(self) -> None:
        """Look whether the files were replaced since the context was made. A few stat calls."""
        self._checked = self._clock()
        if self._seen is not None and (signature := self._signature()) != self._seen:
            self._reload(signature)

    def is_current(self, context: ssl.SSLContext | None) -> bool:
        """Whether a connection that was made with `context` would be made so again."""
        return context is self._context

    def _reload(self, signature: object) -> None:
        # Looked at before it is read: what is replaced in between looks different the next time.
        first, self._seen, self._checked = self._seen is None, signature, self._clock()
        try:
            self._context = load(self._config)
        except TlsFileError as error:
            kept = "; connections to workers are made with what it was before" if self._context else ""
            log.error("%s%s", error, kept)
            self._problem = error
        else:
            self._problem = None
            if not first:
                log.info("the TLS files for workers have changed and are in use: %s", ", ".join(self._config.files()))

    def _signature(self) -> object:
        return tuple(file_identity(path) for path in self._config.files())


def explain(error: ssl.SSLError) -> str:
    """Return "TLS failed: " with the cause, and what to do where that can be told. It may name the worker's host."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what = f"TLS failed: {error.verify_message}"
        if error.verify_code in _UNKNOWN_AUTHORITY:
            return f"{what} (name the worker's authority with {CA_FLAG})"
        if error.verify_code in _OTHER_NAME:
            return f"{what} (name the one that it has with --worker-server-name)"
        return what
    # One that Python made, not OpenSSL, has a text only.
    reason = getattr(error, "reason", None) or str(error.args[-1] if error.args else error)
    what = f"TLS failed: {_spoken(reason)}"
    if reason in _CERTIFICATE_MISSING:
        return f"{what} (the worker asks for a client certificate: {CLIENT_CERT_FLAG})"
    if reason in _CERTIFICATE_PERHAPS_MISSING:
        return f"{what} (does the worker ask for a client certificate? {CLIENT_CERT_FLAG})"
    if reason in _CERTIFICATE_REFUSED:
        return f"{what} (the worker does not accept the client certificate: {CLIENT_CERT_FLAG})"
    if reason in _NO_TLS:
        return f"{what} (does the worker speak TLS? Its URL says https)"
    return what


def _spoken(reason: str) -> str:
    return reason.replace("_", " ").lower() if reason.isupper() else reason
