"""Discovery over ZeroMQ: listens, keeps the registrations and turns them into members.

Messages are taken in as they come (`connections`), and what they change is told to the membership in one piece, at most
once per `PACE`: a fleet that starts makes a few tables instead of a thousand.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from controlplane.discovery.connections import Connection, Connections
from controlplane.discovery.discovered import Announced
from controlplane.discovery.few import few
from controlplane.discovery.frames import read_message, registration_of
from controlplane.discovery.networks import Networks, read_address
from controlplane.discovery.refusals import RefusedError, shown
from controlplane.discovery.registration import Farewell, Registration
from controlplane.discovery.registrations import Heard, Registrations
from controlplane.discovery.tally import DiscoveryTally
from controlplane.port_holder import cause
from controlplane.registry import Registry
from shared.clock import Clock
from shared.config import ConfigError, StartConfig, join_address
from shared.discovery_config import parse_discovery_address
from shared.process import raise_descriptor_limit
from shared.registration import (
    MAX_TEXT,
    Accepted,
    Goodbye,
    Refused,
    RegistrationError,
    decode_from_engine,
    encode_registration,
    is_registration,
)
from shared.remote_address import TcpAddress
from shared.worker_rank import split_rank
from shared.worker_url import origin

if TYPE_CHECKING:
    from controlplane.discovery.keyed_port import KeyedRegistrationPort

PACE = 0.05
"""Seconds between changes of the membership."""
SWEEP = 1.0
QUICK_SWEEP = 0.25
"""Seconds between sweeps, and the same while somebody waits for room: health checks take about as long."""
BACKLOG = 1024
"""Connections that wait to be taken: a fleet's, when the router was started anew."""
_PATIENCE = 1.0
_RETRY_PAUSE = 0.1
_LONG_RETRY_PAUSE = 2.0

log = logging.getLogger(__name__)


class Members(Protocol):
    """Who is told of the workers."""

    async def discover(
        self, announced: Mapping[str, Announced], *, goodbyes: Collection[str] = (), renewed: Collection[str] = ()
    ) -> None:
        """Have exactly these workers that registered."""
        ...

    def discovered(self) -> Mapping[str, Announced]:
        """Return those that there are."""
        ...


