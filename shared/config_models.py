"""The `[models]` table of a configuration file: names that stand for models, and what is wrong with them, by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from shared.as_written import as_written
from shared.config_fields import Problem, nearest
from shared.config_lines import Path
from shared.model_rules import ModelArm, ModelRule
from shared.worker_attributes import wrong_attributes

MAX_NAMES = 256
MAX_ARMS = 8
"""Of one name. Each has figures of its own."""
MAX_NAME = 512
"""Characters, as workers' models may have."""
RULE_KEYS = ("to", "labels", "rewrite", "parent", "split")
ARM_KEYS = ("to", "labels", "weight")
_EXAMPLE = '[models] and below it "alias" = "model"'
_ARM_EXAMPLE = 'split = [{ to = "model-a", weight = 95 }, { to = "model-b", weight = 5 }]'


class Models(NamedTuple):
    """The rules that can be used, by name, and what is wrong with the others."""

    rules: dict[str, ModelRule]
    problems: tuple[Problem, ...]


def read_models(name: str, value: Any, lines: Mapping[Path, int]) -> Models:
    """Return what the key `models` of a file gives. `name` is the file's, `lines` tells where its keys stand."""
    first = lines[("models",)]
    if not isinstance(value, dict):
        return Models({}, (Problem(f"{name}:{first}: models is no table; write {_EXAMPLE}", first),))
    rules: dict[str, ModelRule] = {}
    problems: list[Problem] = []
    for model, one in value.items():
        # Of a table within a line the keys are not looked for.
        begun = lines.get(("models", model), first)
        table = {"to": one} if isinstance(one, str) else one
        faults = list(_faults(model, table))
        for key, fault in faults:
            line = lines.get(("models", model, key), begun)
            problems.append(Problem(f"{name}:{line}: {fault}", line))
        if not faults:
            rules[model] = msgspec.convert(table, ModelRule)
    for model, rule in rules.items():
        for key, fault in _chained(model, rule, rules):
            line = lines.get(("models", model, key), lines.get(("models", model), first))
            problems.append(Problem(f"{name}:{line}: {fault}", line))
    if len(value) > MAX_NAMES:
        problems.append(Problem(f"{name}:{first}: models has {len(value)} names; write at most {MAX_NAMES}", first))
    return Models(rules, tuple(problems))


def _faults(model: str, table: Any) -> Iterator[tuple[str, str]]:
    """Yield key and fault of everything in a name's rule that can not work by itself."""
    if not 0 < len(model) <= MAX_NAME:
        yield "", f"models has a name of {len(model)} characters; write 1 to {MAX_NAME}, {_EXAMPLE}"
        return
    where = f"model {model!r}"
    if not isinstance(table, dict):
        yield (
            "",
            f"{where} is {as_written(table)}; write a model's name in quotes, or a table with {', '.join(RULE_KEYS)}",
        )
        return
    unknown = [key for key in table if key not in RULE_KEYS]
    for key in unknown:
        yield key, _unknown(model, key, table[key])
    if unknown:
        return
    yield from _wrong_arm(where, table)
    if "parent" in table and not _is_name(table["parent"]):
        yield "parent", _no_name(where, "parent", table["parent"])
    if not isinstance(table.get("rewrite", True), bool):
        yield "rewrite", f"rewrite of {where} is {as_written(table['rewrite'])}; write true or false"
    elif "rewrite" in table and not {"to", "split"} & table.keys():
        yield "rewrite", f"rewrite of {where} has no effect; it is for a name with `to` or `split`"
    if "split" in table:
        yield from _wrong_split(where, table["split"])
    beside = [key for key in ("split", "parent") if key in table]
    others = [key for key in ("to", "labels", "split", "parent") if key in table and key not in beside[:1]]
    if beside and others:
        yield beside[0], f"{where} has {beside[0]} and {others[0]}; leave one out"
    elif not beside and table.get("to", model) == model and not table.get("labels"):
        yield (
            "to",
            f'{where} stands for nothing else; write to = "NAME", or some of its workers\' labels',
        )


def _wrong_split(where: str, split: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(split, list) or not split or not all(isinstance(arm, dict) for arm in split):
        yield "split", f"split of {where} is no list of tables; write {_ARM_EXAMPLE}"
        return
    if len(split) > MAX_ARMS:
        yield "split", f"split of {where} has {len(split)} arms; write at most {MAX_ARMS}"
    wrong = False
    for number, arm in enumerate(split, 1):
        of_arm = f"arm {number} of {where}"
        faults = [
            f"unknown key {key!r} of {of_arm}; {_hint(key, ARM_KEYS, 'an arm')}" for key in arm if key not in ARM_KEYS
        ]
        faults += [fault for _, fault in _wrong_arm(of_arm, arm)]
        if not faults and not (arm.get("to") or arm.get("labels")):
            faults.append(f'{of_arm} stands for nothing; write to = "NAME", or some workers\' labels')
        wrong = wrong or bool(faults)
        yield from (("split", fault) for fault in faults)
    if wrong:
        return
    arms = [msgspec.convert(arm, ModelArm) for arm in split]
    if len({arm.label for arm in arms}) < len(arms):
        yield "split", f"split of {where} has two arms that are the same; write one with both weights"
    if not any(arm.weight for arm in arms):
        yield "split", f"split of {where} has weights of 0 only; write a number above 0 for one of its arms"


def _wrong_arm(where: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "to" in table and not _is_name(table["to"]):
        yield "to", _no_name(where, "to", table["to"])
    labels = table.get("labels", {})
    for key, fault in wrong_attributes({"labels": labels, "weight": table.get("weight")}):
        yield key, f"{key} of {where} {fault}"


def _chained(model: str, rule: ModelRule, rules: Mapping[str, ModelRule]) -> Iterator[tuple[str, str]]:
    """Yield what stands for a name that stands for another one: where a request goes is told by one step."""
    targets = [("parent", rule.parent), ("to", rule.to), *(("split", arm.to) for arm in rule.split)]
    for key, target in targets:
        other = rules.get(target) if target is not None and target != model else None
        if other is not None and (key == "parent" or other.parent is None):
            what = f"{key} of model {model!r} is {target!r}, which is itself a name of [models]"
            yield key, f"{what}; write the model that workers serve"


def _unknown(model: str, key: str, value: Any) -> str:
    if isinstance(value, str | dict) and nearest(key, RULE_KEYS) is None:
        # So TOML reads a name with a dot in it that has no quotes.
        return (
            f"unknown key {key!r} of model {model!r}; it has {', '.join(RULE_KEYS)}; "
            f'write a name with a dot in quotes: "{model}.{key}"'
        )
    return f"unknown key {key!r} of model {model!r}; {_hint(key, RULE_KEYS, 'it')}"


def _hint(key: str, known: Iterable[str], what: str) -> str:
    near = nearest(key, known)
    return f"did you mean {near}?" if near else f"{what} has {', '.join(known)}"


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME


def _no_name(where: str, key: str, value: Any) -> str:
    return f"{key} of {where} is {as_written(value)}; write a model's name in quotes, of at most {MAX_NAME} characters"
