from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.config_history import MAX_ENTRIES, MAX_TEXT, Cause, History, added, current, find, previous
from shared.config import ConfigError


def history(*texts: str, cause: Cause = "apply") -> History:
    made = History()
    for number, text in enumerate(texts):
        made = added(made, text, cause, time=float(number))
    return made


def test_the_newest_that_was_in_use_is_the_present_one() -> None:
    made = added(history("a", "b"), "c", "overwritten", time=9.0)
    assert (current(History()), previous(made).text) == (None, "a")
    found = current(made)
    assert found is not None
    assert (found.number, found.text) == (2, "b")
    assert find(made, 3).text == "c"


@pytest.mark.parametrize("made", [History(), history("a"), added(history("a"), "x", "overwritten", time=1.0)])
def test_there_may_be_none_before_it(made: History) -> None:
    with pytest.raises(ConfigError, match="no earlier configuration"):
        previous(made)
    with pytest.raises(ConfigError, match="no configuration 7"):
        find(made, 7)


def test_what_only_repeats_is_no_entry() -> None:
    made = added(history("a"), "x", "overwritten", time=1.0)
    assert added(made, "a", "start", time=2.0) == made
    assert added(made, "x", "overwritten", time=2.0) == made
    assert len(added(made, "x", "reload", time=2.0).entries) == 3


@given(st.lists(st.tuples(st.sampled_from(("apply", "overwritten")), st.integers(0, 5)), max_size=120))
def test_it_is_bounded_and_never_forgets_what_is_in_use(steps: list[tuple[Cause, int]]) -> None:
    made, in_use, last = History(), None, 0
    for cause, text in steps:
        made = added(made, str(text), cause, time=0.0)
        in_use = str(text) if cause == "apply" else in_use
        found = current(made)
        assert (found.text if found is not None else None) == in_use
        numbers = [entry.number for entry in made.entries]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] in (last, last + 1)
        last = numbers[-1]
        assert len(numbers) <= MAX_ENTRIES
        texts = [entry.text for entry in made.entries if entry.cause != "overwritten"]
        assert all(one != other for one, other in itertools.pairwise(texts))


def test_another_files_text_is_another_entry_and_none_to_go_back_to_unnamed() -> None:
    made = added(History(), "a", "start", time=1.0, file="/old.toml")
    made = added(made, "a", "start", time=2.0, file="/new.toml", keys=("policy",))
    assert [(entry.number, entry.file) for entry in made.entries] == [(1, "/old.toml"), (2, "/new.toml")]
    with pytest.raises(ConfigError, match=r"configuration 1 is of /old.toml, .* with /new.toml; .* rollback 1$"):
        previous(made)
    with pytest.raises(ConfigError, match="configuration 1 is of a file that was not written down"):
        previous(added(history("a"), "b", "start", time=2.0, file="/new.toml"))
    assert previous(added(made, "b", "apply", time=3.0, file="/new.toml")).number == 2


def test_large_texts_leave_room_for_the_way_back_only() -> None:
    large = [letter * (MAX_TEXT // 2) for letter in "abc"]
    made = history("small", *large)
    assert [entry.number for entry in made.entries] == [3, 4]
    assert previous(made).text == large[1]
