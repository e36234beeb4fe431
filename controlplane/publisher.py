"""The owner of the sockets to the planes: publishes the table and the loads, answers questions, takes reports.

What is said is decided in `controlplane.publication`, what reports mean in `controlplane.planes`. Nothing that a
plane sends can stop this: what is no message is counted and dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from controlplane.admission.lender import Lender
from controlplane.events.event import about_plane
from controlplane.loads import Loads
from controlplane.namesakes import namesakes
from controlplane.own_status import own_status
from controlplane.plane_news import tell_of_refusal, tell_of_waiting
from controlplane.plane_questions import PlaneQuestions
from controlplane.planes import Plane, Planes
from controlplane.publication import Publication
from shared.clock import Clock
from shared.kv_messages import KvPage, KvRequest, KvStanding, KvUpdate
from shared.leases import Lease, LeaseGrant, LeaseReport
from shared.messages import (
    HEARTBEAT_INTERVAL,
    TOPIC_HEARTBEAT,
    TOPIC_INFLIGHT,
    TOPIC_KV,
    TOPIC_LEARNT,
    TOPIC_LOAD,
    TOPIC_TABLE,
    Ack,
    ControlStatusRequest,
    Downward,
    Evidence,
    FleetAnswer,
    FleetCommand,
    FleetVerb,
    Goodbye,
    InflightReport,
    LearntReport,
    MessageError,
    Nack,
    PlaneInflight,
    ProbeNews,
    SnapshotRequest,
    Upward,
    decode_upward,
    encode,
)
from shared.plane_identity import PlaneIdentity
from shared.plane_report import CounterReport
from shared.question_messages import ReceiptAnswer, RequestLinesAnswer, Tried
from shared.runtime_dir import RuntimeDir
from shared.sockets import Context, control_server, publisher, send_or_drop
from shared.table import ModelCard, RoutingTable, Settings, Stamp, Worker
from shared.worker_attributes import WorkerAttributes

if TYPE_CHECKING:
    from controlplane.remote_port import RemotePort, Reply

COALESCE = 0.02
"""Seconds in which changes are gathered into one version: a fleet that starts together is one change, not many."""
ECHO_INTERVAL = 0.05
"""Seconds between heartbeats after a change: a plane that lost it learns so from any of them."""
ECHO_TIME = 1.0
"""Seconds for which they come so often: where half of all frames are lost, one change in 100,000 is found later."""
LOAD_REPORT_SPACING = 0.1
"""Seconds between two load reports at least, however many workers are read in that time."""
LOAD_GATHERING = 0.02
"""Seconds in which loads are gathered into one report: workers are read in groups, and a report wakes every plane."""
_FOLD_INTERVAL = 1.0
_COMPLAINT_SPACING = 1.0
_MAX_COMMANDS = 256
"""Changes of the members under way at a time."""
_BATCH = 64
"""Messages taken in a row before others get their turn: receiving from a full queue never waits."""

log = logging.getLogger(__name__)


def beat_pause(since_change: float) -> float:
    """Return the seconds until the next heartbeat, so many after the last change."""
    return ECHO_INTERVAL if since_change < ECHO_TIME else HEARTBEAT_INTERVAL


def beat_due(told: float, changed: float, now: float) -> float:
    """Return the seconds until a heartbeat has to be sent; 0 or less: now.

    `told` is when planes were last told anything: each message has the table's stamp, and is as good as a heartbeat.
    `changed` is when the table last changed. All are monotonic seconds.
    """
    return told + beat_pause(told - changed) - now


class Source(Protocol):
    """Where the publisher gets the table's content from, and whom it tells what."""

    def content(self) -> tuple[tuple[Worker, ...], tuple[ModelCard, ...], Settings]:
        """Return what the table should hold now."""
        ...

    def published(self, table: RoutingTable) -> None:
        """Take note of a table that has just been published."""
        ...

    def evidence(self, evidence: Evidence) -> None:
        """Take note of what a plane saw of a worker."""
        ...

    async def command(self, verb: FleetVerb, url: str, said: WorkerAttributes) -> tuple[str, str]:
        """Do what a plane's client wants; return a code (empty when it was done) and a message."""
        ...

    def probe(self, news: ProbeNews) -> None:
        """Take note of how it stands with a probe."""
        ...

    def gone(self) -> None:
        """Take note that a plane has ended, and its last figures are known."""
        ...

    def is_dead(self, plane: PlaneIdentity) -> bool:
        """Whether a plane's process has ended."""
        ...


