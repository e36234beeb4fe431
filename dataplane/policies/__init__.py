"""How a worker is chosen: one policy a file, behind the interface in `base.py`."""

from __future__ import annotations

import random as _random

from dataplane.policies.base import Candidate, Policy, RequestView
from dataplane.policies.power_of_two import PowerOfTwo
from dataplane.policies.random_choice import RandomChoice
from dataplane.policies.round_robin import RoundRobin

__all__ = ["Candidate", "Policy", "RequestView", "make_policy", "policy_names"]


def policy_names() -> tuple[str, ...]:
    """The names that `make_policy` knows."""
    return (PowerOfTwo.name, RandomChoice.name, RoundRobin.name)


def make_policy(name: str, *, plane_slot: int, rng: _random.Random) -> Policy:
    """Make a policy by its name in the table. `plane_slot` sets planes apart that start together.

    Raises KeyError for a name that this plane does not know.
    """
    if name == RoundRobin.name:
        return RoundRobin(start=plane_slot)
    if name == RandomChoice.name:
        return RandomChoice(rng)
    if name == PowerOfTwo.name:
        return PowerOfTwo(rng)
    raise KeyError(name)
