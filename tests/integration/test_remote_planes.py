"""Planes that follow a control plane over TCP: what they do as others do, and who does not get in."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from controlplane.client_keys_file import KeysFile
from shared.client_key_list import KeyEntry
from shared.client_keys import digest_of, new_key
from shared.plane_keys import fingerprint, read_pair
from tests.faults.load import Load
from tests.faults.papers import Papers, serial_at
from tests.integration.commands import routerctl
from tests.integration.remote_planes import (
    PlaneHost,
    Site,
    connections,
    models,
    new_keys,
    plane_host,
    seen,
    settings_of,
    state,
    status,
)
from tests.integration.routers import eventually, samples, simulated_fleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 3, "--time-scale=0", "--record=0") as urls:
        yield urls


@pytest.fixture
def site(tmp_path: Path, fleet: list[str]) -> Iterator[Site]:
    site = Site(tmp_path, fleet[:2])
    try:
        site.router.start().ready()
        yield site
    finally:
        site.router.close()


@pytest.fixture
def far(site: Site) -> Iterator[PlaneHost]:
    with plane_host(site.folder / "f", site.control, site.own_key, site.server_key) as host:
        yield host.ready()


def pids(host: PlaneHost) -> set[int]:
    return {plane.process.pid for plane in host.planes()}


def workers_of(host: PlaneHost) -> int:
    found: int = httpx.get(f"{host.url}/readiness", timeout=30, trust_env=False).json()["total_workers"]
    return found


def asked(worker: str) -> int:
    """Prompt tokens that a simulated worker has read: it grows with each request, and with nothing else."""
    tokens: int = httpx.get(f"{worker}/sim/state", timeout=30).json()["engine"]["prompt_tokens"]
    return tokens


def fifty_pass_by(load: Load, worker: str) -> bool:
    """Whether no more requests come to a worker while others answer fifty."""
    before, goal = asked(worker), load.total + 50
    eventually(lambda: load.total >= goal, "answers")
    return asked(worker) == before


def change_workers(site: Site, *arguments: str) -> None:
    done = routerctl("workers", *arguments, f"--runtime-dir={site.router.runtime.path}")
    assert done.returncode == 0, done.stderr


def test_a_plane_on_another_host_serves_and_follows(site: Site, far: PlaneHost, fleet: list[str]) -> None:
    assert models(far) == 200
    eventually(lambda: state(site.router) == "serving", "the plane to be shown")
    text = routerctl("status", f"--runtime-dir={site.router.runtime.path}").stdout
    assert "plane far/0 serving" in " ".join(text.split())
    assert "plane 0 serving" in " ".join(text.split())
    # It counts where the load of other planes is taken for as much as the own.
    eventually(lambda: settings_of(site.router)["data_planes"] == 2, "the plane to be counted")

    change_workers(site, "add", fleet[2])
    eventually(lambda: workers_of(far) == 3, "the third worker")
    with Load(far.url, 2) as load:
        eventually(lambda: asked(fleet[2]) > 0, "requests there")
        # The command's answer comes when every plane, the far one too, routes by it.
        change_workers(site, "drain", fleet[2])
        # What was on its way to it may still come to it.
        eventually(lambda: fifty_pass_by(load, fleet[2]), "fifty requests elsewhere")
        before = asked(fleet[2])
        change_workers(site, "undrain", fleet[2])
        eventually(lambda: asked(fleet[2]) > before, "requests there again")
        change_workers(site, "remove", fleet[0])
        eventually(lambda: workers_of(far) == 2, "one worker less")
    assert load.failed == []
    # Its requests are part of the router's figures.
    eventually(lambda: samples(site.router)["routerctl_finished_requests_total"] >= load.total, "its figures")

    assert far.stop() == 0
    eventually(lambda: seen(site.router) is None, "its goodbye to be heard")
    eventually(lambda: settings_of(site.router)["data_planes"] == 1, "the plane to be counted no more")


def test_its_supervisor_may_die_and_the_next_one_adopts_it(site: Site, far: PlaneHost) -> None:
    before = far.planes()
    far.process.kill()
    far.process.wait()
    assert models(far) == 200
    far.start().ready()
    assert far.planes() == before
    assert far.stop() == 0
    assert far.planes() == []


def test_with_other_flags_its_planes_are_replaced_under_load(site: Site, far: PlaneHost) -> None:
    before = far.planes()
    far.process.kill()
    far.process.wait()
    with Load(far.url, 4) as load:
        far.start("--shutdown-grace-secs=7").ready()
        eventually(lambda: len(far.planes()) == 1 and far.planes() != before, "the old plane to end")
        eventually(
            lambda: (plane := seen(site.router)) is not None and plane["pid"] == far.planes()[0].process.pid,
            "the new one to be shown",
        )
    assert load.failed == []


def test_it_goes_on_without_the_control_plane_and_takes_up_the_next_one(site: Site, far: PlaneHost) -> None:
    router = site.router
    eventually(lambda: state(router) == "serving", "the plane to be shown")
    before = router.control_plane_pid()
    assert before is not None
    with Load(far.url, 4) as load:
        os.kill(before, signal.SIGKILL)
        eventually(lambda: router.control_plane_pid() not in (None, before), "the next control plane")
        eventually(lambda: state(router) == "serving", "the plane to be shown by it")
        epoch = status(router)["control_plane"]["table"]["epoch"]
        eventually(lambda: (p := seen(router)) is not None and p["table"]["epoch"] == epoch, "the next epoch's table")
    assert load.failed == []


def test_it_serves_from_its_own_disk_when_it_starts_without_the_control_plane(site: Site, far: PlaneHost) -> None:
    eventually(far.runtime.table.exists, "the table on its disk")
    assert far.stop() == 0
    assert site.router.stop() == 0
    far.start().ready()
    assert models(far) == 200
    assert httpx.get(f"{far.url}/readiness", trust_env=False).status_code == 200


def test_a_key_that_is_taken_out_cuts_off_and_one_that_is_put_back_lets_in(site: Site, far: PlaneHost) -> None:
    router, public = site.router, site.keys / "planes" / "far.key"
    eventually(lambda: state(router) == "serving", "the plane to be shown")
    key = public.read_bytes()
    with Load(far.url, 2) as load:
        public.unlink()
        eventually(lambda: state(router) == "silent", "it to be cut off")
        eventually(lambda: "serving from the last known table" in far.errors, "it to be stale")
        eventually(lambda: settings_of(router)["data_planes"] == 1, "it to be counted no more")
        eventually(lambda: "is not in" in router.errors, "a line in the log")
        assert connections(router, "unknown_key") > 0
        public.write_bytes(key)
        eventually(lambda: state(router) == "serving", "it to be let in again")
    assert load.failed == []
    assert read_pair(site.own_key).secret.decode() not in router.errors + far.errors


def test_the_planes_key_is_replaced_under_load(site: Site, far: PlaneHost) -> None:
    router = site.router
    with Load(far.url, 4) as load:
        new_keys(site.keys, "next")
        eventually(lambda: "other hosts: 2 may connect" in router.errors, "the new key to be known")
        os.replace(site.keys / "next.key_secret", site.own_key)
        eventually(lambda: "connecting anew" in far.errors, "the new key to be used")
        (site.keys / "planes" / "far.key").unlink()
        eventually(lambda: router.errors.count("other hosts: 1 may connect") == 2, "the old key to be gone")
        eventually(lambda: state(router) == "serving", "it to be let in by the new one")
    assert load.failed == []


def test_the_control_planes_key_is_replaced_under_load(site: Site, tmp_path: Path) -> None:
    known = tmp_path / "server-keys"
    known.mkdir()
    known.joinpath("1.key").write_bytes(site.server_key.read_bytes())
    coming = new_keys(tmp_path / "coming", "server")
    with ExitStack() as stack:
        host = stack.enter_context(plane_host(tmp_path / "f", site.control, site.own_key, known)).ready()
        load = stack.enter_context(Load(host.url, 4))
        near = stack.enter_context(Load(site.router.url, 2))
        known.joinpath("2.key").write_bytes((coming / "server.key").read_bytes())
        pid = site.router.control_plane_pid()
        os.replace(coming / "server.key_secret", site.keys / "server.key_secret")
        eventually(lambda: state(site.router) == "silent" or "is silent" in host.errors, "the old key to be gone")
        eventually(lambda: host.errors.count("control plane is heard") >= 2, "it to find the new key")
        known.joinpath("1.key").unlink()
        eventually(lambda: state(site.router) == "serving", "it to serve")
    assert load.failed == []
    assert near.failed == []
    assert site.router.control_plane_pid() == pid


def test_where_nobody_answers_that_is_said(site: Site, far: PlaneHost) -> None:
    site.router.close()
    eventually(lambda: "is not heard: no connection comes about" in far.errors, "the cause in the log")
    told = routerctl("status", f"--runtime-dir={far.runtime.path}").stdout
    assert f"control plane at {site.control}: not reached for " in told


def test_a_wrong_key_gets_no_table(site: Site, tmp_path: Path) -> None:
    other = new_keys(tmp_path / "other", "server", "stranger")
    stranger = other / "stranger.key_secret"
    with (
        plane_host(tmp_path / "a", site.control, stranger, site.server_key, name="a") as unknown,
        plane_host(tmp_path / "b", site.control, site.own_key, other / "server.key", name="b") as misled,
    ):
        eventually(lambda: connections(site.router, "unknown_key") > 0, "a refusal")
        eventually(lambda: connections(site.router, "no_key") > 0, "the other refusal")
        # Each side names the same key.
        key = fingerprint(read_pair(stranger).public)
        eventually(lambda: "our key is not let in" in unknown.errors, "the cause in the log")
        assert key in unknown.errors
        assert key in site.router.errors
        eventually(lambda: "has not the key of --server-key" in misled.errors, "the other cause in the log")
        told = routerctl("status", f"--runtime-dir={unknown.runtime.path}").stdout
        assert f"control plane at {site.control}: never reached" in told
        assert "--worker-urls" not in told
        for host in (unknown, misled):
            assert not host.runtime.table.exists()
            assert host.output == ""
        assert {plane["host"] for plane in status(site.router)["planes"]} == {""}


def test_a_file_that_the_table_names_must_be_there_too(
    tmp_path: Path, fleet: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A plane's host has other files: it says which is missing, and does not serve without."""
    import trustme

    authority = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authority))
    site = Site(tmp_path, fleet[:1], f"--worker-ca-file={authority}")
    try:
        site.router.start().ready()
        # The file goes after the router has read it: for the plane it is as on a host that never had it.
        authority.rename(tmp_path / "moved.pem")
        with plane_host(tmp_path / "f", site.control, site.own_key, site.server_key) as host:
            eventually(lambda: state(site.router) == "refusing", "it to refuse the table")
            refused = (seen(site.router) or {})["refused"]
            assert str(authority) in refused
            assert "on this host, too" in refused
            (tmp_path / "moved.pem").rename(authority)
            os.kill(host.planes()[0].process.pid, signal.SIGKILL)
            host.ready()
    finally:
        site.router.close()


