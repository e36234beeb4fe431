"""Counting the plane's clients, and cutting off those that never say anything, on real sockets."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import dataplane.client_connections
from dataplane.client_connections import ClientConnections, descriptor_table_size

TABLE = range(4096)


class Port:
    """A listening socket of this process, and its clients."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), reuse_port=True))
        self.number = self._listener.getsockname()[1]
        self.taken: list[socket.socket] = []

    def connect(self, sent: bytes = b"") -> socket.socket:
        client = self._stack.enter_context(socket.create_connection(("127.0.0.1", self.number)))
        self.taken.append(self._stack.enter_context(self._listener.accept()[0]))
        client.sendall(sent)
        if sent:
            self.taken[-1].recv(len(sent), socket.MSG_PEEK | socket.MSG_WAITALL)
        return client


@pytest.fixture
def port() -> Iterator[Port]:
    with ExitStack() as stack:
        yield Port(stack)


def test_only_clients_are_counted(port: Port) -> None:
    clients = ClientConnections(port.number, 10)
    assert clients._look(TABLE) == 0
    for _ in range(3):
        port.connect()
    one, other = socket.socketpair()
    with one, other, socket.socket() as bound, open(os.devnull):
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", port.number))
        assert clients._look(TABLE) == 3
    port.taken[0].close()
    assert clients._look(TABLE) == 2
    # Looking has closed nothing.
    assert port.taken[1].getpeername()


def test_who_never_said_anything_is_cut_off(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    shortest = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    silent, preface, speaking = port.connect(), port.connect(b"PRI * HTTP/2.0"), port.connect(shortest)
    clients = ClientConnections(port.number, 10)
    clients._look(TABLE)
    for one in (silent, preface, speaking):
        one.settimeout(0.01)
        with pytest.raises(TimeoutError):
            one.recv(1)
    monkeypatch.setattr(dataplane.client_connections, "SILENT_LIMIT", 0.005)
    clients._look(TABLE)
    assert silent.recv(1) == b""
    assert preface.recv(1) == b""
    with pytest.raises(TimeoutError):
        speaking.recv(1)


def test_the_log_warns_once_before_the_limit_and_once_at_it(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clients = ClientConnections(port.number, 10)
    for count in (7, 8, 9, 8, 10, 10, 8, 9, 5, 5):
        clients.open = count
        clients._tell()
    assert [(record.levelname, record.getMessage().split(";")[0]) for record in caplog.records] == [
        ("WARNING", "8 of 10 client connections are open"),
        ("WARNING", "10 of 10 client connections are open"),
        ("INFO", "5 of 10 client connections are open"),
    ]


def test_the_table_holds_every_descriptor() -> None:
    with open(os.devnull) as file:
        assert descriptor_table_size() > file.fileno()


def test_who_takes_nothing_is_reset(port: Port) -> None:
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    stalled, other = port.connect(request), port.connect(request)
    clients = ClientConnections(port.number, 10)
    assert clients._look(TABLE, {stalled.getsockname()}) == 2
    assert port.taken[0].recv(100) == request
    assert port.taken[0].recv(1) == b""
    port.taken[0].close()
    assert stalled.recv(1) == b""
    other.settimeout(0.01)
    with pytest.raises(TimeoutError):
        other.recv(1)
