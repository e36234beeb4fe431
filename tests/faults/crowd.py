"""A crowd of clients that are of no use: python -m tests.faults.crowd PORT COUNT.

A process of its own, so that it takes no time from the clients whose goodput is measured. A quarter of its
connections say nothing at all, a quarter is idle after an answer, a quarter sends the head of a request byte by
byte and a quarter the body, a byte each `PAUSE`. It says `ready` when all are open, and ends with its input.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

PAUSE = 5.0
HEAD = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def main(port: int, count: int) -> None:
    """Stand around."""
    connections = []
    for number in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        kind = number % 4
        if kind == 1:
            connection.sendall(b"GET /liveness HTTP/1.1\r\nhost: x\r\n\r\n")
            connection.recv(4096)
        elif kind == 2:
            connection.sendall(HEAD + b"x-slow: ")
        elif kind == 3:
            connection.sendall(HEAD + b"content-length: 100000\r\n\r\n{")
        connection.setblocking(False)
        connections.append(connection)
    print("ready", flush=True)
    slow = [connection for number, connection in enumerate(connections) if number % 4 >= 2]
    with selectors.DefaultSelector() as inputs:
        inputs.register(sys.stdin, selectors.EVENT_READ)
        while slow:
            for connection in list(slow):
                try:
                    connection.send(b" ")
                except OSError:
                    slow.remove(connection)
                if inputs.select(PAUSE / len(slow) if slow else 0):
                    return
        while not inputs.select():
            time.sleep(0.1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
