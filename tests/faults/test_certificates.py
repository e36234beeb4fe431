"""G-CERT-1: certificates of the router's own ports are replaced under load, and no request fails."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.faults.hard_clients import HardClients
from tests.faults.papers import Papers, serial_at
from tests.integration.routers import Router, eventually, router_before, simulated_fleet

TOKEN = "a-token-nobody-guesses"
TIMES = [1, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def router(papers: Papers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    with (
        simulated_fleet(tmp_path_factory.mktemp("fleet"), 2, "--record=0") as workers,
        router_before(
            tmp_path_factory.mktemp("router"), workers, *papers.flags, f"--prometheus-token-file={token}", planes=2
        ) as router,
    ):
        yield router


def all_meet(port: int, papers: Papers) -> bool:
    return all(serial_at(port, papers) == papers.serial for _ in range(12))


@pytest.mark.parametrize("times", TIMES)
def test_g_cert_1_certificates_are_replaced_under_load(router: Router, papers: Papers, times: int) -> None:
    assert router.output.startswith(f"ready: https://127.0.0.1:{router.port} ")
    with HardClients(router.port, kept=4, new=2, streams=2, tls=papers.context()) as load:
        eventually(lambda: min(load.answered.values()) > 2, "every kind of client to be answered")
        for _ in range(times):
            papers.renew()
            eventually(lambda: all_meet(router.port, papers), "the new certificate on every plane")
        eventually(lambda: all_meet(router.admin_port, papers), "the new certificate on the admin port")
        eventually(lambda: all_meet(router.prometheus_port, papers), "the new certificate on the metrics port")
        if times > 1:
            eventually(lambda: len(router.plane_pids()) == 2, "the old planes' ends")
    assert load.failed == []


def test_a_replacement_that_can_not_be_used_changes_nothing(router: Router, papers: Papers) -> None:
    before, key = papers.serial, papers.key.read_bytes()
    papers.key.write_bytes(b"half of a key")
    eventually(lambda: "--tls-key" in router.errors and "stays in use" in router.errors, "the word in the log")
    assert serial_at(router.port, papers) == before
    papers.key.write_bytes(key)
    assert serial_at(router.port, papers) == before


def come_in_without_certificate(port: int, papers: Papers) -> None:
    with (
        socket.create_connection(("127.0.0.1", port), 30) as plain,
        papers.context(with_certificate=False).wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        # In TLS 1.3 a client hears of it with the first thing that it reads.
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        if not connection.recv(100):
            raise ConnectionError("closed")


@pytest.mark.parametrize("port", ["port", "admin_port", "prometheus_port"])
def test_only_clients_with_a_certificate_come_in(router: Router, papers: Papers, port: str) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        come_in_without_certificate(getattr(router, port), papers)


def test_metrics_are_told_over_tls_to_who_has_the_token(router: Router, papers: Papers) -> None:
    with httpx.Client(verify=papers.context(), trust_env=False, timeout=30) as client:
        url = f"https://127.0.0.1:{router.prometheus_port}/metrics"
        assert client.get(url).status_code == 401
        told = client.get(url, headers={"authorization": f"Bearer {TOKEN}"})
        assert "routerctl_workers{" in told.text


def test_commands_know_their_router_by_its_certificate(router: Router, papers: Papers) -> None:
    command = (sys.executable, "-m", "controlplane.cli", "workers", "list", f"--runtime-dir={router.runtime.path}")
    own = {"ROUTERCTL_ADMIN_CERT": str(papers.client), "ROUTERCTL_ADMIN_KEY": str(papers.client_key)}
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env={**os.environ, **own})
    assert told.returncode == 0, told.stderr
