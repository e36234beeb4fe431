"""`routerctl demo`: a simulated fleet, a router before it, one request and its answer; for a first look."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer

from controlplane.cli.argv import UsageProblem, as_fields
from controlplane.cli.demo_children import Child, ChildEndedError, Interrupted, Interrupts, running
from controlplane.cli.ports import free_port, free_ports
from controlplane.cli.start import given_config_file
from shared.clock import SystemClock
from shared.config import StartConfig, flag_of, join_address
from shared.config_sources import resolve

WORKERS = 3
FIRST_WORKER_PORT = 18000
ANSWER_TIMEOUT = 60.0
"""Seconds for the one request: the simulated engine takes well under one."""
_PORTS = (("port", "host"), ("admin_port", "admin_host"), ("prometheus_port", "prometheus_host"))


def demo(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="End after the answer.")] = False,
) -> int:
    """Start three simulated workers with a router before them, send a request and show the answer.

    Every other flag is one of `routerctl start` and is passed on to it. Ctrl-C ends it all.
    """
    given = as_fields(context.args)
    if "worker_urls" in given:
        raise UsageProblem("the demo simulates its workers; for your own use: routerctl start --worker-urls URL ...")
    file = given.pop("config", None)
    config = resolve(given, os.environ, given_config_file(file if isinstance(file, str) else None))
    interrupts = Interrupts()
    answered = False
    try:
        with (
            interrupts.caught(),
            tempfile.TemporaryDirectory(prefix="routerctl-demo-") as folder,
            _started(config, context.args, folder, interrupts) as (router, workers, planned),
        ):
            _introduce(planned)
            answered = True
            if not once:
                print("Ctrl-C ends it.", flush=True)
                router.wait_with(workers)
    except Interrupted:
        return 0 if answered else 130
    except (ChildEndedError, OSError, ValueError) as error:
        print(f"routerctl: error: {error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _started(
    config: StartConfig, arguments: list[str], folder: str, interrupts: Interrupts
) -> Iterator[tuple[Child, Child, StartConfig]]:
    """Run the fleet and the router, ready when entered and ended when left."""
    taken: set[int] = set()
    ports = {field: _port(config, field, host, taken) for field, host in _PORTS}
    first = free_ports("127.0.0.1", FIRST_WORKER_PORT, WORKERS, taken)
    planned = msgspec.structs.replace(
        config,
        worker_urls=tuple(f"http://127.0.0.1:{port}" for port in range(first, first + WORKERS)),
        runtime_dir=config.runtime_dir or f"{folder}/run",
        **ports,
    )
    overrides = [f"{flag_of(field)}={getattr(planned, field)}" for field in ("runtime_dir", *ports)]
    overrides += [f"--worker-urls={url}" for url in planned.worker_urls]
    # People came for the answer, and a simulated worker that is not there at once will not come.
    usual = StartConfig()
    fitting = {"log_level": "warning", "worker_startup_timeout_secs": 30}
    fitting = {field: value for field, value in fitting.items() if getattr(config, field) == getattr(usual, field)}
    overrides += [f"{flag_of(field)}={value}" for field, value in fitting.items()]
    clock = SystemClock()
    simulator = ("controlplane.sim", "--count", str(WORKERS), "--port", str(first))
    start = ("controlplane.cli", "start", *arguments, *overrides)
    with (
        running(clock, interrupts, "the simulated fleet", *simulator) as workers,
        running(clock, interrupts, "the router", *start) as router,
    ):
        print(router.line_starting("ready: ", workers), flush=True)
        yield router, workers, planned


def _port(config: StartConfig, field: str, host: str, taken: set[int]) -> int:
    port: int = getattr(config, field)
    # A port that somebody chose is theirs to free; only a default may move.
    return free_port(getattr(config, host), port, taken) if port == getattr(StartConfig(), field) else port


def _introduce(config: StartConfig) -> None:
    url = _reachable(config.host, config.port)
    model = _ask(f"{url}/v1/models")["data"][0]["id"]
    request = {"model": model, "messages": [{"role": "user", "content": "Say hello to the fleet."}]}
    answer = _ask(f"{url}/v1/chat/completions", request)
    body = json.dumps(request)
    print(f"\n> {request['messages'][0]['content']}\n{answer['choices'][0]['message']['content']}\n")
    print(f"workers   {' '.join(config.worker_urls)}")
    print(f"clients   {url}/v1")
    print(f"admin     {_reachable(config.admin_host, config.admin_port)} (a page for your browser, too)")
    print(f"metrics   {_reachable(config.prometheus_host, config.prometheus_port)}/metrics")
    print(f"\ncurl {url}/v1/chat/completions -H 'content-type: application/json' -d {shlex.quote(body)}\n", flush=True)


def _reachable(host: str, port: int) -> str:
    any_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return f"http://{join_address(any_address.get(host, host), port)}"


def _ask(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310 - our own http URL
    # A proxy for the outside world has no business between us and our own router.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_TIMEOUT) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise OSError(f"{url} answered {error.code}: {error.read(500).decode(errors='replace')}") from None
