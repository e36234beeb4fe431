"""What looks at workers: the prober at their health, the scraper at their load, with one key and one TLS for both.

Their modules take a while to load, and planes need not wait for that: so they are made by `begin`, and what comes
before that is no news to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from controlplane.events.event import about
from controlplane.health import checks_of
from controlplane.lazy import load
from controlplane.loads import Loads
from controlplane.planes import Planes
from controlplane.registry import Change, Registry
from shared.clock import Clock
from shared.config import StartConfig
from shared.worker_key import WorkerKey

if TYPE_CHECKING:
    from controlplane.pacing import Pacing
    from controlplane.prober import Prober
    from controlplane.scraper import Scraper
    from shared.tls import WorkerTls


class WorkerWatch:
    """Makes both once, and has them go by the configuration in use."""

    def __init__(
        self, config: StartConfig, registry: Registry, loads: Loads, planes: Planes, clock: Clock, *, mark: str
    ) -> None:
        """`planes` tell what is in flight at a worker, which its own figures are held against.

        `mark` is by which planes know looks of their own router.
        """
        self._config = config
        self._registry = registry
        self._loads = loads
        self._planes = planes
        self._clock = clock
        self._mark = mark
        self.key = WorkerKey(config.api_key_file, told=about("configuration"))
        self.tls: WorkerTls | None = None
        self.prober: Prober | None = None
        self._scraper: Scraper | None = None
        self._pacing: Pacing | None = None

    async def begin(
        self, answered: Callable[[str], float], loaded: Callable[[], None], changed: Callable[[Change], None]
    ) -> tuple[Prober, Scraper, WorkerTls]:
        """Load and make them; `answered` tells when a worker last answered a client (monotonic seconds).

        `loaded` is called after readings, `changed` when a worker is another than before.
        """
        await load("controlplane.prober", "controlplane.scraper")
        from controlplane.pacing import Pacing
        from controlplane.prober import Prober
        from controlplane.scraper import Scraper
        from shared.tls import WorkerTls, tls_config

        config = self._config
        self.tls = WorkerTls(tls_config(config))
        self.prober = Prober(
            self._registry,
            endpoint=config.health_check_endpoint,
            timeout=config.health_check_timeout_secs,
            bootstrap_port=config.bootstrap_port,
            clock=self._clock,
            changed=changed,
            answered=answered,
            tls=self.tls,
            key=self.key,
            mark=self._mark,
        )
        self._pacing = Pacing(config.load_cpu_percent / 100, self._clock)
        self._scraper = Scraper(
            self._registry,
            self._loads,
            interval=config.load_interval_ms / 1000,
            pacing=self._pacing,
            clock=self._clock,
            loaded=loaded,
            changed=changed,
            refused=self.prober.suspect,
            inflight_at=self._planes.inflight_at,
            tls=self.tls,
            key=self.key,
        )
        return self.prober, self._scraper, self.tls

    def use(self, config: StartConfig) -> None:
        """Go by another configuration."""
        before, self._config = self._config, config
        if self.prober is None or self._scraper is None or self._pacing is None or self.tls is None:
            # They are about to be made, from this one.
            return
        from shared.tls import tls_config

        self.tls.use(tls_config(config))
        self.key.use(config.api_key_file)
        if checks_of(config) != checks_of(before):
            self.prober.use(
                endpoint=config.health_check_endpoint,
                timeout=config.health_check_timeout_secs,
                bootstrap_port=config.bootstrap_port,
            )
        self._scraper.use(interval=config.load_interval_ms / 1000)
        self._pacing.use(config.load_cpu_percent / 100)

    def follow(self) -> None:
        """Look after workers that came, and at nobody who left."""
        for follower in (self.prober, self._scraper):
            if follower is not None:
                follower.follow()

    def suspect(self, worker: str, epoch: int) -> None:
        """Look at a worker at once that a plane could not reach."""
        if self.prober is not None:
            self.prober.suspect(worker, epoch)

    def renewed(self, change: Change) -> None:
        """Ask a worker anew what it is, if another process answers at its address."""
        if self.prober is not None and change.after.epoch != change.before.epoch:
            self.prober.renewed(change.after)
