"""Values by name, and in which message each changed last: what a message has to tell that builds upon an earlier one.

Whoever sends them counts its messages, and hears which one the other side has taken in. Each message tells all that
changed since that one, so a lost message needs no repair: the next one holds what it told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Changes(Generic[T]):
    """The present values, in the order of their last changes."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[str, tuple[T, int]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def get(self, name: str) -> T | None:
        """Return the present value; None if there is none."""
        found = self._values.get(name)
        return None if found is None else found[0]

    def put(self, name: str, value: T, number: int) -> bool:
        """Have message `number` (never less than one before) tell a value; whether it differs from the present one."""
        found = self._values.get(name)
        if found is not None:
            if found[0] == value:
                return False
            # So that it stands behind all that changed before it.
            del self._values[name]
        self._values[name] = value, number
        return True

    def forget(self, name: str, taken: int) -> bool:
        """Drop a value if message `taken`, which the other side has taken in, told of it; whether it is gone."""
        found = self._values.get(name)
        if found is None or found[1] > taken:
            return False
        del self._values[name]
        return True

    def since(self, number: int) -> dict[str, T]:
        """Return what changed after a message; after message 0, all."""
        found = {}
        for name, (value, changed) in reversed(self._values.items()):
            if changed <= number:
                break
            found[name] = value
        return found
