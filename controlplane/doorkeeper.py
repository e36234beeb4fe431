"""Who may connect from other hosts: libzmq asks for each key (ZAP, RFC 27), the folder of keys answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import zmq
from zmq.asyncio import Poller
from zmq.auth import Authenticator

from controlplane.plane_keys_folder import Admission, Guests, KeysFolder
from controlplane.remote_tally import Tally
from shared.clock import Clock
from shared.plane_keys import fingerprint
from shared.sockets import ZAP_DOMAIN, Context

KEYS_INTERVAL = 1.0
"""Seconds between looks at the folder of keys."""
_COMPLAINT_SPACING = 1.0

log = logging.getLogger(__name__)


class Doorkeeper:
    """Lets in who has a key in the folder. While it does not run, nobody is let in."""

    def __init__(
        self,
        context: Context,
        folder: Path,
        guests: Guests,
        tally: Tally,
        clock: Clock,
        cut_off: Callable[[], None],
    ) -> None:
        """`cut_off` is called when somebody who was let in must not stay."""
        self._folder = KeysFolder(folder, guests)
        self._guests = guests
        self._tally = tally
        self._clock = clock
        self._cut_off = cut_off
        self._admission: Admission | None = None
        self._known = asyncio.Event()
        self._authenticator = Authenticator(context)
        self._authenticator.configure_curve_callback(ZAP_DOMAIN.decode(), self)
        self._asker = ""
        self._complained = float("-inf")

    async def admission(self) -> Admission:
        """Return the keys as they are now; waits until there are any that can be used."""
        await self._known.wait()
        assert self._admission is not None  # noqa: S101 - set before the event
        return self._admission

    async def run(self) -> None:
        """Follow the folder and answer until cancelled."""
        self._authenticator.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._answer())
                group.create_task(self._follow())
        finally:
            self._authenticator.stop()

    async def _follow(self) -> None:
        while True:
            found = await asyncio.to_thread(self._folder.read)
            if found is not None and found != self._admission:
                before, self._admission = self._admission, found
                self._known.set()
                log.info("keys of %s: %d may connect (%s)", self._guests.many, len(found.guests), self._folder.path)
                if before is not None and found.cuts_off(before):
                    self._cut_off()
            await asyncio.sleep(KEYS_INTERVAL)

    async def _answer(self) -> None:
        # The library's own loop is a task that nobody watches: after one error nobody would be let in any more.
        poller = Poller()
        poller.register(self._authenticator.zap_socket, zmq.POLLIN)
        while True:
            await poller.poll()
            frames = self._authenticator.zap_socket.recv_multipart()
            self._asker = frames[3].decode(errors="replace")
            await self._authenticator.handle_zap_message(frames)

    def callback(self, domain: str, key: bytes) -> bool:
        """Say whether a public key (Z85) is let in; the library calls it by this name."""
        if self._admission is not None and key in self._admission.guests:
            return True
        self._tally.unknown_key += 1
        now = self._clock.monotonic()
        if now - self._complained >= _COMPLAINT_SPACING:
            self._complained = now
            log.warning(
                "refused %s at %s (%d so far): its key %s is not in %s; put its public key there to let it in",
                self._guests.one,
                self._asker,
                self._tally.unknown_key,
                fingerprint(key),
                self._folder.path / self._guests.folder,
            )
        return False
