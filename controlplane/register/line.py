"""The connection to one router: keeps it, sends what is said there, hears the answers, and tells what is wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import Random

import zmq
from zmq.utils.monitor import parse_monitor_message

from shared.client_key_files import ClientKeyFiles
from shared.clock import Clock
from shared.plane_keys import fingerprint
from shared.registration import (
    MAX_FRAME,
    Accepted,
    FromEngine,
    Goodbye,
    Refused,
    RegistrationError,
    decode_from_router,
    encode_registration,
)
from shared.remote_address import TcpAddress
from shared.silence import EVENTS, Causes, Complaints, cause_of
from shared.sockets import Context, Socket, registrar, send_or_drop, watched

PATIENCE = 3.0
"""Seconds without a connection after which another of the router's keys is tried, on a new one."""
LONGEST_PAUSE = 5.0
"""Seconds: the widest window from which the wait before another attempt is drawn."""
_LOOK = 0.5
_GREETINGS = 50
_GREETING_PAUSE = 0.01
_UNANSWERED = 3.0
"""Intervals between pings without an answer after which that is said."""
_CAUSES = Causes(
    key_refused="our key is not let in: put its public part into workers/ of the folder of --discovery-keys there",
    other_key="who answers there has not the key of --server-key, takes no keys there, or is no router",
    mute_after_key="it takes registrations and answers none; is it a router of this version?",
    mute="it takes connections and says nothing; is it a router's port for registrations, and does it ask for keys?",
    no_connection="no connection comes about: does the router run, is that port open for us, and does it ask for keys?",
)

log = logging.getLogger(__name__)


class Line:
    """Lives as long as `run`. Frames that can not be sent now are dropped: on connecting, all is said anew."""

    def __init__(
        self,
        context: Context,
        router: TcpAddress,
        files: ClientKeyFiles | None,
        clock: Clock,
        rng: Random,
        *,
        interval: float,
        greeting: Callable[[], FromEngine | None],
        accepted: Callable[[], None],
    ) -> None:
        """`greeting` is what a router gets first; `accepted` is called when it takes the worker after it did not."""
        self.router = router
        self.problem = "it has not answered yet"
        self._context = context
        self._files = files
        self._clock = clock
        self._rng = rng
        self._interval = interval
        self._greeting = greeting
        self._accepted = accepted
        self._complaints = Complaints()
        self._socket: Socket | None = None
        self._is_connected = False
        self._is_accepted = False
        self._farewell = 0
        self._events: set[int] = set()
        self._unanswered: float | None = None
        self._answered: set[int] = set()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        failures = 0
        while True:
            if failures:
                await asyncio.sleep(self._rng.uniform(0.0, min(LONGEST_PAUSE, 0.25 * 2 ** min(failures, 10))))
            if await self._stay_connected():
                failures = 0
            else:
                failures += 1
                if self._files is not None:
                    self._files.turn()

    def send(self, message: FromEngine) -> bool:
        """Send a frame, or drop it; whether it went out. What can not be said at all is logged."""
        if self._socket is None or not self._is_connected:
            return False
        try:
            frame = encode_registration(message)
        except RegistrationError as error:
            self._complain(f"the worker can not be announced: {error}")
            return False
        if isinstance(message, Goodbye):
            self._is_accepted = False
            self._farewell = message.seq
        sent = send_or_drop(self._socket, [frame])
        if sent and self._unanswered is None:
            self._unanswered = self._clock.monotonic()
        return sent

    async def answered(self, seq: int, timeout: float) -> bool:
        """Whether the router answers the frame of that number within so many seconds; at once if it is not there."""
        try:
            async with asyncio.timeout(timeout):
                while self._is_connected and seq not in self._answered:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return seq in self._answered

    # --- one socket ------------------------------------------------------------------------------------------

    async def _stay_connected(self) -> bool:
        """Keep one socket as long as it is of use; returns whether it ever was."""
        keys = None
        if self._files is not None:
            await asyncio.to_thread(self._files.read)
            if (keys := self._files.keys) is None:
                await asyncio.sleep(_LOOK)
                return False
        self._events.clear()
        was_connected = False
        with registrar(self._context, str(self.router), keys, self._rng, largest=MAX_FRAME) as socket:
            self._socket = socket
            with watched(self._context, socket, EVENTS | zmq.EVENT_DISCONNECTED) as watcher:
                try:
                    # By its events alone we know that there is a connection: it must not be there before we look.
                    socket.connect(str(self.router))
                    async with asyncio.TaskGroup() as group:
                        tasks = [group.create_task(self._follow(watcher)), group.create_task(self._hear(socket))]
                        was_connected = await self._until_of_no_use()
                        for task in tasks:
                            task.cancel()
                finally:
                    socket.disable_monitor()
                    self._socket = None
                    self._lost()
        return was_connected

    async def _until_of_no_use(self) -> bool:
        since = self._clock.monotonic()
        was_connected = False
        while True:
            await asyncio.sleep(_LOOK)
            now = self._clock.monotonic()
            if self._files is not None and await asyncio.to_thread(self._files.read):
                log.info("the keys for %s have changed: connecting anew", self.router)
                return True
            if self._is_connected:
                since, was_connected = now, True
            waited = 0.0 if self._unanswered is None else now - self._unanswered
            if waited >= max(PATIENCE, _UNANSWERED * self._interval) or now - since >= PATIENCE:
                self._is_accepted = False
                self._complain(f"not heard: {cause_of(self._events, _CAUSES)}{self._own_key()}")
            # Without keys libzmq goes on by itself; where a key was refused, it does not.
            if self._files is not None and now - since >= PATIENCE:
                return was_connected

    async def _follow(self, watcher: Socket) -> None:
        while True:
            event = parse_monitor_message(await watcher.recv_multipart())["event"]
            # What went before says nothing of this connection.
            if event == zmq.EVENT_CONNECTED:
                self._events.clear()
            self._events.add(event)
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._is_connected = True
                await self._greet()
            elif event == zmq.EVENT_DISCONNECTED:
                self._lost()

    def _lost(self) -> None:
        self._is_connected = False
        self._unanswered = None
        self._news.set()

    async def _greet(self) -> None:
        # The event comes a moment before the connection takes what is sent.
        for _ in range(_GREETINGS):
            message = self._greeting()
            if message is None or self.send(message):
                return
            await asyncio.sleep(_GREETING_PAUSE)

    async def _hear(self, socket: Socket) -> None:
        while True:
            frames = await socket.recv_multipart()
            try:
                answer = decode_from_router(frames[-1])
            except RegistrationError as error:
                self._complain(f"its answer can not be read: {error}")
                continue
            self._unanswered = None
            # The last is all that anybody waits for.
            self._answered = {answer.seq}
            self._news.set()
            if isinstance(answer, Refused):
                self._is_accepted = False
                self._complain(f"it refuses the worker: {answer.reason}")
            # A goodbye is taken from everybody, and answers to what went before it come late.
            elif isinstance(answer, Accepted) and not self._is_accepted and answer.seq > self._farewell:
                self._is_accepted = True
                self.problem = ""
                self._accepted()

    def _complain(self, problem: str) -> None:
        self.problem = problem
        if self._complaints.is_due(problem, self._clock.monotonic()):
            log.warning("router %s: %s", self.router, problem)

    def _own_key(self) -> str:
        if self._files is None or self._files.keys is None:
            return ""
        return f" (our key is {fingerprint(self._files.keys.pair.public)})"
