"""What an arm is called, and that rules hash the same on both sides of the wire."""

from __future__ import annotations

from shared.model_rules import ModelArm, ModelRule
from shared.table import Settings, make_table, record_hash


def test_an_arm_is_called_by_what_it_is() -> None:
    assert ModelArm(to="m").label == "m"
    assert ModelArm(to="m", labels={"b": "2", "a": "1"}).label == "m a=1 b=2"
    assert ModelArm(labels={"a": "1"}).label == "a=1"


def test_both_sides_of_the_wire_hash_the_same() -> None:
    whole, split = (Settings(models={"a": ModelRule(split=(ModelArm(to="m", weight=w),))}) for w in (2, 2.0))
    assert record_hash(whole) == record_hash(split)
    assert make_table(epoch=1, version=1, settings=whole).stamp.hash != make_table(epoch=1, version=1).stamp.hash
