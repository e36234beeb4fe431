"""How a limit is divided among planes: a pure function of what they need.

1. What is needed comes first, class by class. Where that is more than there is, tenants get shares by their weights
   (max-min fair: who needs less than its share gets what it needs, and the others share the rest), whatever plane their
   requests came to; a tenant's share goes to planes by what it needs there. `meant` tells planes whose part is what.
2. What is left is room for more requests of the same kind: a quarter of what is needed.
3. What is left then is handed out equally, up to an equal share each, so that a plane without requests can begin at
   once. What is left after that stays with the control plane.

A plane that needs something gets one at least, and the one that has been without for longest is the first where there
is not one for each. One that needs nothing keeps a sixteenth of its equal share, to have something without a control
plane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FLOOR = 16
"""A part of the equal share: at most 6 % of a limit lie idle for it."""
_HEADROOM = 4

Needs = Sequence[Mapping[str, int]]
"""What a plane needs: for each class, best first, by tenant."""


_ALIKE: Mapping[str, int] = {}


def divide(
    amount: int,
    needs: Sequence[Needs],
    fair: int,
    hungriest: Sequence[int] = (),
    weights: Mapping[str, int] = _ALIKE,
) -> list[int]:
    """Return each plane's part of `amount`, their sum being that at most.

    `needs` are those of each plane; `fair` is an equal share; `hungriest` are indexes of planes that had nothing,
    longest first; `weights` are those of the tenants where they are not 1.
    """
    if not needs:
        return []
    wanted = [needed(need) for need in needs]
    if sum(wanted) > amount:
        parts = _by_class(amount, needs, weights)
    else:
        parts = list(wanted)
        rooms = [part // _HEADROOM + 1 for part in parts]
        for index, more in enumerate(max_min(amount - sum(parts), rooms)):
            parts[index] += more
    _level(parts, amount - sum(parts), fair)
    _raise_to(parts, [fair // FLOOR] * len(parts))
    _feed(parts, wanted, hungriest)
    return parts


def needed(need: Needs) -> int:
    """Return what a plane needs in all."""
    return sum(sum(by_tenant.values()) for by_tenant in need)


def meant(amount: int, needs: Sequence[Needs], weights: Mapping[str, int] = _ALIKE) -> list[dict[str, int]]:
    """Return for each plane what is meant for each tenant there, of the class for which the amount does not suffice.

    Who needs less than its share is meant to have all of that: it may need more in a moment. Empty where all get what
    they need, or there is nobody to share with.
    """
    for rank in range(max(map(len, needs), default=0)):
        of_class = _of_class(rank, needs)
        tenants, wanted = _wanted(of_class)
        if sum(wanted) <= amount:
            amount -= sum(wanted)
            continue
        if len(tenants) < 2:
            break
        weighing = [weights.get(tenant, 1) for tenant in tenants]
        given = max_min(amount, wanted, weighing)
        level = max(got / weight for got, want, weight in zip(given, wanted, weighing, strict=True) if got < want)
        parts: list[dict[str, int]] = [{} for _ in needs]
        for tenant, got, weight in zip(tenants, given, weighing, strict=True):
            at = [need.get(tenant, 0) for need in of_class]
            for index, part in enumerate(proportional(max(got, int(level * weight)), at)):
                if at[index]:
                    parts[index][tenant] = part
        return parts
    return [{} for _ in needs]


def max_min(amount: int, wanted: Sequence[int], weights: Sequence[int] | None = None) -> list[int]:
    """Return how much each gets: shares by weight, and nobody more than it wanted. All is given out if it is wanted."""
    weights = weights or [1] * len(wanted)
    given = [0] * len(wanted)
    weight = sum(weights)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index] / weights[index])
    for index in order:
        given[index] = min(wanted[index], amount * weights[index] // weight)
        amount -= given[index]
        weight -= weights[index]
    for index in order:
        # What was lost by rounding down.
        more = min(wanted[index] - given[index], amount)
        given[index] += more
        amount -= more
    return given


def _by_class(amount: int, needs: Sequence[Needs], weights: Mapping[str, int]) -> list[int]:
    parts = [0] * len(needs)
    for rank in range(max(map(len, needs))):
        for index, part in enumerate(_shared(amount - sum(parts), _of_class(rank, needs), weights)):
            parts[index] += part
    return parts


def _of_class(rank: int, needs: Sequence[Needs]) -> list[Mapping[str, int]]:
    return [need[rank] if rank < len(need) else {} for need in needs]


def _wanted(needs: Sequence[Mapping[str, int]]) -> tuple[list[str], list[int]]:
    tenants = sorted({tenant for need in needs for tenant in need})
    return tenants, [sum(need.get(tenant, 0) for need in needs) for tenant in tenants]


def _shared(amount: int, needs: Sequence[Mapping[str, int]], weights: Mapping[str, int]) -> list[int]:
    tenants, wanted = _wanted(needs)
    parts = [0] * len(needs)
    shares = max_min(amount, wanted, [weights.get(tenant, 1) for tenant in tenants])
    for tenant, share in zip(tenants, shares, strict=True):
        for index, part in enumerate(proportional(share, [need.get(tenant, 0) for need in needs])):
            parts[index] += part
    return parts


def proportional(amount: int, weights: Sequence[int]) -> list[int]:
    """Return parts of `amount` in proportion to the weights, rounded by the largest remainder."""
    total = sum(weights)
    if total == 0:
        return [0] * len(weights)
    parts = [amount * weight // total for weight in weights]
    left = amount - sum(parts)
    by_remainder = sorted(range(len(weights)), key=lambda index: -(amount * weights[index] % total))
    for index in by_remainder[:left]:
        parts[index] += 1
    return parts


def _level(parts: list[int], spare: int, most: int) -> None:
    """Raise the smallest parts as evenly as `spare` allows, none of them above `most`."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if sum(max(0, middle - part) for part in parts) <= spare:
            low = middle
        else:
            high = middle - 1
    parts[:] = [max(part, low) for part in parts]


def _raise_to(parts: list[int], least: Sequence[int]) -> None:
    """Raise parts to the least that they must be; those that have most above theirs pay for it."""
    for index, floor in enumerate(least):
        while parts[index] < floor:
            payer = max(range(len(parts)), key=lambda other: parts[other] - least[other])
            surplus = parts[payer] - least[payer]
            if surplus <= 0:
                return
            moved = min(surplus, floor - parts[index])
            parts[payer] -= moved
            parts[index] += moved


def _feed(parts: list[int], wanted: Sequence[int], hungriest: Sequence[int]) -> None:
    """See that each plane that needs something gets one, the hungriest first where that can not be."""
    order = [*hungriest, *(index for index in range(len(parts)) if index not in hungriest)]
    order = [index for index in order if wanted[index] > 0]
    least = [0] * len(parts)
    for index in order[: sum(parts)]:
        least[index] = 1
    _raise_to(parts, least)