def test_it_is_refused_without_keys(tmp_path: Path) -> None:
    refused = routerctl("start", "--control-bind=tcp://127.0.0.1:30100", f"--runtime-dir={tmp_path}/run")
    assert refused.returncode == 2
    assert "--control-keys" in refused.stderr
    assert "routerctl keys new" in refused.stderr
    keys = new_keys(tmp_path / "keys", "server", "far")
    for name in ("server", "far"):
        (keys / f"{name}.key_secret").chmod(0o640)
    start = routerctl("start", "--control-bind=tcp://127.0.0.1:30100", f"--control-keys={keys}")
    plane = routerctl(
        "plane",
        "--control=tcp://127.0.0.1:30100",
        f"--keys={keys}/far.key_secret",
        f"--server-key={keys}/server.key",
    )
    for refused in (start, plane):
        assert refused.returncode == 2
        assert "run: chmod 600" in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_a_reload_is_tried_there_too(tmp_path: Path, fleet: list[str]) -> None:
    config = tmp_path / "router.toml"
    config.write_text('policy = "random"\n')
    site = Site(tmp_path, fleet[:1], f"--config={config}", policy=None)
    try:
        site.router.start().ready()
        with plane_host(tmp_path / "f", site.control, site.own_key, site.server_key) as host:
            host.ready()
            eventually(lambda: settings_of(site.router)["data_planes"] == 2, "the plane to be counted")
            config.write_text('policy = "power_of_two"\n')
            reloaded = routerctl("reload", f"--runtime-dir={site.router.runtime.path}")
            assert reloaded.returncode == 0, reloaded.stderr
            # Its confirmation was waited for, and the number of planes is no part of what was compared.
            plane = seen(site.router)
            assert plane is not None
            assert plane["table"] == status(site.router)["control_plane"]["table"]
            assert (settings_of(site.router)["policy"], settings_of(site.router)["data_planes"]) == ("power_of_two", 2)
    finally:
        site.router.close()


