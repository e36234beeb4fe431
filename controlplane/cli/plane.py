"""`routerctl plane`: planes on this host, of a router whose control plane is on another one."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.options import option
from shared.config import SERVER_TLS_FILES, ConfigError, StartConfig
from shared.config_sources import gather
from shared.remote_address import parse_remote_address

OWN_FIELDS = frozenset(
    {
        "host",
        "port",
        "data_planes",
        "plane_affinity",
        "runtime_dir",
        "drain_delay_secs",
        "shutdown_grace_secs",
        "log_level",
        "hung_plane_secs",
        *SERVER_TLS_FILES,
    }
)
"""What a plane takes at its start; all else comes with the table. `log_level` counts until the first one."""
_LONGEST_NAME = 64

Text = str | None


def plane(
    context: typer.Context,
    control: Annotated[
        str,
        typer.Option(
            metavar="tcp://HOST:PORT",
            envvar="ROUTERCTL_CONTROL",
            show_envvar=False,
            help="Where the control plane listens (its --control-bind).",
            show_default=False,
        ),
    ],
    keys: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            envvar="ROUTERCTL_KEYS",
            show_envvar=False,
            help="These planes' own secret key, NAME.key_secret.",
            show_default=False,
        ),
    ],
    server_key: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            envvar="ROUTERCTL_SERVER_KEY",
            show_envvar=False,
            help="The control plane's public key (server.key), or a folder of several while it is being replaced.",
            show_default=False,
        ),
    ],
    name: Annotated[
        Text,
        typer.Option(metavar="NAME", help="By what this host is shown there. [default: its name]", show_default=False),
    ] = None,
    host: Annotated[Text, option("host")] = None,
    port: Annotated[Text, option("port")] = None,
    data_planes: Annotated[Text, option("data_planes")] = None,
    plane_affinity: Annotated[Text, option("plane_affinity")] = None,
    runtime_dir: Annotated[Text, option("runtime_dir")] = None,
    drain_delay_secs: Annotated[Text, option("drain_delay_secs")] = None,
    shutdown_grace_secs: Annotated[Text, option("shutdown_grace_secs")] = None,
    tls_cert: Annotated[Text, option("tls_cert")] = None,
    tls_key: Annotated[Text, option("tls_key")] = None,
    tls_client_ca: Annotated[Text, option("tls_client_ca")] = None,
    hung_plane_secs: Annotated[Text, option("hung_plane_secs")] = None,
    log_level: Annotated[Text, option("log_level")] = None,
) -> int:
    """Run planes that follow a control plane on another host, over TCP and with keys.

    The control plane must be started with --control-bind, and have these planes' public key.
    """
    given = {field: value for field, value in context.params.items() if field in OWN_FIELDS and value is not None}
    config = gather(given, os.environ, only=OWN_FIELDS).checked()
    return _run(config, control, keys, server_key, socket.gethostname() if name is None else name)


def _run(config: StartConfig, control: str, keys: str, server_key: str, name: str) -> int:
    from controlplane.children import Spawner, own_commands
    from controlplane.opening import EarlySignals
    from controlplane.plane_host import PlaneHost, prepare
    from controlplane.preflight import (
        CanNotStart,
        check_data_port,
        check_log_folder,
        survey,
        take_lock,
        why_not_started,
    )
    from shared.plane_keys import KeyFileError, read_pair, read_publics
    from shared.runtime_dir import RuntimeDir, RuntimeDirError, default_runtime_dir
    from shared.uplink import Uplink, remote_fingerprint

    try:
        address = parse_remote_address("--control", control)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME or " " in name or "/" in name:
        raise ConfigError(f"--name is {name!r}; write 1 to {_LONGEST_NAME} characters without a blank or a slash")
    own, servers = Path(keys).absolute(), Path(server_key).absolute()
    uplink = Uplink(address=address, name=name, keys=str(own), server_keys=str(servers))
    for flag, read, path in (("--keys", read_pair, own), ("--server-key", read_publics, servers)):
        try:
            read(path)
        except KeyFileError as error:
            raise ConfigError(f"{flag}: {error}") from None

    config = config.with_absolute_paths()
    runtime = RuntimeDir(Path(config.runtime_dir) if config.runtime_dir else default_runtime_dir(config.port))
    try:
        runtime.prepare()
        lock = take_lock(runtime)
        found = survey(runtime, config.data_planes)
        if found.control_plane is not None:
            raise CanNotStart(
                f"a router's control plane runs on runtime folder {runtime.path}; give another --runtime-dir"
            )
        check_data_port(config, found)
        check_log_folder(config)
    except (CanNotStart, RuntimeDirError) as error:
        return _can_not(str(error))
    with lock:
        early = EarlySignals()
        early.install()
        try:
            prepare(runtime, config, uplink, found)
        except OSError as error:
            return _can_not(why_not_started(runtime, error))

        import asyncio

        from setproctitle import setproctitle

        from shared.logs import configure_logging

        setproctitle(f"routerctl: planes of {address}")
        configure_logging("supervisor", config.log_level, log_format=config.log_format, folder=config.log_dir)
        spawner = Spawner(runtime, own_commands(runtime, is_remote=True), remote_fingerprint(config, uplink))
        return asyncio.run(PlaneHost(config, runtime, uplink, spawner, found).run(early))


def _can_not(reason: str) -> int:
    print(f"routerctl: error: {reason}", file=sys.stderr)
    return 1
