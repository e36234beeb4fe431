"""The few statistics that the reports are made of."""

from collections.abc import Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0..1) of the values lie (nearest rank); 0.0 if empty."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """Return the median; 0.0 if there are no values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median, by the sign test; least and most of few values.

    The ranks are those of the binomial distribution's normal approximation: n / 2 -+ 1.96 sqrt(n) / 2
    (Conover, Practical Nonparametric Statistics, 3.2).
    """
    if not values:
        return 0.0, 0.0
    ordered = sorted(values)
    below = max(0, int((len(ordered) - 1.96 * len(ordered) ** 0.5) / 2))
    return ordered[below], ordered[-1 - below]
