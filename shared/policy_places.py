"""Which policy chooses for which requests: one for each pool of workers, and for each model that has one of its own."""

from __future__ import annotations

import msgspec

from shared.table import Settings

PLAIN = "plain"


class PolicyPlace(msgspec.Struct, frozen=True, array_like=True):
    """Where a policy chooses: `pool` is `plain` (whole requests), `prefill` or `decode`.

    `model` is one that has a policy of its own; None is every other one.
    """

    pool: str = PLAIN
    model: str | None = None

    def __str__(self) -> str:
        """Return it for people; empty for the place of most requests."""
        of = f"model {self.model}" if self.model is not None else ""
        return " ".join(part for part in (self.pool if self.pool != PLAIN else "", of) if part)


def policies_of(settings: Settings, *, disaggregated: bool) -> dict[PolicyPlace, str]:
    """Return the name of the policy of every place that there is.

    A pool's own policy is for all models there. Where it has none, and for whole requests, a model's own comes before
    the one for all.
    """
    own = {"prefill": settings.prefill_policy, "decode": settings.decode_policy}
    pools = (PLAIN, *own) if disaggregated else (PLAIN,)
    found = {}
    for pool in pools:
        name = own.get(pool)
        found[PolicyPlace(pool)] = name or settings.policy
        if name is None:
            found.update({PolicyPlace(pool, model): policy for model, policy in settings.model_policies.items()})
    return found


def policy_names_of(settings: Settings) -> frozenset[str]:
    """Return the names of all policies that a place may have."""
    halves = (settings.prefill_policy, settings.decode_policy)
    return frozenset((settings.policy, *settings.model_policies.values(), *(name for name in halves if name)))
