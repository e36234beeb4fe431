"""Reloads of a running router: by signal and by command, good ones and bad ones, while requests are sent."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import msgspec
import pytest

from shared.config import StartConfig
from tests.integration.commands import routerctl
from tests.integration.routers import Router, eventually, simulated_fleet

LARGE = 64 << 20
"""Bytes: more than all buffers between a worker and a client that does not read."""
FLAGS = ("--data-planes", "2")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 1) as urls:
        yield urls


@pytest.fixture
def router(tmp_path: Path, fleet: list[str]) -> Iterator[Router]:
    (tmp_path / "r.toml").write_text(file(fleet, ""))
    router = Router(tmp_path, *FLAGS, "--config", str(tmp_path / "r.toml"), policy=None)
    try:
        router.start().ready()
        yield router
    finally:
        router.close()


def file(fleet: list[str], more: str) -> str:
    return f"worker_urls = {msgspec.json.encode(fleet).decode()}\n{more}\n"


def reload(router: Router) -> subprocess.CompletedProcess[str]:
    return routerctl("reload", "--runtime-dir", str(router.runtime.path), cwd=router.folder)


def kept(router: Router) -> StartConfig:
    return msgspec.json.decode(router.runtime.config.read_bytes(), type=StartConfig)


def exposes_worker(router: Router) -> bool:
    return "x-routerctl-worker" in httpx.get(f"{router.url}/version", trust_env=False).headers


def test_reloads_under_requests(router: Router, fleet: list[str]) -> None:
    config = router.folder / "r.toml"
    planes, control_plane = router.plane_pids(), router.control_plane_pid()
    stop = Event()

    def ask() -> list[int]:
        statuses = []
        while not stop.is_set():
            statuses.append(httpx.get(f"{router.url}/version", trust_env=False).status_code)
        return statuses

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        try:
            config.write_text(file(fleet, 'expose_worker = true\nlog_level = "debug"\nhealth_check_interval_secs = 7'))
            result = reload(router)
            assert (result.returncode, result.stderr) == (0, "")
            assert result.stdout.splitlines() == [
                "health_check_interval_secs: 60 -> 7",
                "expose_worker: false -> true",
                'log_level: "info" -> "debug"',
            ]
            # Every plane has confirmed it.
            assert all(exposes_worker(router) for _ in range(10))
            assert reload(router).stdout == "no value is different\n"

            config.write_text(file(fleet, "expose_worker = false\nadmin_port = 5\nhost = '127.0.0.2'"))
            result = reload(router)
            assert (result.returncode, result.stdout) == (1, "")
            assert [f"{key} can not change" in result.stderr for key in ("r.toml:4: host", "admin_port")] == [
                True,
                False,
            ]

            config.write_text(file(fleet, "expose_worker = false\nretry_max_retries = 101\nprot = 1"))
            result = reload(router)
            assert (result.returncode, result.stdout) == (1, "")
            assert [f"r.toml:{line}: " in result.stderr for line in (3, 4)] == [True, True]
            assert exposes_worker(router)

            config.write_text(file(fleet, ""))
            router.process.send_signal(signal.SIGHUP)
            eventually(lambda: not kept(router).expose_worker, "the reload by SIGHUP")
            assert not exposes_worker(router)
        finally:
            stop.set()
        statuses = asked.result()
    assert statuses
    assert set(statuses) == {200}
    assert (router.plane_pids(), router.control_plane_pid()) == (planes, control_plane)
    assert router.process.poll() is None


def test_a_bad_file_at_sighup_is_logged_with_its_line_and_changes_nothing(router: Router, fleet: list[str]) -> None:
    before = kept(router)
    (router.folder / "r.toml").write_text(file(fleet, 'policy = "best"'))
    router.process.send_signal(signal.SIGHUP)
    eventually(lambda: "reload (SIGHUP) refused, nothing has changed: " in router.errors, "the refusal")
    assert "r.toml:2: policy is 'best'" in router.errors
    assert kept(router) == before
    assert router.stop() == 0


def test_the_next_control_plane_has_what_was_reloaded(router: Router, fleet: list[str]) -> None:
    (router.folder / "r.toml").write_text(file(fleet, "expose_worker = true"))
    assert reload(router).returncode == 0
    before = router.control_plane_pid()
    assert before is not None
    os.kill(before, signal.SIGKILL)
    eventually(lambda: router.control_plane_pid() not in (None, before), "the next control plane")
    (router.folder / "r.toml").write_text(file(fleet, "expose_worker = true\nconnect_timeout_secs = 9"))
    # As early as can be: it starts with the signal held back, and reloads once it can.
    router.process.send_signal(signal.SIGHUP)
    eventually(lambda: kept(router).connect_timeout_secs == 9.0, "the reload by the next control plane")
    assert exposes_worker(router)


def test_without_a_router(tmp_path: Path) -> None:
    result = routerctl("reload", "--runtime-dir", str(tmp_path), cwd=tmp_path)
    assert result.returncode == 1
    assert "no router runs on runtime folder" in result.stderr


def status(router: Router) -> str:
    return routerctl("status", "--runtime-dir", str(router.runtime.path), cwd=router.folder).stdout


def workers(router: Router) -> dict[str, str]:
    """The states of the workers; none while there is no control plane."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{router.admin_port}/workers", trust_env=False)
    except httpx.TransportError:
        return {}
    return {worker["id"]: worker["state"] for worker in answer.json()["workers"]}


