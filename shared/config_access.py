"""What is a wrong value among those that say who may use the router, and from where."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path

from shared.client_key_list import read_client_keys
from shared.config import ADMIN_TLS_FILES, PROMETHEUS_TLS_FILES, SERVER_TLS_FILES, ConfigError, StartConfig, flag_of
from shared.fault import Fault

ORIGIN = r"^(\*|none|null|[a-z][a-z0-9+.-]*://[^/\s,@?#]+/?)$"


def access_faults(config: StartConfig) -> Iterator[Fault]:
    """Yield everything that can not work."""
    if config.client_keys_file is not None:
        try:
            read_client_keys("--client-keys-file", Path(config.client_keys_file))
        except ConfigError as error:
            yield Fault(("client_keys_file",), str(error))
    yield from _server_tls_faults(config)
    for origin in config.cors_allowed_origins:
        if not re.fullmatch(ORIGIN, origin.lower()):
            text = f"--cors-allowed-origins has {origin!r}; write origins, such as https://chat.example.com, * or none"
            yield Fault(("cors_allowed_origins",), text, origin)
    if len(config.cors_allowed_origins) > 1 and {"*", "none"} & set(config.cors_allowed_origins):
        text = "--cors-allowed-origins has * or none among others; write it alone, or name the origins"
        yield Fault(("cors_allowed_origins",), text)
    for network in config.trusted_proxies:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            text = f"--trusted-proxies has {network!r}; write addresses or networks, such as 10.0.0.0/8"
            yield Fault(("trusted_proxies",), text, network)


def _server_tls_faults(config: StartConfig) -> Iterator[Fault]:
    for fields in (SERVER_TLS_FILES, ADMIN_TLS_FILES, PROMETHEUS_TLS_FILES):
        cert, key, _ = given = [getattr(config, field) for field in fields]
        if not any(path is not None for path in given):
            continue
        if not cert or not key or "" in given:
            flags = " and ".join(map(flag_of, fields[:2]))
            text = f"{flags} belong together, and {flag_of(fields[2])} to both; give files, or none of them"
            yield Fault(fields, text)
            continue
        # Only for those who use it: it takes a while to import.
        from shared.server_tls import check, server_tls
        from shared.tls import TlsFileError

        tls = server_tls(config, fields)
        try:
            if tls is not None:
                check(tls)
        except TlsFileError as error:
            text = str(error)
            yield Fault(tuple(field for field in fields if flag_of(field) in text.split()), text)
