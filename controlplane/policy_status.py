"""Which policy chooses where, and what its choices lacked: as planes told, or as the runtime folder knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from shared.config_fields import nearest
from shared.plane_report import PolicyLack
from shared.policy_places import PolicyPlace, policies_of
from shared.table import RoutingTable, is_disaggregated


class LackStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An input that `count` choices of the last minute lacked, on all planes. `sentence` names what was done instead.

    `outcome` is that of `routerctl_policy_decisions_total`.
    """

    outcome: str
    sentence: str
    count: int


class PolicyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The policy of a pool (`plain`: whole requests), or of a `model` that has one of its own there.

    `unserved` says that no worker has told of such a model, and which name is near; empty otherwise.
    """

    pool: str
    model: str | None
    policy: str
    unserved: str = ""
    lacks: tuple[LackStatus, ...] = ()


def policy_statuses(table: RoutingTable, told: Iterable[PolicyLack]) -> tuple[PolicyStatus, ...]:
    """Return the policies of a table, with the sums of what planes have `told`."""
    counts: defaultdict[tuple[PolicyPlace, str], dict[str, LackStatus]] = defaultdict(dict)
    for lack in told:
        known = counts[lack.place, lack.policy]
        before = known[lack.outcome].count if lack.outcome in known else 0
        known[lack.outcome] = LackStatus(outcome=lack.outcome, sentence=lack.sentence, count=before + lack.count)
    return tuple(
        PolicyStatus(
            pool=place.pool,
            model=place.model,
            policy=policy,
            unserved=_unserved(place.model, table),
            lacks=tuple(counts[place, policy].values()),
        )
        for place, policy in policies_of(table.settings, disaggregated=is_disaggregated(table)).items()
    )


def _unserved(model: str | None, table: RoutingTable) -> str:
    if model is None or model in table.models:
        return ""
    near = nearest(model, table.models)
    return f"no worker serves it; did you mean {near}?" if near else "no worker serves it"
