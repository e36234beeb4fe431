"""What `routerctl status` says of the router's policies: which there are, if several, and what they lack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec


class LackView(msgspec.Struct, kw_only=True):
    """An input that `count` choices of the last minute lacked; `sentence` names what was done instead."""

    outcome: str
    sentence: str
    count: int


class PolicyView(msgspec.Struct, kw_only=True):
    """The policy of a pool (`plain`: whole requests), or of a model that has one of its own there."""

    pool: str
    model: str | None
    policy: str
    unserved: str = ""
    lacks: Sequence[LackView] = ()


def policy_lines(policies: Sequence[PolicyView]) -> Iterator[str]:
    """Yield nothing where one policy chooses for all and lacks nothing."""
    if len(policies) > 1:
        yield ""
        for one in policies:
            yield f"policy {one.policy} for {_place(one)}" + (f": {one.unserved}" if one.unserved else "")
    lacking = [one for one in policies if one.lacks]
    if lacking:
        yield ""
    for one in lacking:
        where = f" for {_place(one)}" if len(policies) > 1 else ""
        for lack in one.lacks:
            times = "once" if lack.count == 1 else f"{lack.count} times"
            yield f"policy {one.policy}{where} lacked its input {times} in the last minute ({lack.outcome}):"
            yield f"  {lack.sentence}"


def _place(one: PolicyView) -> str:
    pool = "whole requests" if one.pool == "plain" else one.pool
    return f"{pool} of model {one.model}" if one.model is not None else pool
