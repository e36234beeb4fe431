"""Certificates for a router's ports, and for those who come to them."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

import trustme


class Papers:
    """An authority, what it has given the router, and what its clients have."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.ca, self.cert, self.key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
        self.client, self.client_key = folder / "client.pem", folder / "client-key.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        client = self.authority.issue_cert("client.test")
        client.cert_chain_pems[0].write_to_path(str(self.client))
        client.private_key_pem.write_to_path(str(self.client_key))
        self.serial = self.renew()

    def renew(self) -> str:
        """Give the router another certificate, each file by itself as people do; return its serial number."""
        leaf = self.authority.issue_cert("127.0.0.1")
        for path, content in (
            (self.cert, b"".join(one.bytes() for one in leaf.cert_chain_pems)),
            (self.key, leaf.private_key_pem.bytes()),
        ):
            new = path.with_suffix(".new")
            new.write_bytes(content)
            os.replace(new, path)
        self.serial = str(ssl._ssl._test_decode_cert(str(self.cert))["serialNumber"])  # type: ignore[attr-defined]
        return self.serial

    def context(self, *, with_certificate: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if with_certificate:
            context.load_cert_chain(self.client, self.client_key)
        return context

    @property
    def flags(self) -> tuple[str, ...]:
        """Those of all ports."""
        return (*self.flags_of("tls"), *self.flags_of("admin-tls"), *self.flags_of("prometheus-tls"))

    def flags_of(self, port: str) -> tuple[str, ...]:
        """Those of one port."""
        files = (("cert", self.cert), ("key", self.key), ("client-ca", self.ca))
        return tuple(f"--{port}-{name}={path}" for name, path in files)


def serial_at(port: int, papers: Papers) -> str:
    """The serial number of the certificate that a new connection meets."""
    with (
        socket.create_connection(("127.0.0.1", port), 30) as plain,
        papers.context().wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        return str((connection.getpeercert() or {})["serialNumber"])
