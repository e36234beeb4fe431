from __future__ import annotations

import socket

import pytest

from controlplane.cli.ports import free_port, free_ports, is_free


def test_a_port_that_is_listened_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free("127.0.0.1", port)
        assert free_port("127.0.0.1", port, set()) != port


def test_what_was_given_out_is_taken() -> None:
    taken: set[int] = set()
    first = free_ports("127.0.0.1", 20_000, 3, taken)
    second = free_port("127.0.0.1", first, taken)
    assert taken == {first, first + 1, first + 2, second}
    assert second not in range(first, first + 3)


def test_no_ports_left() -> None:
    with pytest.raises(OSError, match="no 3 free ports"):
        free_ports("127.0.0.1", 65_534, 3, set())