class Publisher:
    """Talks to the planes. Binds its sockets at once; close it after `run` has ended."""

    def __init__(
        self,
        context: Context,
        runtime: RuntimeDir,
        publication: Publication,
        planes: Planes,
        loads: Loads,
        source: Source,
        clock: Clock,
        remote: RemotePort | None = None,
        kv_pages: Callable[[KvRequest], Iterable[KvPage]] = lambda _: (),
        lender: Lender | None = None,
    ) -> None:
        """`remote` leads to planes on other hosts, if there may be any; `kv_pages` tells what an engine holds.

        `lender` is told what planes hold of the limits.
        """
        self.malformed = 0
        self.ports_settled = False
        self._kv_pages = kv_pages
        self._lender = lender
        self._remote = remote
        self._elsewhere = 0
        self._namesakes: frozenset[str] = frozenset()
        self._publication = publication
        self._planes = planes
        self._loads = loads
        self._source = source
        self._clock = clock
        self._complained = float("-inf")
        self._last_change = self._told = float("-inf")
        self._changed = asyncio.Event()
        self._loaded = asyncio.Event()
        self._acked = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._commands = 0
        self.questions = PlaneQuestions(self._tell, planes, publication)
        self._publish_socket = publisher(context, runtime.publish_endpoint)
        self._control_socket = control_server(context, runtime.control_endpoint)

    def close(self) -> None:
        """Close the sockets. Their files stay: who may remove them is the caller's to know."""
        self._publish_socket.close()
        self._control_socket.close()

    def changed(self) -> None:
        """Have the table's content looked at again soon."""
        self._changed.set()

    def loaded(self) -> None:
        """Have the loads published soon."""
        self._loaded.set()

    @property
    def stamp(self) -> Stamp:
        """The stamp of the table that was published last."""
        return self._publication.table.stamp

    def tell(self, message: KvUpdate | KvStanding) -> None:
        """Publish what is known of the KV caches."""
        self._publish(TOPIC_KV, message)

    def grant(self, plane: str, number: int, answers: int, since: int, leases: dict[str, Lease | None]) -> None:
        """Tell a plane what it may use of the limits."""
        self._tell(plane, LeaseGrant(self._publication.table.stamp, number, answers, since, leases))

    def publish(self) -> tuple[int, int]:
        """Publish what has changed, now. Returns the order of the table that holds it."""
        update = self._publication.change(*self._source.content())
        if update is not None:
            self._publish(TOPIC_TABLE, update)
            self._last_change = self._clock.monotonic()
            self._planes.published(self._publication.table.stamp.order, self._last_change)
            self._source.published(self._publication.table)
        return self._publication.table.stamp.order

    async def served(self, order: tuple[int, int], patience: float) -> bool:
        """Wait until every plane serves from that table or a later one; False when `patience` seconds are over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not self._planes.serve(order):
                    self._acked.clear()
                    await self._acked.wait()
        return self._planes.serve(order)

    async def run(self) -> None:
        """Publish and answer until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for loop in (
                self._beat(),
                self._publish_changes(),
                self._publish_loads(),
                self._take_reports(),
                self._take_subscriptions(),
                self._fold(),
            ):
                group.create_task(loop)
            if self._remote is not None:
                group.create_task(self._remote.run(self._handle))

    async def _beat(self) -> None:
        while True:
            due = beat_due(self._told, self._last_change, self._clock.monotonic())
            if due <= 0:
                self._publish(TOPIC_HEARTBEAT, self._publication.heartbeat())
            else:
                await asyncio.sleep(due)

    async def _publish_changes(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(COALESCE)
            self._changed.clear()
            self.publish()

    async def _publish_loads(self) -> None:
        while True:
            await self._loaded.wait()
            await asyncio.sleep(LOAD_GATHERING)
            self._loaded.clear()
            loads = self._loads.report(self._publication.table.workers, now=self._clock.monotonic())
            self._publish(TOPIC_LOAD, self._publication.load(loads))
            await asyncio.sleep(LOAD_REPORT_SPACING - LOAD_GATHERING)

    async def _take_subscriptions(self) -> None:
        # XPUB answers new subscribers by itself; their requests only have to be taken out of the queue.
        while True:
            await self._publish_socket.recv()

    async def _take_reports(self) -> None:
        taken = 0
        while True:
            self._handle(await self._control_socket.recv_multipart(), self._reply)
            taken += 1
            if taken % _BATCH == 0:
                await asyncio.sleep(0)

    def _reply(self, frames: list[bytes]) -> None:
        send_or_drop(self._control_socket, frames)

    def _begin_command(self, sender: bytes, command: FleetCommand, reply: Reply) -> None:
        # Planes have limits of their own; one that has none must not fill this process.
        if self._group is not None and self._commands < _MAX_COMMANDS:
            self._commands += 1
            self._group.create_task(self._command(sender, command, reply))

    async def _command(self, sender: bytes, command: FleetCommand, reply: Reply) -> None:
        try:
            code, message = await self._source.command(command.verb, command.url, command.said)
        finally:
            self._commands -= 1
        answer = FleetAnswer(command.request_id, self._publication.table.stamp, code, message)
        reply([sender, encode(answer)])

    async def _fold(self) -> None:
        while True:
            await asyncio.sleep(_FOLD_INTERVAL)
            now = self._clock.monotonic()
            for plane in self._planes.fold_silent(now, self._source.is_dead):
                who = plane.identity
                log.warning("plane %s (pid %d) is gone", who.label, who.pid, extra=about_plane(who.label))
                self._tell_gone(plane)
            found = namesakes(self._planes.present(), now)
            for name in sorted(found - self._namesakes):
                log.warning(
                    "two `routerctl plane` go by the name %s at once: each hides the other; give each its own --name",
                    name,
                )
            self._namesakes = found
            if (elsewhere := self._planes.elsewhere()) != self._elsewhere:
                self._elsewhere = elsewhere
                self.changed()
            self._planes.forget_workers(self._publication.table.workers)

    def _handle(self, frames: list[bytes], reply: Reply) -> None:
        """Take one message; `reply` leads back to where it came from."""
        try:
            if len(frames) != 2:
                raise MessageError(f"{len(frames)} frames where 2 belong")
            message = decode_upward(frames[1])
        except MessageError as error:
            self._complain(error)
            return
        now = self._clock.monotonic()
        if isinstance(message, FleetCommand):
            self._planes.hear(message.plane, now)
            self._begin_command(frames[0], message, reply)
        elif isinstance(message, KvRequest):
            for page in self._kv_pages(message):
                reply([frames[0], encode(page)])
        elif (answer := self._answer(message, now)) is not None:
            reply([frames[0], encode(answer)])

    def _answer(self, message: Upward, now: float) -> Downward | None:
        match message:
            case SnapshotRequest():
                self._planes.hear(message.plane, now)
                return self._publication.snapshot(message.request_id)
            case ControlStatusRequest():
                return own_status(self._publication.table, self._planes, ports_settled=self.ports_settled)
            case Ack():
                self._planes.acked(message, now)
                self._acked.set()
            case Nack():
                if self._planes.refused(message, now):
                    tell_of_refusal(message)
            case ReceiptAnswer() | RequestLinesAnswer() | Tried():
                self._planes.hear(message.plane, now)
                self.questions.take(message)
            case InflightReport():
                self._planes.inflight(message, now)
                if len(self._planes.present()) > 1:
                    self._publish(TOPIC_INFLIGHT, self._publication.inflight(message))
            case LearntReport():
                self._planes.hear(message.plane, now)
                if len(self._planes.present()) > 1:
                    self._publish(TOPIC_LEARNT, self._publication.learnt(message))
            case Evidence():
                self._planes.hear(message.plane, now)
                self._source.evidence(message)
            case ProbeNews():
                self._planes.hear(message.plane, now)
                self._source.probe(message)
            case LeaseReport():
                self._planes.hear(message.plane, now)
                if self._lender is not None:
                    self._lender.heard(message)
            case CounterReport():
                if self._planes.counters(message, now):
                    tell_of_waiting(message)
            case Goodbye():
                if self._lender is not None:
                    self._lender.ended(message.plane, message.windows)
                self._tell_gone(self._planes.said_goodbye(message, now))
        return None

    def _tell_gone(self, plane: Plane) -> None:
        """Tell the others that a plane has nothing in flight any more."""
        self._source.gone()
        if self._lender is not None:
            self._lender.gone(plane.identity)
        stamp = self._publication.table.stamp
        self._publish(TOPIC_INFLIGHT, PlaneInflight(stamp, plane.identity.id, plane.inflight_seq + 1, {}, {}))

    def _tell(self, plane: str, message: Downward) -> None:
        # The way to a plane that is not there drops it.
        frames = [plane.encode(), encode(message)]
        self._reply(frames)
        if self._remote is not None:
            self._remote.reply(frames)

    def _publish(self, topic: bytes, message: Downward) -> None:
        frames = [topic, encode(message)]
        if message.stamp == self._publication.table.stamp:
            self._told = self._clock.monotonic()
        send_or_drop(self._publish_socket, frames)
        if self._remote is not None:
            self._remote.publish(frames)

    def _complain(self, error: MessageError) -> None:
        self.malformed += 1
        now = self._clock.monotonic()
        if now - self._complained >= _COMPLAINT_SPACING:
            self._complained = now
            log.warning("dropped a message that is none (%d so far): %s", self.malformed, error)
