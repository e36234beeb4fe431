"""A client that speaks HTTP/2 from the first byte (prior knowledge), and keeps an answer frame by frame."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import h2.config
import h2.connection
import h2.events

Field = tuple[bytes, bytes]


@dataclass
class Stream:
    """One answer: `parts` are the DATA frames' contents; `reset` tells the error code if it did not end well."""

    status: int = 0
    fields: list[Field] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    trailers: list[Field] | None = None
    ended: bool = False
    reset: int | None = None

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def values(self, name: bytes) -> list[bytes]:
        return [value for one, value in self.fields if one == name]


class H2Client:
    """One connection, one request after the other."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without h2's own checks the answer is seen as it came.
        config = h2.config.H2Configuration(
            header_encoding=None, validate_inbound_headers=False, normalize_inbound_headers=False
        )
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._connection.close()

    def ask(
        self,
        target: bytes = b"/v1/completions",
        *,
        method: bytes = b"POST",
        fields: Sequence[Field] = (),
        body: bytes | None = None,
    ) -> Stream:
        number = self._h2.get_next_available_stream_id()
        pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", b"router"), (b":path", target)]
        self._h2.send_headers(number, [*pseudo, *fields], end_stream=body is None)
        self._flush()
        answer = Stream()
        while body is not None:
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            if room or not body:
                self._h2.send_data(number, body[:room], end_stream=len(body) <= room)
                body = body[room:] or None
                self._flush()
            else:
                self._read(answer)
        while not answer.ended and answer.reset is None:
            self._read(answer)
        return answer

    def _read(self, answer: Stream) -> None:
        data = self._connection.recv(1 << 16)
        assert data, "the router closed"
        for event in self._h2.receive_data(data):
            match event:
                case h2.events.ResponseReceived(headers=headers):
                    fields = [(bytes(name), bytes(value)) for name, value in headers or ()]
                    answer.status = int(fields[0][1])
                    answer.fields = fields[1:]
                case h2.events.DataReceived(data=part, flow_controlled_length=length, stream_id=number):
                    if part:
                        answer.parts.append(part)
                    self._h2.acknowledge_received_data(length or 0, number)
                case h2.events.TrailersReceived(headers=headers):
                    answer.trailers = [(bytes(name), bytes(value)) for name, value in headers or ()]
                case h2.events.StreamEnded():
                    answer.ended = True
                case h2.events.StreamReset(error_code=code):
                    answer.reset = int(code or 0)
                case h2.events.ConnectionTerminated():
                    raise AssertionError(f"the router ended the connection: {event}")
                case _:
                    pass
        self._flush()

    def _flush(self) -> None:
        self._connection.sendall(self._h2.data_to_send())
