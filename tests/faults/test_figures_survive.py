"""G-FIG-1 over lives: `/metrics` does not fall when planes and the control plane are replaced, in whatever order."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx

from controlplane.totals_store import read_totals
from tests.faults.hard_clients import HardClients
from tests.integration.routers import Router, eventually, router_before, samples, simulated_fleet

COUNTERS = (
    "routerctl_accepted_requests_total",
    "routerctl_finished_requests_total",
    "routerctl_aborted_requests_total",
    "routerctl_worker_requests_total",
)


def counted(router: Router) -> dict[str, float]:
    """The counters, once all planes have told theirs."""
    found: dict[str, float] = {}

    def told() -> bool:
        try:
            found.update(samples(router))
        except httpx.HTTPError:
            return False
        return "routerctl_accepted_requests_total" in found

    eventually(told, "the figures")
    law = found["routerctl_finished_requests_total"] + found.get("routerctl_aborted_requests_total", 0.0)
    law += found.get("routerctl_rejected_requests_total", 0.0) + found["routerctl_active_requests"]
    assert found["routerctl_accepted_requests_total"] == law
    return {name: found.get(name, 0.0) for name in COUNTERS}


def falls(before: dict[str, float], after: dict[str, float]) -> list[str]:
    return [name for name in COUNTERS if after[name] < before[name]]


def settled(router: Router, total: int) -> dict[str, float]:
    """The counters, once they hold every request, and the runtime folder does."""
    eventually(lambda: counted(router)["routerctl_finished_requests_total"] >= total, "every request to be told")

    def kept() -> bool:
        found = read_totals(router.runtime)
        if found is None:
            return False
        sums = [found.ended.counters.get("finished_requests", {}).get((), 0.0)]
        sums += [c.value for report in found.reports for c in report.counters if c.name == "finished_requests"]
        return sum(sums) >= total

    eventually(kept, "every request to be kept")
    return counted(router)


def keeps_ended(router: Router) -> bool:
    found = read_totals(router.runtime)
    return found is not None and bool(found.ended.counters)


def kill(router: Router, *pids: int | None) -> None:
    for pid in pids:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


def test_g_fig_1_counters_do_not_fall_over_lives_of_planes_and_control_planes(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 2, "--time-scale=0", "--record=0") as workers,
        router_before(tmp_path, workers, planes=2) as router,
    ):
        with HardClients(router.port, new=4) as load:
            eventually(lambda: load.total > 100, "answers")
        total = load.total
        before = settled(router, total)

        # A plane, and later the control plane, which alone knew of it.
        kill(router, min(router.plane_pids()))
        eventually(lambda: keeps_ended(router), "its figures to be kept")
        first = router.control_plane_pid()
        kill(router, first)
        eventually(lambda: router.control_plane_pid() not in (None, first), "another control plane")
        after = counted(router)
        assert falls(before, after) == []

        # Both at once, so that nobody of those who knew is left.
        second = router.control_plane_pid()
        kill(router, *router.plane_pids(), second)
        eventually(lambda: router.control_plane_pid() not in (None, second), "another control plane")
        eventually(lambda: len(router.plane_pids()) == 2, "other planes")
        assert falls(after, counted(router)) == []

        # Another supervisor on the same planes.
        router.kill_supervisor()
        router.start().ready()
        after = counted(router)
        assert falls(before, after) == []
        assert after["routerctl_finished_requests_total"] >= total

        # Another router.
        assert router.stop() == 0
        router.start().ready()
        assert counted(router)["routerctl_finished_requests_total"] < total
