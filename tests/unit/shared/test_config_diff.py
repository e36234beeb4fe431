from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config import StartConfig
from shared.config_diff import ConfigChange, change_text, diff, need_of
from shared.config_fields import FIELDS
from shared.plane_fingerprint import plane_fingerprint


def other(field: str) -> object:
    """Return a value that the field does not have by default."""
    value = getattr(StartConfig(), field)
    if value is None or isinstance(value, str):
        return "other"
    if isinstance(value, bool):
        return not value
    if isinstance(value, dict):
        return {**value, "other": "other"}
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


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (1.5, 2, "k: 1.5 -> 2"),
        (None, "é", 'k: (not set) -> "é"'),
        (False, True, "k: false -> true"),
        (("a", "b"), ["b", "c", "d"], "k: +c +d -a"),
        (("a", "b"), ("b", "a"), "k: the same in another order"),
        ((), tuple("abcdefghijklm"), "k: +a +b +c +d +e +f +g +h +i +j (+3 more)"),
    ],
)
def test_a_change_is_one_short_line(old: object, new: object, text: str) -> None:
    assert change_text(ConfigChange(key="k", old=old, new=new, needs="reload")) == text
