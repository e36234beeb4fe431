"""What a policy is given and what it returns. No sockets, no clock, no globals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Candidate(Protocol):
    """A worker that may take the request."""

    @property
    def id(self) -> str:
        """The worker's id in the table."""
        ...

    def load(self) -> float:
        """How busy it is, in requests, by the formula in `dataplane/load.py`; lower is better."""
        ...


class RequestView(Protocol):
    """What routing may know of a request."""

    @property
    def model(self) -> str | None:
        """The `model` of a JSON body; None when there is none."""
        ...


C = TypeVar("C", bound=Candidate)


class Policy(Protocol):
    """Chooses one of the candidates. Called once per attempt; those that failed are not offered again."""

    name: str

    def pick(self, candidates: Sequence[C], request: RequestView) -> C:
        """Return one of `candidates`, of which there is at least one. They are in the table's order."""
        ...
