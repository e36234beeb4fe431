"""The values of a configuration with the places that they came from, as they are shown."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.config_fields import Source
from shared.config_sources import Gathered


class ShownValue(msgspec.Struct, frozen=True, kw_only=True):
    """A value with the place that it came from; `name` is the flag, the variable or the file."""

    key: str
    value: Any
    source: Source
    name: str | None = None
    line: int | None = None


def shown_values(gathered: Gathered) -> tuple[ShownValue, ...]:
    """Return every value, in the order of the fields."""
    return tuple(
        ShownValue(
            key=field,
            value=getattr(gathered.config, field),
            source=place.source,
            name=place.name or None,
            line=place.line or None,
        )
        for field, place in gathered.places.items()
    )
