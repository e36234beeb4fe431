"""Clients that ask without a pause, each on a connection of its own, and remember every failure."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import httpx


class Load:
    """`clients` threads that send small chat requests while the block runs."""

    def __init__(self, url: str, clients: int) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]
        self.answered = [0] * clients
        self.failures: list[list[str]] = [[] for _ in range(clients)]

    def _run(self, number: int) -> None:
        body = {"model": "sim-model", "messages": [{"role": "user", "content": f"client {number}"}], "max_tokens": 4}
        # Longer than any process is made to stand.
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(self._url, json=body)
                except httpx.HTTPError as error:
                    self.failures[number].append(repr(error))
                else:
                    if answer.status_code == 200 and answer.json()["choices"]:
                        self.answered[number] += 1
                    else:
                        self.failures[number].append(f"{answer.status_code} {answer.text[:300]}")

    @property
    def failed(self) -> list[str]:
        """Every failure of every client."""
        return [failure for of_one in self.failures for failure in of_one]

    @property
    def total(self) -> int:
        """Requests answered so far."""
        return sum(self.answered)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