@pytest.mark.slow
def test_g_key_1_clients_keys_reach_it_too(tmp_path: Path, fleet: list[str]) -> None:
    file = KeysFile(tmp_path / "clients.toml")
    shown = {name: new_key() for name in ("first", "second")}
    for name, key in shown.items():
        file.add(KeyEntry(name=name, sha256=digest_of(key.encode()).hex()))
    site = Site(tmp_path, fleet[:1], f"--client-keys-file={file.path}")
    try:
        site.router.start().ready()
        with plane_host(tmp_path / "f", site.control, site.own_key, site.server_key) as host:
            host.ready()

            def status_with(name: str) -> int:
                headers = {"x-api-key": shown[name]}
                return httpx.get(f"{host.url}/v1/models", headers=headers, timeout=30, trust_env=False).status_code

            assert httpx.get(f"{host.url}/v1/models", timeout=30, trust_env=False).status_code == 401
            assert status_with("first") == status_with("second") == 200
            file.remove("first")
            eventually(lambda: status_with("first") == 401, "the revoked key's end there")
            assert status_with("second") == 200
            # Without its control plane it goes by the last that it has heard.
            site.router.close()
            assert (status_with("first"), status_with("second")) == (401, 200)
    finally:
        site.router.close()


@pytest.mark.slow
def test_a_hung_plane_elsewhere_is_replaced(site: Site, tmp_path: Path) -> None:
    with plane_host(
        tmp_path / "f", site.control, site.own_key, site.server_key, "--data-planes=2", "--hung-plane-secs=3"
    ) as far:
        hung = far.ready().planes()[0].process.pid
        os.kill(hung, signal.SIGSTOP)
        eventually(lambda: f"(pid {hung}) has not answered for" in far.errors, "it to be noticed")
        eventually(lambda: hung not in pids(far) and len(pids(far)) == 2, "another plane")


def test_g_cert_1_a_plane_elsewhere_speaks_tls_and_takes_another_certificate(site: Site, tmp_path: Path) -> None:
    """It is replaced by one that has it, as planes beside the control plane are."""
    papers = Papers(tmp_path)
    with plane_host(tmp_path / "f", site.control, site.own_key, site.server_key, *papers.flags_of("tls")) as far:
        far.ready()
        assert far.output.startswith(f"ready: https://127.0.0.1:{far.port} ")
        (before,) = far.planes()
        with httpx.Client(verify=papers.context(), trust_env=False, timeout=30) as client:
            answer = client.get(f"https://127.0.0.1:{far.port}/readiness")
            assert (answer.status_code, answer.json()["total_workers"]) == (200, 2)
        papers.renew()
        eventually(lambda: serial_at(far.port, papers) == papers.serial, "the new certificate")
        eventually(lambda: [one.identity.id for one in far.planes()] != [before.identity.id], "the new plane")
        eventually(lambda: len(far.planes()) == 1, "the old plane's end")
        eventually(lambda: state(site.router) == "serving", "the new plane in the control plane's status")
        assert far.stop() == 0
