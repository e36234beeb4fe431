"""`routerctl register` as a process, and a router's socket that it talks to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

import zmq

from shared.plane_keys import KeyPair
from shared.registration import (
    Accepted,
    FromEngine,
    FromRouter,
    Goodbye,
    Refused,
    decode_from_engine,
    encode_registration,
)
from tests.integration.routers import PATIENCE, eventually

Message = TypeVar("Message", bound=FromEngine)


class Registrar:
    """`routerctl register`; `close` ends it whatever a test does."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            command = (sys.executable, "-m", "controlplane.cli", "register", *arguments)
            self.process = subprocess.Popen(command, stdout=out, stderr=err)

    @property
    def output(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def errors(self) -> str:
        return (self.folder / "err").read_text()

    def ready(self) -> Self:
        eventually(lambda: "\n" in self.output or self.process.poll() is not None, "the registrar's ready line")
        assert self.output.startswith("ready: "), self.errors
        return self

    def says(self, text: str) -> None:
        """Wait for it in the log."""
        eventually(lambda: text in self.errors, f"{text!r} in the registrar's log")

    def ended(self) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def registrar(folder: Path, *arguments: str) -> Iterator[Registrar]:
    """A `Registrar` that is ended after the block."""
    one = Registrar(folder, *arguments)
    try:
        yield one
    finally:
        one.close()


@contextmanager
def engine(folder: Path, port: int, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A simulated engine on that port; yields once it serves."""
    command = (sys.executable, "-u", "-m", "controlplane.sim", f"--port={port}", *arguments)
    said = folder / "engine"
    with said.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        eventually(lambda: " ready at " in said.read_text(), "the engine")
        yield process
    finally:
        process.kill()
        process.wait()


class RouterSocket:
    """A router as registrars see it: takes what they send, and answers while a test waits for something.

    With a `refusal` it takes goodbyes only, as a router does.
    """

    def __init__(self, endpoint: str, *, refusal: str = "", keys: KeyPair | None = None) -> None:
        self.heard: list[FromEngine] = []
        self.refusal = refusal
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        if keys is not None:
            self._socket.curve_server = True
            self._socket.curve_secretkey = keys.secret
        # The one before it takes a moment to let go of its port.
        eventually(lambda: self._bound(endpoint), f"{endpoint} to be free")

    def _bound(self, endpoint: str) -> bool:
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError:
            return False
        return True

    def take(self) -> None:
        """Take what has come, and answer it."""
        while self._socket.poll(0):
            sender, frame = self._socket.recv_multipart()
            message = decode_from_engine(frame)
            self.heard.append(message)
            if message.ask:
                refused = Refused(seq=message.seq, reason=self.refusal)
                answer: FromRouter = (
                    refused if self.refusal and not isinstance(message, Goodbye) else Accepted(seq=message.seq)
                )
                self._socket.send_multipart([sender, encode_registration(answer)])

    def hears(self, kind: type[Message], count: int = 1) -> Message:
        """Wait for so many messages of a kind, in all; returns the last one."""

        def found() -> list[Message]:
            self.take()
            return [message for message in self.heard if isinstance(message, kind)]

        eventually(lambda: len(found()) >= count, f"{count} messages {kind.__name__}, heard {self.heard}")
        return found()[-1]

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
