"""Ports and the few plain requests that the bench itself makes, on 127.0.0.1 only."""

import http.client
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

from benchlib import canned
from benchlib.processes import BenchError


def free_ports(count: int) -> list[int]:
    """Return `count` different ports on which nothing listens now.

    They lie below the range from which the kernel takes the ports of outgoing connections: a port
    out of that range, free now, may be some client's by the time a router listens on it.
    """
    lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    for port in random.sample(range(10_000, lowest_ephemeral), lowest_ephemeral - 10_000):
        if len(found) == count:
            return found
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    raise BenchError(f"no {count} free ports between 10000 and {lowest_ephemeral}")


def get(port: int, path: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """Return status and body of a GET; status 0 if nobody answers HTTP there (yet)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def chat_answers(port: int) -> bool:
    """Tell whether one chat request, sent now on a new connection, comes back complete."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as sock:
            sock.sendall(canned.chat_request(f"127.0.0.1:{port}"))
            answer = b""
            while not answer.endswith(canned.CHAT_JSON):
                data = sock.recv(65536)
                answer += data
                # A router that is up before its workers are known answers 503, and keeps the connection.
                if not data or not answer.startswith(b"HTTP/1.1 200"[: len(answer)]):
                    return False
    except OSError:
        return False
    return answer.startswith(b"HTTP/1.1 200")


def wait_until(true: Callable[[], bool], seconds: float, what: str, poll_seconds: float = 0.05) -> None:
    """Return when `true()` holds; raise `BenchError` naming `what` if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {seconds:.0f} s")
        time.sleep(poll_seconds)
