"""The sockets and timers around the subscriber's state machine: frames and time in, actions out.

`SubscriberClient` owns the plane's two sockets to the control plane (`link.py` makes them): SUB, where tables and load
come from, and DEALER, where snapshots are asked for and reports go. Nothing here waits for the control plane: a report
that can not leave at once is dropped, and while the control plane is silent no report is even built.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from math import inf
from random import Random

from dataplane.subscriber.actions import (
    Action,
    Adopt,
    BecameFresh,
    BecameStale,
    RequestSnapshot,
    SendAck,
    SendNack,
)
from dataplane.subscriber.last_known_good import load_last_known_good
from dataplane.subscriber.link import Link, Sockets
from dataplane.subscriber.machine import Subscriber
from shared.breaker import ProbeNewsKind
from shared.clock import Clock, SystemClock
from shared.kv_messages import KvPage, KvRequest, KvStanding, KvUpdate
from shared.leases import LeaseGrant, LeaseReport
from shared.limits import Taken
from shared.messages import (
    COUNTER_INTERVAL,
    INFLIGHT_INTERVAL,
    Ack,
    Downward,
    Evidence,
    EvidenceKind,
    FleetAnswer,
    FleetCommand,
    FleetVerb,
    Goodbye,
    InflightReport,
    Learnt,
    LearntReport,
    LoadReport,
    MessageError,
    Nack,
    PlaneInflight,
    PlaneLearnt,
    ProbeNews,
    SnapshotRequest,
    Upward,
    decode_downward,
    encode,
)
from shared.plane_identity import PlaneIdentity
from shared.plane_report import CounterReport
from shared.policy_places import PolicyPlace
from shared.question_messages import (
    ReceiptAnswer,
    ReceiptRequest,
    RequestLinesAnswer,
    RequestLinesRequest,
    Trial,
    Tried,
)
from shared.receipt import Receipt
from shared.request_lines import RequestLines
from shared.sockets import WELCOME, Context, Socket, send_or_drop
from shared.table import RoutingTable, Settings
from shared.worker_attributes import WorkerAttributes

__all__ = ["SubscriberClient", "load_last_known_good"]

GOODBYE_LINGER = 200
"""Milliseconds that the last reports may take to leave: the control plane is near, or gone."""
_FRAMES_IN_A_ROW = 32


class SubscriberClient:
    """Keeps the plane's table current and carries its reports. Callbacks run on the loop and must not block."""

    def __init__(
        self,
        link: Link,
        identity: PlaneIdentity,
        *,
        last_known_good: RoutingTable | None,
        refuse: Callable[[RoutingTable], str | None],
        on_table: Callable[[RoutingTable], None],
        on_stale: Callable[[bool], None],
        on_load: Callable[[LoadReport], None],
        on_plane_inflight: Callable[[PlaneInflight], None],
        inflight: Callable[[], tuple[dict[str, int], dict[str, int], int]],
        counters: Callable[[int], CounterReport],
        on_fleet_answer: Callable[[FleetAnswer], None] = lambda _: None,
        learnt: Callable[[], Iterable[tuple[PolicyPlace, str, Mapping[str, Learnt]]]] = tuple,
        on_plane_learnt: Callable[[PlaneLearnt], None] = lambda _: None,
        on_kv: Callable[[KvUpdate | KvStanding | KvPage], None] = lambda _: None,
        receipt: Callable[[str], Receipt | None] = lambda _: None,
        request_lines: Callable[[int, bool], RequestLines] = lambda _most, _troubled: RequestLines(),
        refuse_settings: Callable[[Settings], str | None] = lambda _: None,
        on_grant: Callable[[LeaseGrant], None] = lambda _: None,
        windows: Callable[[], dict[str, Taken]] = dict,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        """Touch no socket yet; see `run`.

        `on_table` is called for tables from the wire, not for `last_known_good`; `on_stale` at each change
        (it starts stale). `inflight` gives the present requests and the tokens of their prompts, per worker
        id, in new dicts; `counters` builds the report of the given sequence number. `receipt` finds that of
        a request's id; `request_lines` tells so many of the open and last ones (those with trouble alone).
        `refuse_settings` returns why this plane could not serve by them; it alone may block, as a thread calls it.
        `windows` tells at the end what was taken of limits per minute.
        """
        self._link = link
        self._identity = identity
        self._on_table = on_table
        self._on_stale = on_stale
        self._on_load = on_load
        self._on_plane_inflight = on_plane_inflight
        self._inflight = inflight
        self._counters = counters
        self._on_fleet_answer = on_fleet_answer
        self._learnt = learnt
        self._on_plane_learnt = on_plane_learnt
        self._on_kv = on_kv
        self._receipt = receipt
        self._request_lines = request_lines
        self._refuse_settings = refuse_settings
        self._on_grant = on_grant
        self._windows = windows
        self._clock = clock or SystemClock()
        self._machine = Subscriber(rng=rng or Random(), last_known_good=last_known_good, refuse=refuse)
        self._started = self._clock.monotonic()

        self._control: Socket | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._is_trying = False
        self._fresh = asyncio.Event()
        self._wake = asyncio.Event()
        self._planned = inf
        self._reported: tuple[dict[str, int], dict[str, int], int] | None = None
        self._inflight_seq = 0
        self._counter_seq = 0

    @property
    def table(self) -> RoutingTable | None:
        """The table to serve from; None until there is one."""
        return self._machine.table

    @property
    def stale(self) -> bool:
        """Whether the control plane is silent."""
        return self._machine.stale

    @property
    def table_age(self) -> float:
        """Seconds since the control plane last said that the table is the current one.

        While it has said so of none, seconds since the plane started: a table from disk is at least that old.
        """
        confirmed = self._machine.confirmed
        return self._clock.monotonic() - (self._started if confirmed is None else confirmed)

    @property
    def heard_age(self) -> float | None:
        """Seconds since the control plane was last heard; None before the first time."""
        heard = self._machine.last_heard
        return None if heard is None else self._clock.monotonic() - heard

    @property
    def resyncs(self) -> int:
        """How often a snapshot had to be asked for after the first one."""
        return self._machine.resyncs

    @property
    def malformed(self) -> int:
        """Frames that were no messages of this version of the protocol."""
        return self._machine.malformed

    def report_evidence(
        self, worker: str, epoch: int, kind: EvidenceKind, requests: int, tripped: bool, status: int = 0
    ) -> None:
        """Tell at once what was seen of a worker's life `epoch`; never blocks, dropped when nobody is there."""
        self._send(Evidence(self._identity, worker, epoch, kind, requests, tripped, status))

    def report_probe(self, worker: str, epoch: int, kind: ProbeNewsKind) -> None:
        """Tell at once how it stands with a probe of a worker's life `epoch`; dropped when nobody is there."""
        self._send(ProbeNews(self._identity, worker, epoch, kind))

    def send_command(self, number: int, verb: FleetVerb, url: str, said: WorkerAttributes) -> bool:
        """Pass a change of the fleet on; returns whether it went out. The answer goes to `on_fleet_answer`."""
        return self._send(FleetCommand(self._identity, number, verb, url, said))

    def ask_kv(self, request_id: int, worker: str, rank: int) -> bool:
        """Ask for all that an engine's cache holds; returns whether it went out. The answer goes to `on_kv`."""
        return self._send(KvRequest(request_id, worker, rank))

    @property
    def epoch(self) -> int:
        """The life of the control plane that is followed; 0 before the first table."""
        return self._machine.epoch

    def report_leases(self, report: LeaseReport) -> bool:
        """Tell what is held of the limits; returns whether it went out. The answer goes to `on_grant`."""
        return self._send(report)

    async def run(self, context: Context) -> None:
        """Follow the control plane until cancelled; then say goodbye."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._follow(context))
            tasks.create_task(self._keep_time())
            tasks.create_task(self._report_inflight())
            tasks.create_task(self._report_counters())

    async def _follow(self, context: Context) -> None:
        while True:
            sockets = await self._link.open(context, self._identity.id.encode())
            with sockets.updates, sockets.control as control:
                self._control = control
                try:
                    await self._listen(sockets)
                except asyncio.CancelledError:
                    control.linger = GOODBYE_LINGER
                    self._send_counters()
                    self._send(Goodbye(self._identity, self._windows()))
                    raise
                finally:
                    self._control = None

    async def _listen(self, sockets: Sockets) -> None:
        """Take what comes until the sockets have to be made anew."""
        async with asyncio.TaskGroup() as tasks:
            readers = [
                tasks.create_task(self._read(sockets.updates, self._take_published)),
                tasks.create_task(self._read(sockets.control, self._take_answer)),
            ]
            await self._link.over(lambda: self._machine.last_heard)
            for reader in readers:
                reader.cancel()

    # --- frames in -----------------------------------------------------------------------------------------

    async def _read(self, socket: Socket, take: Callable[[list[bytes]], None]) -> None:
        while True:
            for _ in range(_FRAMES_IN_A_ROW):
                take(await socket.recv_multipart())
            # A frame that is already there is returned without a pause: requests must have their turn.
            await asyncio.sleep(0)

    def _take_published(self, frames: list[bytes]) -> None:
        match frames:
            case [frame] if frame == WELCOME:
                # Whoever is there now may know nothing of us.
                self._reported = None
                self._perform(self._machine.on_welcome(self._clock.monotonic()))
            case [_topic, frame]:
                self._take(frame)
            case _:
                self._perform(self._machine.on_malformed(self._clock.monotonic()))

    def _take_answer(self, frames: list[bytes]) -> None:
        match frames:
            case [frame]:
                self._take(frame)
            case _:
                self._perform(self._machine.on_malformed(self._clock.monotonic()))

    def _take(self, frame: bytes) -> None:
        try:
            message = decode_downward(frame)
        except MessageError:
            self._perform(self._machine.on_malformed(self._clock.monotonic()))
            return
        self._perform(self._machine.on_message(message, self._clock.monotonic()))
        self._pass_on(message)

    def _pass_on(self, message: Downward) -> None:
        """Hand over what is not the machine's business, unless a control plane said it that has died."""
        if self._machine.is_of_past_life(message.stamp):
            return
        if isinstance(message, FleetAnswer):
            self._on_fleet_answer(message)
        elif isinstance(message, ReceiptRequest):
            self._send(ReceiptAnswer(self._identity, message.request_id, self._receipt(message.request)))
        elif isinstance(message, RequestLinesRequest):
            lines = self._request_lines(message.most, message.troubled)
            self._send(RequestLinesAnswer(self._identity, message.request_id, lines))
        elif isinstance(message, KvUpdate | KvStanding | KvPage):
            self._on_kv(message)
        elif isinstance(message, LeaseGrant):
            self._on_grant(message)
        elif isinstance(message, LoadReport):
            self._on_load(message)
        elif isinstance(message, Trial):
            # Whoever asks faster than files can be read gets no answer, and knows what that means.
            if self._tasks is not None and not self._is_trying:
                self._is_trying = True
                self._tasks.create_task(self._try(message))
        elif isinstance(message, PlaneInflight) and message.plane != self._identity.id:
            self._on_plane_inflight(message)
        elif isinstance(message, PlaneLearnt) and message.plane != self._identity.id:
            self._on_plane_learnt(message)

    async def _try(self, trial: Trial) -> None:
        try:
            refusal = await asyncio.to_thread(self._refuse_settings, trial.settings)
        finally:
            self._is_trying = False
        self._send(Tried(self._identity, trial.request_id, refusal or ""))

    # --- actions -------------------------------------------------------------------------------------------

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case RequestSnapshot(request_id):
                    if not self._send(SnapshotRequest(self._identity, request_id)):
                        self._machine.on_unsent(request_id, self._clock.monotonic())
                case Adopt(table):
                    self._on_table(table)
                case SendAck(stamp):
                    self._send(Ack(self._identity, stamp))
                case SendNack(stamp, reason):
                    self._send(Nack(self._identity, stamp, reason))
                case BecameFresh():
                    self._fresh.set()
                    self._on_stale(False)
                case BecameStale():
                    self._fresh.clear()
                    self._on_stale(True)
        if self._next_tick() < self._planned:
            self._wake.set()

    def _send(self, message: Upward) -> bool:
        return self._control is not None and send_or_drop(self._control, [encode(message)])

    # --- time and reports ----------------------------------------------------------------------------------

    def _next_tick(self) -> float:
        now = self._clock.monotonic()
        delay = self._machine.next_tick(now)
        return inf if delay is None else now + delay

    async def _keep_time(self) -> None:
        """Tick the machine when it wants it. Sleeps until woken while only a frame can change anything."""
        while True:
            self._wake.clear()
            self._planned = self._next_tick()
            delay = None if self._planned == inf else self._planned - self._clock.monotonic()
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                self._perform(self._machine.on_tick(self._clock.monotonic()))

    async def _report_inflight(self) -> None:
        while True:
            await self._fresh.wait()
            present = self._inflight()
            if present != self._reported:
                self._inflight_seq += 1
                if self._send(InflightReport(self._identity, self._inflight_seq, *present)):
                    self._reported = present
            for place, policy, learnt in self._learnt():
                self._send(LearntReport(self._identity, policy, dict(learnt), place))
            await asyncio.sleep(INFLIGHT_INTERVAL)

    async def _report_counters(self) -> None:
        while True:
            await self._fresh.wait()
            self._send_counters()
            # Planes that started since know nothing of what has not changed.
            self._reported = None
            await asyncio.sleep(COUNTER_INTERVAL)

    def _send_counters(self) -> None:
        self._counter_seq += 1
        self._send(self._counters(self._counter_seq))
