"""What a policy is given and what it returns. No sockets, no clock, no globals.

A policy of your own is a class that derives from `Policy` and has a `pick`; docs/policies.md has an example, and
`dataplane.policies.conformance` checks it.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from asyncio import Future
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

from dataplane.load import Figures
from shared.messages import Learnt
from shared.table import RoutingTable

if TYPE_CHECKING:
    from dataplane.kv.caches import KvCaches


class Candidate(Protocol):
    """One life of a worker that may take the request."""

    @property
    def id(self) -> str:
        """The worker's id in the table."""
        ...

    @property
    def epoch(self) -> int:
        """Which of its worker's lives it is: a restarted engine has an empty cache."""
        ...

    @property
    def weight(self) -> float:
        """Its share of the requests against that of the other candidates, above 0."""
        ...

    def figures(self) -> Figures:
        """Return what is known of its load now."""
        ...

    def load(self) -> float:
        """How busy it is, in requests, by the first formula in `dataplane/load.py`; lower is better."""
        ...

    def prefill(self) -> int:
        """Return how many tokens of prompts it has still to compute, as policies that count them guess."""
        ...


class RequestView(Protocol):
    """What routing may know of a request."""

    @property
    def model(self) -> str | None:
        """The `model` of a JSON body; None when there is none."""
        ...

    @property
    def path(self) -> str:
        """The target's path, such as /v1/chat/completions."""
        ...

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """The head's fields by their names in lower case; of a repeated one the last."""
        ...

    @property
    def body(self) -> bytes | bytearray:
        """The whole body."""
        ...

    @property
    def prepared(self) -> object:
        """What came of `Policy.prepare`; None when there was nothing to prepare."""
        ...

    @property
    def arrived(self) -> float:
        """When it arrived, in seconds of a monotonic clock: the only clock that a policy has."""
        ...


C = TypeVar("C", bound=Candidate)


class Choice(NamedTuple):
    """One candidate in the order in which a policy prefers them, with its score if it has one, and why."""

    worker: str
    score: float | None
    reason: str


class Why:
    """What a policy writes down about one choice, when somebody wants to know it."""

    __slots__ = ("choices", "note")

    def __init__(self) -> None:
        self.choices: list[Choice] = []
        self.note = ""

    def add(self, candidate: Candidate, reason: str, score: float | None = None) -> None:
        """Name the next candidate in the order of preference; the first one is the chosen one."""
        self.choices.append(Choice(candidate.id, score, reason))


@dataclass(frozen=True)
class PlaneView:
    """What a policy may know of its plane: which of N it is, a source of random numbers, the engines' caches."""

    slot: int
    rng: random.Random
    kv: KvCaches | None = None


class Policy(ABC):
    """Chooses one of the candidates.

    One object serves for as long as the table names its policy, in one thread. `outcomes` counts choices by what
    they rested on, for the metrics; those in `fallbacks` are choices without the input that the policy wants, each
    with the sentence that the log gets.
    """

    name: ClassVar[str]
    weighted = False
    """Whether the workers of the present table have different weights."""
    fallbacks: ClassVar[Mapping[str, str]] = {}
    expected = 0
    """Tokens that the request of the last `pick` has to have computed at its worker, by the policy's guess.

    They count in `Candidate.prefill`, on all planes, until the answer begins. Leaving it at 0 costs nothing.
    """

    prompt_tokens = 0
    """Sum of the tokens of prompts that were looked for in caches; a policy that knows none leaves both at 0."""
    cached_tokens = 0
    """Sum of those that the chosen workers had, by the policy's account."""

    def __init__(self, plane: PlaneView) -> None:
        """Begin on a plane; `follow` comes before the first choice."""
        self.plane = plane
        self.outcomes: Counter[str] = Counter()

    @property
    def has_preparations(self) -> bool:
        """Whether `prepare` does anything."""
        return type(self).prepare is not Policy.prepare

    @abstractmethod
    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        """Return one of `candidates`, of which there is at least one. They are in the table's order.

        Called once per attempt; those that failed are not offered again. With `why`, name candidates there in the
        order of preference, the returned one first. It is None for most requests, which must cost nothing.
        """

    def prepare(self, request: RequestView) -> Future[Any] | None:
        """Begin what takes too long for `pick`, once for a request before its first choice.

        The result is `request.prepared` then. None, as for most: there is nothing to wait for.
        """
        return None

    def uncached(self, candidates: Sequence[C], request: RequestView) -> int | None:
        """Return about how many of a prompt's tokens the candidate that has most of it would have to compute.

        None when the policy knows no prompts. Changes nothing: no request is sent for it.
        """
        return None

    def follow(self, table: RoutingTable) -> None:  # noqa: B027 - most have nothing to do
        """Hear of a new table, with the workers in whatever state and with the settings."""

    def learnt(self) -> Mapping[str, Learnt]:
        """Return what the other planes should know of this one's choices since the last call, by worker id.

        Called ten times a second. What it returns may be lost on the way; more than `MAX_LEARNT` hashes are.
        """
        return {}

    def hear(self, learnt: Mapping[str, Learnt], now: float) -> None:  # noqa: B027 - most have nothing to learn
        """Take in what another plane's policy of the same name has learnt; `now` is of the clock of `arrived`."""

    def finish_session(self, session: str) -> None:  # noqa: B027 - most know no sessions
        """Forget a session that is over."""

    def leave(self) -> None:  # noqa: B027 - most leave nothing behind
        """Give back what is the plane's: another policy takes over."""