def client_answer(router: Router) -> str:
    """Send a request; return the worker that answered it."""
    answer = httpx.get(f"{router.url}/version", trust_env=False)
    assert answer.status_code == 200
    return answer.headers["x-routerctl-worker"]


def config(router: Router, *arguments: str) -> subprocess.CompletedProcess[str]:
    return routerctl("config", *arguments, "--runtime-dir", str(router.runtime.path), cwd=router.folder)


def test_workers_change_by_a_reload_and_over_a_restart(router: Router, fleet: list[str], tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    with simulated_fleet(tmp_path / "more", 2) as (second, third):
        own, exposed = router.folder / "r.toml", "expose_worker = true"
        own.write_text(file([*fleet, second], exposed))
        assert reload(router).stdout == f"worker_urls: +{second}\nexpose_worker: false -> true\n"
        eventually(lambda: workers(router) == {fleet[0]: "ready", second: "ready"}, "the worker that came")
        admin = f"http://127.0.0.1:{router.admin_port}/workers"
        assert httpx.post(admin, json={"url": third}, trust_env=False).status_code == 201

        # A request that is open at a worker that leaves ends whole; this one is held open by not being read.
        large = f"{router.url}/sim/echo?bytes={LARGE}"
        with httpx.stream("GET", large, timeout=30, trust_env=False) as answer:
            busy = answer.headers["x-routerctl-worker"]
            eventually(lambda: workers(router)[third] == "ready", "the added worker")
            own.write_text(file([key for key in (*fleet, second) if key != busy], exposed))
            assert reload(router).stdout == f"worker_urls: -{busy}\n"
            assert workers(router)[busy] == "draining"
            asked = {client_answer(router) for _ in range(20)}
            assert asked == {*fleet, second, third} - {busy}
            assert sum(len(part) for part in answer.iter_bytes()) == LARGE
        eventually(lambda: busy not in workers(router), "the end of the worker that left")
        left = workers(router).keys()

        # The next control plane has the same, and so has the next supervisor with another list.
        before = router.control_plane_pid()
        assert before is not None
        os.kill(before, signal.SIGKILL)
        eventually(lambda: router.control_plane_pid() not in (None, before), "the next control plane")
        eventually(lambda: workers(router).keys() == left, "the same workers")
        own.write_text(file([busy], ""))
        router.kill_supervisor()
        router.start().ready()
        eventually(lambda: workers(router).keys() == {busy, third}, "the list of the second start and the added one")


def test_apply_rollback_and_history(router: Router, fleet: list[str]) -> None:
    own = router.folder / "r.toml"
    first = own.read_text()
    new = f"# exposed\n{file(fleet, 'expose_worker = true')}"
    (router.folder / "new.toml").write_text(new)
    dry = config(router, "apply", "new.toml", "--dry-run")
    assert dry.stdout == "expose_worker: false -> true\nit was only checked, and nothing has changed\n"
    assert not exposes_worker(router)
    applied = config(router, "apply", "new.toml")
    assert (applied.returncode, applied.stderr) == (0, "")
    assert applied.stdout == f"expose_worker: false -> true\n{own} was written\nconfiguration 2 is in use\n"
    assert (own.read_text(), exposes_worker(router)) == (new, True)

    (router.folder / "bad.toml").write_text(file(fleet, "expose_worker = 7\npolcy = 1"))
    refused = config(router, "apply", "bad.toml")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert [f"bad.toml:{line}: " in refused.stderr for line in (2, 3)] == [True, True]
    assert own.read_text() == new

    back = config(router, "rollback")
    assert back.stdout == f"expose_worker: true -> false\n{own} was written\nconfiguration 3 is in use\n"
    assert (own.read_text(), exposes_worker(router)) == (first, False)
    assert reload(router).stdout == "no value is different\n"
    assert config(router, "rollback", "7").returncode == 1

    lines = [line.split() for line in config(router, "history").stdout.splitlines()]
    assert lines[0] == ["NUMBER", "TIME", "BY", "CHANGED"]
    assert [line[0] for line in lines[1:]] == ["3", "2", "1"]
    assert lines[1][1] == "*"
    assert [" ".join(line[-3:]) for line in lines[1:3]] == [
        "expose_worker (configuration 1)",
        "apply expose_worker (new.toml)",
    ]
    assert config(router, "history", "2").stdout == new
    assert config(router, "history", "9").returncode == 1
    entries = msgspec.json.decode(config(router, "history", "--json").stdout)["entries"]
    assert [entry["cause"] for entry in entries] == ["start", "apply", "rollback"]

    # It survives a stop; a start with another file is part of it.
    assert router.stop() == 0
    own.write_text(new)
    router.start().ready()
    assert [entry["cause"] for entry in msgspec.json.decode(config(router, "history", "--json").stdout)["entries"]] == [
        "start",
        "apply",
        "rollback",
        "start",
    ]


def test_a_changed_file_is_shown_and_by_default_left_alone(router: Router, fleet: list[str]) -> None:
    assert "r.toml" not in status(router)
    (router.folder / "r.toml").write_text(file(fleet, "expose_worker = true"))
    eventually(lambda: "it was changed and is not in use yet" in status(router), "the change in the status")
    (router.folder / "r.toml").write_text(file(fleet, "expose_worker = 1"))
    assert reload(router).returncode == 1
    told = status(router)
    assert "it was changed and is refused" in told
    assert "r.toml:2: expose_worker is 1" in told
    refusing = router.control_plane_pid()
    assert refusing is not None
    os.kill(refusing, signal.SIGKILL)
    eventually(lambda: "r.toml:2: expose_worker is 1" in status(router), "the refusal by the next control plane")
    (router.folder / "r.toml").unlink()
    eventually(lambda: "it can not be read" in status(router), "the missing file in the status")
    told = status(router)
    assert "r.toml: No such file" in told
    assert "expose_worker is 1" not in told
    assert config(router, "rollback", "1").returncode == 0
    assert "r.toml" not in status(router)
    assert not exposes_worker(router)


def test_a_watched_file_is_taken_up_when_it_changes_also_by_a_swap_of_links(router: Router, fleet: list[str]) -> None:
    """Kubernetes' way with a ConfigMap: r.toml -> ..data/r.toml, and ..data is a link that is replaced."""

    def swap(version: int, more: str) -> None:
        (router.folder / f"..{version}").mkdir()
        (router.folder / f"..{version}" / "r.toml").write_text(file(fleet, f"watch_config = true\n{more}"))
        (router.folder / "..new").symlink_to(f"..{version}")
        os.replace(router.folder / "..new", router.folder / "..data")

    swap(1, "")
    (router.folder / "link").symlink_to("..data/r.toml")
    os.replace(router.folder / "link", router.folder / "r.toml")
    assert reload(router).stdout == "watch_config: false -> true\n"
    swap(2, "expose_worker = true")
    eventually(lambda: exposes_worker(router), "the new link's file")

    swap(3, "expose_worker = 3")
    eventually(lambda: "it was changed and is refused" in status(router), "the refusal")
    again = router.folder / "..3" / "r.toml"
    # The same content from another file is no news.
    swap(4, "expose_worker = 3")
    again.write_text("nobody looks here any more")
    swap(5, "expose_worker = false")
    eventually(lambda: not exposes_worker(router), "the mended file")
    assert "r.toml" not in status(router)
    assert router.errors.count("reload (watch) refused, nothing has changed") == 1
    causes = msgspec.json.decode(config(router, "history", "--json").stdout)["entries"]
    assert [entry["cause"] for entry in causes] == ["start", "reload", "watch", "watch"]


def test_an_emptied_file_takes_no_worker_away_unless_that_is_said(router: Router, fleet: list[str]) -> None:
    own = router.folder / "r.toml"
    own.write_text("")
    refused = reload(router)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no worker is named, and the list in use has 1" in refused.stderr
    assert workers(router) == {fleet[0]: "ready"}
    meant = routerctl("reload", "--allow-no-workers", "--runtime-dir", str(router.runtime.path), cwd=router.folder)
    assert (meant.returncode, meant.stdout) == (0, f"worker_urls: -{fleet[0]}\n")
    eventually(lambda: workers(router) == {}, "the worker's end")


def test_a_router_without_a_file_says_what_to_do(tmp_path: Path, fleet: list[str]) -> None:
    router = Router(tmp_path, "--data-planes", "1", "--worker-urls", *fleet)
    try:
        router.start().ready()
        (tmp_path / "new.toml").write_text("expose_worker = true")
        refused = config(router, "apply", "new.toml")
        assert refused.returncode == 1
        assert "start it with --config FILE" in refused.stderr
        assert "without a file" in config(router, "history").stdout
    finally:
        router.close()
