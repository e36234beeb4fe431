"""A token bucket: something may happen so often on average, and so often at once."""

from __future__ import annotations


class TokenBucket:
    """Fills with time, `per_second` tokens a second, up to `most`. Times are in seconds on any one clock."""

    def __init__(self, now: float, *, tokens: float, per_second: float, most: float) -> None:
        """Begin with `tokens` in it."""
        self._tokens = tokens
        self._per_second = per_second
        self._most = most
        self._filled = now

    def add(self, tokens: float) -> None:
        """Put some in."""
        self._tokens = min(self._most, self._tokens + tokens)

    def left(self, now: float) -> float:
        """Return the tokens in it."""
        tokens = self._tokens + (now - self._filled) * self._per_second
        self._filled = now
        # Without calls: some ask for each request.
        self._tokens = tokens if tokens < self._most else self._most
        return self._tokens

    def has_token(self, now: float) -> bool:
        """Whether there is one to take."""
        return self.left(now) >= 1.0

    def next_at(self) -> float:
        """Return when there will be one to take, to within rounding; as of the last look, and if none is put in."""
        return self._filled + (1.0 - self._tokens) / self._per_second

    def take(self) -> None:
        """Take the one that `has_token` found."""
        self._tokens -= 1.0
