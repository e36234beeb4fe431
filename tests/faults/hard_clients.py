"""Clients that forgive nothing: a connection that is refused, reset or closed under a request is a failure.

They use a kept connection again without looking whether it was closed, as long as no answer has said that it would be.
"""

from __future__ import annotations

import http.client
import json
import random
import ssl
import threading
import time
from types import TracebackType
from typing import Self


class HardClients:
    """Threads that ask while the block runs.

    `kept` use one connection for as long as they may, some without a pause and some with one of up to 50 ms; `new` make
    one per request; `streams` read answers of about `tokens` hundredths of a second. With `tls` they speak that.
    """

    def __init__(
        self,
        port: int,
        *,
        kept: int = 0,
        new: int = 0,
        streams: int = 0,
        tokens: int = 100,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._port = port
        self._tls = tls
        self._stop = threading.Event()
        self.answered = {"kept": 0, "new": 0, "streams": 0}
        self.failed: list[str] = []
        self._tokens = tokens
        runs = [("kept", self._kept, kept), ("new", self._new, new), ("streams", self._streams, streams)]
        self._threads = [
            threading.Thread(target=run, args=(random.Random(f"{name} {number}"),))
            for name, run, count in runs
            for number in range(count)
        ]

    @property
    def total(self) -> int:
        """Requests answered so far."""
        return sum(self.answered.values())

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection("127.0.0.1", self._port, timeout=60, context=self._tls)
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)

    def _kept(self, rng: random.Random) -> None:
        longest_pause = rng.choice((0.0, 0.05))
        connection = self._connection()
        while not self._stop.is_set():
            self._ask("kept", connection, 1)
            time.sleep(rng.random() * longest_pause)
        connection.close()

    def _new(self, rng: random.Random) -> None:
        while not self._stop.is_set():
            connection = self._connection()
            self._ask("new", connection, 1)
            connection.close()
            time.sleep(rng.random() * 0.01)

    def _streams(self, rng: random.Random) -> None:
        connection = self._connection()
        while not self._stop.is_set():
            self._ask("streams", connection, rng.randrange(1, 2 * self._tokens), stream=True)
        connection.close()

    def _ask(self, kind: str, connection: http.client.HTTPConnection, tokens: int, *, stream: bool = False) -> None:
        body = {"model": "sim-model", "prompt": "x", "max_tokens": tokens, "stream": stream}
        used = connection.sock is not None
        try:
            connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.failed.append(f"{kind} ({'used' if used else 'fresh'} connection): {error!r}")
            connection.close()
            return
        if answer.status != 200 or (stream and not data.endswith(b"data: [DONE]\n\n")):
            self.failed.append(f"{kind}: {answer.status} {data[-200:]!r}")
        else:
            self.answered[kind] += 1

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
