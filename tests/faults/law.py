"""What must hold of a router's figures at every scrape, and what an idle router holds."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.routers import Router, eventually

_SUMS = ("accepted", "finished", "aborted", "rejected")


class Figures:
    """One scrape. Sums are over labels."""

    def __init__(self, text: str) -> None:
        self.counters: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self.sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.sums[sample.name] = self.sums.get(sample.name, 0.0) + sample.value
                if family.type == "counter" and sample.name.endswith("_total"):
                    self.counters[(sample.name, tuple(sorted(sample.labels.items())))] = sample.value

    @property
    def told(self) -> bool:
        """Whether the planes' figures are there; they are left out until all planes have told theirs."""
        return "routerctl_active_requests" in self.sums

    def count(self, what: str) -> float:
        return self.sums.get(f"routerctl_{what}_requests_total", 0.0)

    @property
    def active(self) -> float:
        return self.sums["routerctl_active_requests"]

    @property
    def inflight(self) -> float:
        return self.sums["routerctl_worker_inflight"]

    def broken(self) -> str:
        """What does not add up; empty if all does."""
        accepted, finished, aborted, rejected = map(self.count, _SUMS)
        ended = finished + aborted + rejected
        if accepted == ended + self.active and self.sums.get("routerctl_requests_total", 0.0) == ended:
            return ""
        requests = self.sums.get("routerctl_requests_total", 0.0)
        return f"{accepted=} {finished=} {aborted=} {rejected=} active={self.active} {requests=}"


def scrape(router: Router) -> Figures:
    return Figures(httpx.get(_page(router), trust_env=False).text)


def _page(router: Router) -> str:
    return f"http://127.0.0.1:{router.prometheus_port}/metrics"


class Law(threading.Thread):
    """Scrapes without a pause worth the name, and keeps what was broken."""

    def __init__(self, router: Router) -> None:
        super().__init__()
        self._router = router
        self._over = threading.Event()
        self.scrapes = 0
        self.broken: list[str] = []

    def run(self) -> None:
        before: Figures | None = None
        with httpx.Client(trust_env=False) as client:
            while not self._over.wait(0.05):
                now = Figures(client.get(_page(self._router)).text)
                if not now.told:
                    continue
                self.scrapes += 1
                if said := now.broken():
                    self.broken.append(said)
                if before is not None:
                    self.broken += [
                        f"{key} fell from {value} to {now.counters.get(key)}"
                        for key, value in before.counters.items()
                        if now.counters.get(key, 0.0) < value
                    ]
                before = now

    def end(self) -> None:
        self._over.set()
        self.join()


@contextmanager
def law_holds(router: Router) -> Iterator[None]:
    """accepted = finished + aborted + rejected + active at every scrape meanwhile, and no counter falls (G-FIG-1)."""
    law = Law(router)
    law.start()
    try:
        yield
        before = law.scrapes
        eventually(lambda: law.scrapes > before or not law.is_alive(), "a scrape after it")
    finally:
        law.end()
    assert law.broken == []
    assert law.scrapes > 0


def open_files(router: Router) -> Iterator[tuple[str, str]]:
    """Every file descriptor of the planes, as a path in /proc, and what it stands for."""
    for pid in router.plane_pids():
        folder = f"/proc/{pid}/fd"
        for number in os.listdir(folder):
            # One may be closed while we look.
            with suppress(FileNotFoundError):
                yield f"{folder}/{number}", os.readlink(f"{folder}/{number}")


def descriptors(router: Router) -> Counter[str]:
    """Open file descriptors of all planes by kind, but for /dev/null: opened with the first connection, and kept."""
    return Counter(file.partition(":")[0] for _, file in open_files(router) if file != "/dev/null")


@contextmanager
def nothing_leaks(router: Router) -> Iterator[None]:
    """All that requests held is given back afterwards: in-flight counts, active requests, file descriptors."""
    idle = descriptors(router)
    yield
    try:
        eventually(lambda: descriptors(router) <= idle, "the planes to close what they opened")
    except AssertionError:
        raise AssertionError(f"left open: {descriptors(router) - idle}") from None

    def at_rest() -> bool:
        now = scrape(router)
        return now.told and now.active == 0 and now.inflight == 0

    eventually(at_rest, "no request to be open")
