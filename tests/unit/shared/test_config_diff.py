from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config import StartConfig, plane_fingerprint
from shared.config_diff import diff, need_of
from shared.config_fields import FIELDS


def other(field: str) -> object:
    """Return a value that the field does not have by default."""
    value = getattr(StartConfig(), field)
    if value is None or isinstance(value, str):
        return "other"
    if isinstance(value, bool):
        return not value
    return (*value, "other") if isinstance(value, tuple) else value + 1


@given(st.sets(st.sampled_from(list(FIELDS))))
def test_exactly_the_changed_values_are_named_with_both_sides(fields: set[str]) -> None:
    old = StartConfig()
    new = msgspec.structs.replace(old, **{field: other(field) for field in fields})
    there, back = diff(old, new), diff(new, old)
    assert {change.key for change in there} == fields
    assert [(one.key, one.old, one.new) for one in there] == [(one.key, one.new, one.old) for one in back]


@pytest.mark.parametrize("field", FIELDS)
def test_what_a_plane_takes_at_its_start_needs_another_plane(field: str) -> None:
    changed = msgspec.structs.replace(StartConfig(), **{field: other(field)})
    is_in_fingerprint = plane_fingerprint(changed) != plane_fingerprint(StartConfig())
    assert is_in_fingerprint == (need_of(field) == "planes" or field in ("host", "port"))
