"""`routerctl register`: announces an engine to routers, from beside it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.options import option
from controlplane.cli.workers_attributes import labels_of, role_of
from shared.config import ConfigError

if TYPE_CHECKING:
    from controlplane.register.given import Given
    from controlplane.register.service import Plan
    from shared.remote_address import TcpAddress

MODES = ("read", "write")

Text = str | None
Number = int | None
_Url = Annotated[str, typer.Option(metavar="URL", help="The engine, as this process reaches it.", show_default=True)]


def register(
    router: Annotated[
        list[str],
        typer.Option(
            metavar="tcp://HOST:PORT",
            envvar="ROUTERCTL_ROUTER",
            show_envvar=False,
            help="Where a router takes registrations; may be repeated.",
            show_default=False,
        ),
    ],
    url: _Url = "http://127.0.0.1:8000",
    advertise_url: Annotated[
        Text,
        typer.Option(
            metavar="URL",
            help="The engine as routers reach it. [default: --url; from loopback, our address towards the router]",
            show_default=False,
        ),
    ] = None,
    role: Annotated[
        Text,
        typer.Option(
            metavar="ROLE",
            help="regular, prefill or decode. [default: what the engine tells, else regular]",
            show_default=False,
        ),
    ] = None,
    connector: Annotated[
        str, typer.Option(metavar="NAME", help="How it hands KV cache over, such as nixl.", show_default=False)
    ] = "",
    address: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Its address for KV cache: host:port (nccl), host:IP,handshake:PORT,notify:PORT (moriio).",
            show_default=False,
        ),
    ] = "",
    mode: Annotated[Text, typer.Option(metavar="read|write", help="Of moriio: who moves the cache.")] = None,
    bootstrap_port: Annotated[
        Number, typer.Option(metavar="PORT", help="Of mooncake: its bootstrap server's port.")
    ] = None,
    dp_size: Annotated[Number, typer.Option(metavar="N", help="Its data-parallel ranks.")] = None,
    tp_size: Annotated[Number, typer.Option(metavar="N", help="Its tensor-parallel ranks.")] = None,
    ranks: Annotated[
        Number, typer.Option(metavar="N", help="Data-parallel ranks that requests can name; each becomes a worker.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A model it serves; may be repeated.", show_default=False)
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=TEXT", help="May be repeated.", show_default=False)
    ] = None,
    weight: Annotated[float | None, typer.Option(metavar="FACTOR", help="Its share of the requests.")] = None,
    capacity: Annotated[float | None, typer.Option(metavar="N", help="How many requests it takes well.")] = None,
    max_concurrent_requests: Annotated[
        Number, typer.Option(metavar="N", help="How many requests it may have at a time; 0: any number.")
    ] = None,
    priority: Annotated[Number, typer.Option(metavar="N", help="Higher ones are used first.")] = None,
    interval: Annotated[float, typer.Option(metavar="SECS", help="Between pings.")] = 3.0,
    startup_timeout_secs: Annotated[
        float,
        typer.Option(metavar="SECS", help="End with exit code 1 if no router has the worker by then; 0: never."),
    ] = 0.0,
    keys: Annotated[
        Text,
        typer.Option(
            metavar="FILE",
            envvar="ROUTERCTL_KEYS",
            show_envvar=False,
            help="This worker's own secret key, NAME.key_secret. With it all is encrypted and both sides are proven.",
        ),
    ] = None,
    server_key: Annotated[
        Text,
        typer.Option(
            metavar="FILE",
            envvar="ROUTERCTL_SERVER_KEY",
            show_envvar=False,
            help="The routers' public key (server.key), or a folder of several.",
        ),
    ] = None,
    api_key_file: Annotated[
        Text,
        typer.Option(metavar="FILE", help="File with the key that the engine asks for, to find out what it tells."),
    ] = None,
    worker_ca_file: Annotated[Text, option("worker_ca_file")] = None,
    log_level: Annotated[str, option("log_level")] = "info",
) -> int:
    """Announce an engine to routers, until SIGTERM: then it says goodbye.

    It waits for the engine, finds out what that tells of itself, pings each --interval, and says goodbye when the
    engine is gone. Flags count over what the engine tells.
    """
    from setproctitle import setproctitle

    from controlplane.register.facts import CONNECTORS
    from controlplane.register.given import Given
    from controlplane.register.service import Plan, run
    from shared.config_pd import KV_CONNECTORS, misspelt_connector
    from shared.logs import LEVELS, configure_logging
    from shared.tls import TlsConfig

    if log_level not in LEVELS:
        raise ConfigError(f"--log-level is {log_level!r}; choose one of: {', '.join(LEVELS)}")
    if mode not in (None, *MODES):
        raise ConfigError(f"--mode is {mode!r}; write read or write")
    if (meant := CONNECTORS.get(connector) or misspelt_connector(connector)) is not None:
        raise ConfigError(
            f"--connector is {connector!r}; did you mean {meant}? There are {', '.join(KV_CONNECTORS)}, and those that "
            "the routers have of others"
        )
    said = Given(
        interval=interval,
        role=role_of(role),
        models=tuple(model) if model else None,
        ranks=ranks,
        connector=connector,
        address=address,
        mode="read" if mode == "read" else "write" if mode == "write" else None,
        bootstrap_port=bootstrap_port,
        dp_size=dp_size,
        tp_size=tp_size,
        labels={name: text for name, text in labels_of(label or (), removes=False).items() if text is not None},
        weight=weight,
        capacity=capacity,
        max_concurrent_requests=max_concurrent_requests,
        priority=priority,
    )
    routers = _routers(router)
    _check(said, url, advertise_url, startup_timeout_secs)
    plan = Plan(
        given=said,
        url=url.rstrip("/"),
        advertise=None if advertise_url is None else advertise_url.rstrip("/"),
        routers=routers,
        keys=_key_files(keys, server_key),
        tls=TlsConfig(ca_file=worker_ca_file),
        api_key_file=api_key_file,
        startup_timeout=startup_timeout_secs,
    )
    _check_files(plan)
    setproctitle(f"routerctl: registers {plan.url}")
    configure_logging("register", log_level)
    if connector and connector not in KV_CONNECTORS:
        logging.getLogger("register").warning(
            "--connector %s is none of routerctl's own (%s): the routers must have it as --kv-connector",
            connector,
            ", ".join(KV_CONNECTORS),
        )
    return run(plan)


def _routers(texts: list[str]) -> tuple[TcpAddress, ...]:
    from shared.remote_address import parse_tcp_address

    try:
        # From the environment several come in one text.
        found = [parse_tcp_address("--router", one) for text in texts for one in text.replace(",", " ").split()]
    except ValueError as error:
        raise ConfigError(str(error)) from None
    for one in found:
        if found.count(one) > 1:
            raise ConfigError(f"--router names {one} twice; name each router once")
    if not found:
        raise ConfigError("--router is empty; write tcp://HOST:PORT")
    return tuple(found)


def _key_files(keys: str | None, server_key: str | None) -> tuple[Path, Path] | None:
    from shared.plane_keys import KeyFileError, read_pair, read_publics

    if keys is None and server_key is None:
        return None
    if keys is None or server_key is None:
        given, other = ("--keys", "--server-key") if server_key is None else ("--server-key", "--keys")
        raise ConfigError(f"{given} has no effect without {other}; give both or neither")
    own, servers = Path(keys).absolute(), Path(server_key).absolute()
    try:
        read_pair(own)
    except KeyFileError as error:
        raise ConfigError(f"--keys: {error}") from None
    try:
        read_publics(servers)
    except KeyFileError as error:
        raise ConfigError(f"--server-key: {error}") from None
    return own, servers


def _check_files(plan: Plan) -> None:
    from shared.tls import TlsFileError, load
    from shared.worker_key import read_worker_key

    if plan.api_key_file is not None:
        read_worker_key("--api-key-file", Path(plan.api_key_file))
    try:
        load(plan.tls)
    except TlsFileError as error:
        raise ConfigError(str(error)) from None


def _check(said: Given, url: str, advertise_url: str | None, startup_timeout: float) -> None:
    from controlplane.register.announcing import Course
    from controlplane.register.facts import Facts
    from shared.registration import RegistrationError, encode_registration
    from shared.worker_url import check_worker_url

    check_worker_url("--url", url)
    if advertise_url is not None:
        check_worker_url("--advertise-url", advertise_url)
    if not 0 <= startup_timeout <= 604800:
        raise ConfigError(f"--startup-timeout-secs is {startup_timeout:g}; write a number from 0 to 604800")
    course = Course(said, (advertise_url or url).rstrip("/"), "check", lambda low, high: high)
    try:
        if (hello := course.seen(Facts(), now=0.0, wall=0.0)) is not None:
            encode_registration(hello)
    except RegistrationError as error:
        raise ConfigError(f"this can not be announced: {error}") from None
