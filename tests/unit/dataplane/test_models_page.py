"""`/v1/models`: the entries of models, and of the names that stand for them."""

from __future__ import annotations

import json
from typing import Any

from dataplane.models_page import ModelsPage
from shared.model_rules import ModelArm, ModelRule, ModelRules
from shared.table import ModelCard


def page(rules: ModelRules, **lengths: int | None) -> ModelsPage:
    cards = {}
    for model, length in lengths.items():
        entry = {
            "id": model,
            "object": "model",
            "created": 7,
            "owned_by": "vllm",
            "root": f"/m/{model}",
            "parent": None,
        }
        cards[model] = ModelCard(id=model, card=json.dumps({**entry, "max_model_len": length}).encode())
    return ModelsPage(cards, rules)


def told(one: ModelsPage) -> dict[str, dict[str, Any]]:
    listed = json.loads(one.body)
    assert listed["object"] == "list"
    entries = {name: json.loads(entry) for name, entry in one.entries.items()}
    assert listed["data"] == list(entries.values())
    return entries


def test_models_stand_as_workers_describe_them() -> None:
    one = page({}, a=10, b=20)
    assert list(told(one)) == ["a", "b"]
    assert one.entries["a"] in one.body
    assert told(page({})) == {}


def test_an_alias_has_the_entry_of_what_it_stands_for() -> None:
    alias = told(page({"x": ModelRule(to="a")}, a=10))["x"]
    assert alias == {
        "id": "x", "object": "model", "created": 7, "owned_by": "routerctl", "root": "a", "parent": None,
        "max_model_len": 10,
    }  # fmt: skip


def test_a_split_takes_what_all_of_its_arms_take() -> None:
    rule = ModelRule(split=(ModelArm(to="a"), ModelArm(to="b"), ModelArm(to="c")))
    split = told(page({"x": rule}, a=10, b=5))["x"]
    assert (split["root"], split["max_model_len"]) == (None, 5)
    assert told(page({"x": rule}, a=None))["x"]["max_model_len"] is None


def test_an_adapter_is_listed_before_anybody_has_loaded_it() -> None:
    rules = {"sql": ModelRule(parent="a")}
    assert told(page(rules, a=10))["sql"] | {"permission": 0} == {
        "id": "sql", "object": "model", "created": 7, "owned_by": "vllm", "root": None, "parent": "a",
        "max_model_len": 10, "permission": 0,
    }  # fmt: skip
    assert told(page({**rules, "q": ModelRule(to="sql")}, a=10))["q"]["max_model_len"] == 10
    assert told(page(rules, a=10, sql=9))["sql"]["root"] == "/m/sql"


def test_a_name_for_what_nobody_serves_is_not_listed() -> None:
    rules = {"x": ModelRule(to="zzz"), "sql": ModelRule(parent="zzz"), "a": ModelRule(labels={"k": "v"})}
    assert list(told(page(rules, a=10))) == ["a"]
    assert told(page(rules, a=10))["a"]["root"] == "/m/a"


def test_a_name_that_is_a_models_has_the_entry_of_what_it_stands_for() -> None:
    entries = told(page({"a": ModelRule(to="b")}, a=10, b=20))
    assert list(entries) == ["a", "b"]
    assert entries["a"]["root"] == "b"
