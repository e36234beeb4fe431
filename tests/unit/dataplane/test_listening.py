import asyncio
import os
import socket
from pathlib import Path

import pytest

from dataplane.handover import Handover, take_over
from dataplane.listening import Listener, bind, is_on
from tests.integration.routers import free_ports

SYN_SENT, ESTABLISHED = 2, 1


def state(connection: socket.socket) -> int:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0]


def connect(port: int) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", port))
    return client


def listening(port: int) -> Listener:
    listener = bind("127.0.0.1", port)
    listener.socket.listen(8)
    return listener


def test_planes_share_a_port_and_others_do_not() -> None:
    (port,) = free_ports(1)
    with listening(port).socket, listening(port).socket, socket.socket() as other, pytest.raises(OSError):
        other.bind(("127.0.0.1", port))


def test_a_hushed_socket_gets_no_new_client_and_keeps_those_that_wait() -> None:
    (port,) = free_ports(1)
    listener = listening(port)
    with listener.socket, connect(port) as before:
        assert state(before) == ESTABLISHED
        listener.hush()
        with connect(port) as late:
            assert state(late) == SYN_SENT
        taken, _ = listener.socket.accept()
        with taken:
            before.send(b"x")
            assert taken.recv(1) == b"x"


def test_what_is_withdrawn_leaves_the_queue_to_who_shares_it() -> None:
    (port,) = free_ports(1)
    listener = listening(port)
    served = listener.served()
    with listener.socket.dup() as successor, connect(port) as client:
        listener.withdraw()
        with socket.socket(fileno=served) as nobody:
            nobody.setblocking(False)
            with pytest.raises(BlockingIOError):
                nobody.accept()
            assert not os.get_inheritable(served)
        taken, _ = successor.accept()
        with taken:
            assert taken.getpeername() == client.getsockname()


@pytest.mark.parametrize(
    ("bound", "host", "is_it"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", False),
        ("0.0.0.0", "0.0.0.0", True),
        ("::1", "0:0:0:0:0:0:0:1", True),
        ("127.0.0.1", "::1", False),
    ],
)
def test_a_socket_is_taken_over_only_on_the_same_address(bound: str, host: str, is_it: bool) -> None:
    (port,) = free_ports(1)
    listener = bind(bound, port)
    with listener.socket:
        assert not is_on(listener.socket, host, port), "it does not listen yet"
        listener.socket.listen(1)
        assert is_on(listener.socket, host, port) is is_it
        assert not is_on(listener.socket, host, port + 1)


def test_a_successor_gets_the_same_socket(tmp_path: Path) -> None:
    (port,) = free_ports(1)

    async def main() -> None:
        before = listening(port)
        handover = Handover(tmp_path / "a.fd", before)
        handover.open()
        with before.socket, connect(port):
            after = await take_over(tmp_path / "a.fd", "127.0.0.1", port)
            with after.socket:
                assert before.is_shared
                assert not os.get_inheritable(after.socket.fileno())
                taken, _ = after.socket.accept()
                taken.close()
        handover.close()
        assert not (tmp_path / "a.fd").exists()

    asyncio.run(main())


def test_one_of_another_address_is_left_and_a_new_one_bound(tmp_path: Path) -> None:
    port, other = free_ports(2)

    async def main() -> None:
        before = listening(other)
        handover = Handover(tmp_path / "a.fd", before)
        handover.open()
        with before.socket:
            after = await take_over(tmp_path / "a.fd", "127.0.0.1", port)
            with after.socket:
                assert after.socket.getsockname() == ("127.0.0.1", port)
        handover.close()

    asyncio.run(main())


def test_without_an_answer_a_new_one_is_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No plane was there before, it has gone, or it hangs."""
    (port,) = free_ports(1)
    monkeypatch.setattr("dataplane.handover.PATIENCE", 0.05)

    async def main() -> None:
        for path in (None, tmp_path / "gone.fd", tmp_path / "hangs.fd"):
            listener = await take_over(path, "127.0.0.1", port)
            listener.socket.close()

    with socket.socket(socket.AF_UNIX) as hangs:
        hangs.bind(str(tmp_path / "hangs.fd"))
        hangs.listen(1)
        asyncio.run(main())


def test_a_folder_that_takes_no_socket_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with bind("127.0.0.1", 0).socket as own:
            handover = Handover(tmp_path / "no such folder" / "a.fd", Listener(own))
            handover.open()
            handover.close()

    asyncio.run(main())
    assert "can not offer the listening socket" in caplog.text
