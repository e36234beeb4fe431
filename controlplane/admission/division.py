"""How a limit is divided among planes: a pure function of what they need.

1. What is needed comes first, class by class. Where that is more than there is, tenants get equal shares (max-min fair:
   who needs less than an equal share gets what it needs, and the others share the rest), whatever plane their requests
   came to; a tenant's share goes to planes by what it needs there.
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


def divide(amount: int, needs: Sequence[Needs], fair: int, hungriest: Sequence[int] = ()) -> list[int]:
    """Return each plane's part of `amount`, their sum being that at most.

    `needs` are those of each plane; `fair` is an equal share; `hungriest` are indexes of planes that had nothing,
    longest first.
    """
    if not needs:
        return []
    wanted = [needed(need) for need in needs]
    if sum(wanted) > amount:
        parts = _by_class(amount, needs)
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


def max_min(amount: int, wanted: Sequence[int]) -> list[int]:
    """Return how much each gets: equal shares, and nobody more than it wanted. All is given out if it is wanted."""
    given = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    for position, index in enumerate(order):
        given[index] = min(wanted[index], amount // (len(order) - position))
        amount -= given[index]
    return given


def _by_class(amount: int, needs: Sequence[Needs]) -> list[int]:
    parts = [0] * len(needs)
    for rank in range(max(map(len, needs))):
        of_class = [need[rank] if rank < len(need) else {} for need in needs]
        for index, part in enumerate(_shared(amount - sum(parts), of_class)):
            parts[index] += part
    return parts


def _shared(amount: int, needs: Sequence[Mapping[str, int]]) -> list[int]:
    tenants = sorted({tenant for need in needs for tenant in need})
    wanted = [sum(need.get(tenant, 0) for need in needs) for tenant in tenants]
    parts = [0] * len(needs)
    for tenant, share in zip(tenants, max_min(amount, wanted), strict=True):
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
