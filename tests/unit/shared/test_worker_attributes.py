"""What may be said of a worker, and what comes of it when several say something."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.worker_attributes import (
    MAX_LABELS,
    NOTHING_SAID,
    AttributeChange,
    WorkerAttributes,
    patched,
    resolved,
    wrong_attributes,
)

LABELS = st.dictionaries(st.sampled_from("abc"), st.one_of(st.none(), st.sampled_from("xy")))
SAID = st.builds(
    WorkerAttributes,
    labels=LABELS,
    weight=st.sampled_from((None, 0.0, 2.0)),
    capacity=st.sampled_from((None, 8.0)),
    priority=st.sampled_from((None, 0, 7)),
)


@pytest.mark.parametrize(
    ("values", "faults"),
    [
        ({}, []),
        ({"weight": 0, "capacity": 0.5, "priority": 0, "role": "regular", "labels": {"a/b.c": ""}}, []),
        ({"weight": None, "labels": {"a": None}}, []),
        ({"weight": -1}, ["weight is -1; write a number from 0 to 1000"]),
        ({"weight": float("nan")}, ["weight is nan; write a number from 0 to 1000"]),
        ({"weight": float("inf")}, ["weight is inf; write a number from 0 to 1000"]),
        ({"weight": 10**400}, [f"weight is {10**400}; write a number from 0 to 1000"]),
        ({"weight": True}, ["weight is true; write a number from 0 to 1000"]),
        ({"capacity": 0}, ["capacity is 0; write a number from 0.001 to 1000000"]),
        ({"priority": 1.0}, ["priority is 1.0; write a whole number from 0 to 4294967295, higher is preferred"]),
        ({"role": "x"}, ["role is 'x'; leave it out, or write one of: regular, prefill, decode"]),
        ({"labels": "a"}, ["""labels is 'a'; write names with texts, such as zone = "a\""""]),
        ({"labels": {"a": 1}}, ["labels has 'a' = 1; write a text, in quotes"]),
        (
            {"labels": {"a": "\n", "b": "x" * 129}},
            [f"labels has a value of {k!r} that is no text of at most 128 printable characters" for k in "ab"],
        ),
    ],
)
def test_faults_say_what_to_write_instead(values: dict[str, Any], faults: list[str]) -> None:
    assert [f"{name} {fault}" for name, fault in wrong_attributes(values)] == faults


@pytest.mark.parametrize("key", ["", "-a", "a-", "a b", "a=b", "\u00e9", "x" * 64])
def test_labels_have_names_that_fit_into_a_command(key: str) -> None:
    assert len(list(wrong_attributes({"labels": {key: "x"}}))) == 1


def test_labels_are_bounded() -> None:
    assert not list(wrong_attributes({"labels": {f"k{n}": "" for n in range(MAX_LABELS)}}))
    assert len(list(wrong_attributes({"labels": {f"k{n}": "" for n in range(MAX_LABELS + 1)}}))) == 1


@given(SAID, SAID, SAID)
def test_a_change_is_what_it_says_and_can_be_taken_back(
    configured: WorkerAttributes, said: WorkerAttributes, news: WorkerAttributes
) -> None:
    change = msgspec.convert(
        {name: getattr(news, name) for name in ("labels", "weight", "capacity", "priority")}, AttributeChange
    )
    after = patched(said, change, configured)
    made = resolved(configured, after)
    for name in ("weight", "capacity", "priority"):
        if getattr(news, name) is not None:
            assert made[name] == getattr(news, name)
        else:
            assert made[name] == resolved(configured)[name]
    for key, value in news.labels.items():
        assert made["labels"].get(key) == value
    back = AttributeChange(labels=None, weight=None, capacity=None, priority=None)
    assert patched(after, back, configured) == NOTHING_SAID


def test_a_change_leaves_alone_what_it_does_not_name() -> None:
    said = WorkerAttributes(weight=2, labels={"a": "x"})
    assert patched(said, AttributeChange(), NOTHING_SAID) == said
    assert patched(said, AttributeChange(labels={"b": "y"}), NOTHING_SAID).labels == {"a": "x", "b": "y"}
    assert patched(said, AttributeChange(labels={"a": None}), NOTHING_SAID).labels == {}
