from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.config_watch import SETTLED, Refused, Seen, is_due, is_put_right, problems, see, standing


@pytest.mark.parametrize(
    ("text", "refused", "expected"),
    [
        ("a", None, "in use"),
        ("a", Refused("a", ("no",)), "in use"),
        ("b", None, "changed"),
        ("b", Refused("b", ("no",)), "refused"),
        ("c", Refused("b", ("no",)), "changed"),
        (None, None, "unreadable"),
        (None, Refused(None, ("no",)), "unreadable"),
    ],
)
def test_how_the_file_stands(text: str | None, refused: Refused | None, expected: str) -> None:
    seen = Seen(text, 0.0)
    assert standing(seen, "a", refused) == expected
    is_news = expected == "changed" or (expected == "unreadable" and refused is None)
    assert is_due(seen, "a", refused, SETTLED) == is_news
    assert not is_due(seen, "a", refused, SETTLED / 2)


@pytest.mark.parametrize(
    ("text", "refused", "expected"),
    [
        ("a", Refused("b", ("no",)), True),
        ("a", Refused(None, ("no",)), True),
        ("a", Refused("a", ("a file that it names is gone",)), False),
        ("a", None, False),
        ("b", Refused("c", ("no",)), False),
        (None, Refused("b", ("no",)), False),
    ],
)
def test_a_file_is_put_right_when_it_holds_again_what_is_in_use(
    text: str | None, refused: Refused | None, expected: bool
) -> None:
    assert is_put_right(Seen(text, 0.0), "a", refused) == expected


@pytest.mark.parametrize(
    ("seen", "refused", "expected"),
    [
        (Seen("a", 0.0), Refused("a", ("no",)), ()),
        (Seen("b", 0.0), None, ()),
        (Seen("b", 0.0), Refused("b", ("no",)), ("no",)),
        (Seen("c", 0.0), Refused("b", ("no",)), ()),
        (Seen(None, 0.0, "gone"), None, ("gone",)),
        (Seen(None, 0.0, "gone"), Refused("b", ("no",)), ("gone",)),
        (Seen(None, 0.0), Refused(None, ("no",)), ("no",)),
    ],
)
def test_what_is_said_to_be_wrong_is_of_what_the_file_holds_now(
    seen: Seen, refused: Refused | None, expected: tuple[str, ...]
) -> None:
    assert problems(seen, "a", refused) == expected


def test_why_a_file_can_not_be_read_may_change_while_it_can_not() -> None:
    seen = see(see(None, None, 1.0, "gone"), None, 2.0, "no permission")
    assert seen == Seen(None, 1.0, "no permission")


@given(st.lists(st.sampled_from(("a", "b", "bad", None)), max_size=60))
def test_each_content_is_taken_up_once_it_stands_and_refused_once(looks: list[str | None]) -> None:
    """A file that is looked at each second, with contents that are refused when they are bad or missing."""
    seen: Seen | None = None
    refused: Refused | None = None
    in_use = "a"
    for second, text in enumerate(looks):
        seen = see(seen, text, float(second))
        due = is_due(seen, in_use, refused, float(second))
        stood = second > 0 and looks[second - 1] == text
        known = refused is not None and refused.text == text
        assert due == (stood and text != in_use and not known)
        if due and text in ("bad", None):
            refused = Refused(text, ("no",))
        elif due:
            assert text is not None
            in_use, refused = text, None