class DiscoveryService:
    """Does it for one life of the control plane."""

    def __init__(
        self,
        config: StartConfig,
        members: Members,
        registry: Registry,
        clock: Clock,
        *,
        look: Callable[[str], None],
    ) -> None:
        """`look` has the worker of an id looked at now."""
        self._config = config
        self._members = members
        self._registry = registry
        self._clock = clock
        self._look = look
        self._networks = Networks(config.discovery_allow)
        self._goodbyes: set[str] = set()
        self._renewed: set[str] = set()
        # By URL, for the log: senders may change their minds faster than anybody reads.
        self._news: dict[str, str] = {}
        self._changed = asyncio.Event()
        self.tally = DiscoveryTally()
        self.registrations = Registrations(config.intra_node_data_parallel_size)
        self.connections = Connections(self._networks, clock, heard=self.heard, refused=self._refused)
        self.keyed = _keyed_port(config, clock)
        self.registrations.restore(self._still_allowed(members.discovered()), now=clock.monotonic())

    async def run(self, *, required: bool) -> None:
        """Listen until cancelled. Where the address can not be had, raise ConfigError if `required`, else try on."""
        await self._tell()
        server = await self._listen(required) if self._config.vllm_discovery_address is not None else None
        try:
            async with asyncio.TaskGroup() as group:
                if self.keyed is not None:
                    group.create_task(self.keyed.run(self._heard_with_key))
                group.create_task(self._tell_changes())
                group.create_task(self._sweep())
        finally:
            if server is not None:
                server.close()
            self.connections.close()

    def heard(self, message: bytes, peer: str) -> bytes | None:
        """Take in one message. Raises RefusedError for one that counts for nothing."""
        if is_registration(message):
            return self._heard_own(message, peer)
        told = read_message(message, peer, self._networks)
        if told == "hello":
            self.tally.taken["hello"] += 1
        else:
            self._register(told, peer)
        return None

    def _heard_with_key(self, message: bytes, peer: str) -> bytes | None:
        try:
            return self._heard_own(message, peer)
        except RefusedError as error:
            self._refused(error, peer)
            return error.answer

    def _heard_own(self, message: bytes, peer: str) -> bytes | None:
        try:
            told = decode_from_engine(message)
        except RegistrationError as error:
            refused = RefusedError("malformed", str(error))
            # Whether it asked can not be read either.
            refused.answer = encode_registration(Refused(seq=0, reason=str(error)[:MAX_TEXT]))
            raise refused from None
        try:
            if isinstance(told, Goodbye):
                self._goodbye(Farewell(told.url, told.registrar, told.seq), told.reason, peer)
            else:
                self._register(registration_of(told, peer, self._networks), peer)
        except RefusedError as error:
            if told.ask:
                error.answer = encode_registration(Refused(seq=told.seq, reason=str(error)[:MAX_TEXT]))
            raise
        return encode_registration(Accepted(seq=told.seq)) if told.ask else None

    def _register(self, told: Registration, peer: str) -> None:
        heard = self.registrations.heard(told, peer, now=self._clock.monotonic())
        if heard is None:
            self.tally.taken["ping"] += 1
            return
        self._take(heard, peer)

    def _take(self, heard: Heard, peer: str) -> None:
        told = heard.told
        self.tally.taken["changed" if heard.before else "registered"] += 1
        self._news[told.url] = f"{told.url} ({told.announced.attributes.role or 'regular'}, from {peer})"
        if heard.is_new_life:
            self._renewed.update(heard.ids)
        self._changed.set()

    def _goodbye(self, told: Farewell, reason: str, peer: str) -> None:
        ids = self.registrations.goodbye(told, peer, now=self._clock.monotonic())
        self.tally.taken["goodbye"] += 1
        if ids:
            self._news[told.url] = f"{told.url} (says goodbye: {shown(reason)})"
            self._goodbyes.update(ids)
            self._changed.set()

    async def _listen(self, required: bool) -> asyncio.Server:
        host, port = parse_discovery_address(str(self._config.vllm_discovery_address))
        loop, pause = asyncio.get_running_loop(), _RETRY_PAUSE
        complain_at = self._clock.monotonic() + _PATIENCE
        while True:
            try:
                server = await loop.create_server(
                    lambda: Connection(self.connections), host, port, backlog=BACKLOG, reuse_address=True
                )
            except OSError as error:
                # A predecessor may be just ending.
                if self._clock.monotonic() >= complain_at:
                    why = await asyncio.to_thread(cause, error, host, port)
                    text = (
                        f"can not listen on {join_address(host, port)}: {why}, "
                        "or choose another port with --vllm-discovery-address"
                    )
                    if required:
                        raise ConfigError(text) from error
                    log.error("%s; still trying", text)
                    complain_at, pause = float("inf"), _LONG_RETRY_PAUSE
                await asyncio.sleep(pause)
            else:
                log.info("workers register at tcp://%s", join_address(host, port))
                return server

    async def _tell_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._tell()
            await asyncio.sleep(PACE)

    async def _tell(self) -> None:
        goodbyes, renewed = frozenset(self._goodbyes), frozenset(self._renewed)
        self._goodbyes.clear()
        self._renewed.clear()
        if self._news:
            log.info("registrations: %s", few(tuple(self._news.values())))
            self._news.clear()
        await self._members.discover(self.registrations.announced(), goodbyes=goodbyes, renewed=renewed)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(QUICK_SWEEP if self.registrations.is_waited else SWEEP)
            self.connections.sweep()
            swept = self.registrations.sweep(now=self._clock.monotonic(), is_well=self._registry.is_healthy)
            for key in swept.quiet:
                self._look(key)
            for heard, peer in swept.came:
                self._take(heard, peer)
            if swept.gone:
                log.warning(
                    "%s neither pinged nor been healthy for long enough and %s gone: %s",
                    "1 worker has" if len(swept.gone) == 1 else f"{len(swept.gone)} workers have",
                    "is" if len(swept.gone) == 1 else "are",
                    few(swept.gone),
                )
                self._changed.set()

    def _still_allowed(self, known: Mapping[str, Announced]) -> dict[str, Announced]:
        """Leave out the workers of networks that are allowed no more."""
        hosts = ((key, read_address(origin(split_rank(key)[0])[1])) for key in known)
        return {key: known[key] for key, host in hosts if host is not None and self._networks.has(host)}

    def _refused(self, error: RefusedError, peer: str) -> None:
        self.tally.refuse(error, peer, now=self._clock.monotonic())


def _keyed_port(config: StartConfig, clock: Clock) -> KeyedRegistrationPort | None:
    """Return the port for workers with keys; None when there is to be none."""
    if config.discovery_curve_address is None or config.discovery_keys is None:
        return None
    # Only for those who use it.
    from controlplane.discovery.keyed_port import KeyedRegistrationPort

    address = TcpAddress(*parse_discovery_address(config.discovery_curve_address))
    return KeyedRegistrationPort(address, Path(config.discovery_keys), clock, raise_descriptor_limit())
