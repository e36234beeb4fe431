"""What a name stands for."""

from __future__ import annotations

import pytest

from shared.model_rules import ModelArm, ModelRule, ModelRules, stands_for
from shared.table import Settings, make_table, record_hash

RULES: ModelRules = {
    "alias": ModelRule(to="m"),
    "group": ModelRule(labels={"track": "canary"}),
    "split": ModelRule(split=(ModelArm(to="m"), ModelArm(to="n"), ModelArm(labels={"a": "b"}), ModelArm(to="n"))),
    "adapter": ModelRule(parent="m"),
}


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("m", ("m",)),
        ("alias", ("m",)),
        ("group", ("group",)),
        ("split", ("m", "n", "split")),
        ("adapter", ("adapter",)),
    ],
)
def test_a_name_stands_for_models(name: str, models: tuple[str, ...]) -> None:
    assert stands_for(name, RULES) == models


def test_an_arm_is_called_by_what_it_is() -> None:
    assert ModelArm(to="m").label == "m"
    assert ModelArm(to="m", labels={"b": "2", "a": "1"}).label == "m a=1 b=2"
    assert ModelArm(labels={"a": "1"}).label == "a=1"


def test_both_sides_of_the_wire_hash_the_same() -> None:
    whole, split = (Settings(models={"a": ModelRule(split=(ModelArm(to="m", weight=w),))}) for w in (2, 2.0))
    assert record_hash(whole) == record_hash(split)
    assert make_table(epoch=1, version=1, settings=whole).stamp.hash != make_table(epoch=1, version=1).stamp.hash
