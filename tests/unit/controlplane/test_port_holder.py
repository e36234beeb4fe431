"""Who has a port: as the kernel's table tells, and with real sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from controlplane.port_holder import called, cause, parsed, told, why_taken
from controlplane.preflight import CanNotStart, Survey, check_ports
from shared.config import StartConfig

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:7530 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:7531 0100007F:2F3B 06 00000000:00000000 03:00000A24 00000000     0        0 0 3 0
   2: 0100007F:7532 0100007F:2F3B 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
   3: 00000000000000000000000001000000:7533 00000000000000000000000001000000:1F90 01 0:0 00:0 0 0 0 4713 1
   4: broken
"""


def test_the_kernels_table_is_read() -> None:
    assert [next(parsed(TABLE, port)).state for port in (0x7530, 0x7531, 0x7532)] == ["0A", "06", "01"]
    (closed,) = parsed(TABLE, 0x7531)
    assert (str(closed.address), closed.peer, closed.left) == ("127.0.0.1", "127.0.0.1:12091", 25.96)
    (six,) = parsed(TABLE, 0x7533)
    assert (str(six.address), six.peer, six.inode) == ("::1", "[::1]:8080", 4713)
    assert not list(parsed(TABLE, 80))


def test_it_is_said_what_is_known_and_no_more() -> None:
    def of(port: int, **owners: str) -> str:
        return told(list(parsed(TABLE, port)), {int(inode[1:]): name for inode, name in owners.items()})

    assert of(0x7530, _4711="process 12 (nginx)") == "process 12 (nginx) listens on that port; stop it"
    assert of(0x7530) == "another process listens on that port; stop it"
    assert of(0x7531).endswith("(TIME-WAIT), for 26 s more; wait for that")
    assert of(0x7532) == "that port is this side's end of a connection to 127.0.0.1:12091; wait for its end"
    assert of(0x7532, _4712="process 12 (curl)").startswith(
        "that port is this side's end of a connection of process 12"
    )
    assert of(80) == "that port is taken, and it can not be seen by whom; free it"


@pytest.mark.parametrize(
    ("cmdline", "name"),
    [
        (b"routerctl: plane 0\0\0\0", "routerctl: plane 0"),
        (b"routerctl: control plane", "routerctl: control plane"),
        (b"nginx: master process /usr/sbin/nginx -c /etc/x", "nginx: master process /usr/sbin/nginx"),
        (b"/usr/bin/python3\0-m\0server\0--api-key\0secret\0", "python3"),
        (b"/opt/chrome --key=secret", "chrome"),
        (b"a\nb\x1b[1m\xff", "a?b?[1m\ufffd"),
        (b"x" * 500, "x" * 60),
        (b"", ""),
    ],
)
def test_a_process_has_its_whole_name_and_none_of_its_arguments(cmdline: bytes, name: str) -> None:
    assert called(cmdline) == name


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def refusal(port: int) -> str:
    with pytest.raises(CanNotStart) as refused:
        check_ports(StartConfig(port=port), Survey([], None, None))
    return str(refused.value)


def test_a_server_is_named(server: socket.socket) -> None:
    port = server.getsockname()[1]
    name = f"process {os.getpid()} ("
    assert why_taken("127.0.0.1", port).startswith(name)
    assert why_taken("0.0.0.0", port).startswith(name)
    assert why_taken("localhost", port).startswith(name)
    assert "can not be seen" in why_taken("127.0.0.2", port)
    text = refusal(port)
    assert text.startswith(f"can not listen on 127.0.0.1:{port}: {name}")
    assert text.endswith(") listens on that port; stop it, or choose another port with --port")


def test_a_port_of_a_connection_that_has_ended_is_no_other_process_s(server: socket.socket) -> None:
    with closing(socket.socket()) as client:
        client.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        port = client.getsockname()[1]
        here, _ = server.accept()
        assert "is this side's end of a connection of process" in refusal(port)
    # Who closes first keeps the port.
    with here:
        assert here.recv(1) == b""
    text = refusal(port)
    assert "no process has that port, but the kernel keeps it after a connection that has ended (TIME-WAIT)" in text


def test_other_errors_are_told_as_they_are() -> None:
    assert cause(OSError(13, "Permission denied"), "127.0.0.1", 80) == "Permission denied; check the address"
