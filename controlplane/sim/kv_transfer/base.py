"""What every connector does in a simulated engine.

The seed of the answer to a prompt stands for the prompt's KV cache, so that what an engine got decides what it says:
the blocks of another prompt give that prompt's answer, and blocks that are not there any more some wrong answer.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from controlplane.sim.worker import Worker

WRONG = 0x5EED
"""The seed of what blocks that belong to others say."""
NO_HANDOFF = b"null"
_SUFFIX = re.compile(r"-[0-9a-f]{8}$")


class EngineDeadError(Exception):
    """What was asked for ends the engine."""


class Leg(NamedTuple):
    """A request as an engine has it: its own name of it (that of the client, with a random end), and the order.

    `cached`: how many of the prompt's tokens were cached, once that is known.
    """

    request_id: str
    order: dict[str, Any]
    prompt: Sequence[int]
    cached: int = 0


class Fetched(NamedTuple):
    """KV cache that came: whose it is (None: this prompt's), and how many of the prompt's tokens it has."""

    seed: int | None
    tokens: int


Loading = Coroutine[Any, Any, Fetched | None]
"""Ends with None when the KV cache can not be had: 500, as with `kv_load_failure_policy` "fail"."""


class EngineSide(ABC):
    """One connector in one worker."""

    name: ClassVar[str]

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.config = worker.config

    @property
    def is_producer(self) -> bool:
        """Whether it is a prefill worker and nothing else."""
        return self.config.kv_role == "kv_producer"

    @property
    def is_consumer(self) -> bool:
        """Whether it is a decode worker and nothing else."""
        return self.config.kv_role == "kv_consumer"

    @property
    def zmq_address(self) -> str:
        """What a registration tells for the address of its KV transfers; "" for connectors that do not register."""
        return ""

    @abstractmethod
    def load(self, leg: Leg) -> Loading | None:
        """Return how to get what the request needs; None: nothing. Raises EngineDeadError."""

    @abstractmethod
    def finished(self, leg: Leg, seed: int, *, by_length: bool) -> bytes:
        """Know that an answer is complete; return its `kv_transfer_params`, as JSON."""


def without_suffix(request_id: str) -> str:
    """Return a request's name without the engine's own eight digits."""
    return _SUFFIX.sub("", request_id)


def require(order: dict[str, Any], *keys: str) -> None:
    """Raise EngineDeadError when a key is missing or null."""
    if any(order.get(key) is None for key in keys):
        raise EngineDeadError
