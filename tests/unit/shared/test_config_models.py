"""`[models]`: names that stand for models, and what is wrong with them, by line."""

from __future__ import annotations

import tomllib

import pytest

from shared.config import StartConfig
from shared.config_diff import change_text, diff, value_text
from shared.config_file import ConfigFile
from shared.config_models import MAX_NAMES
from shared.config_settings import settings_of
from shared.config_sources import Gathered, gather
from shared.config_values import shown_values
from shared.model_rules import ModelArm, ModelRule

FILE = """\
[models]
"gpt-4.1" = "org/big"

[models.chat]
split = [
  { to = "org/big", weight = 95 },
  { to = "org/new", weight = 5, labels = { track = "canary" } },
]

[models."org/big"]
labels = { zone = "a" }

[models.sql]
parent = "org/small"

[models.both]
to = "org/new"
rewrite = false
"""
RULES = {
    "gpt-4.1": ModelRule(to="org/other"),
    "chat": ModelRule(split=(ModelArm(to="a", weight=95), ModelArm(to="b", weight=5, labels={"track": "canary"}))),
}


def read(text: str) -> Gathered:
    return gather({}, {}, ConfigFile("f", text))


def test_names_get_their_rules() -> None:
    gathered = read(FILE.replace('labels = { zone = "a" }', 'parent = "org/tiny"'))
    config = gathered.checked()
    assert config.models == {
        "gpt-4.1": ModelRule(to="org/big"),
        "chat": ModelRule(
            split=(
                ModelArm(to="org/big", weight=95),
                ModelArm(to="org/new", weight=5, labels={"track": "canary"}),
            )
        ),
        "org/big": ModelRule(parent="org/tiny"),
        "sql": ModelRule(parent="org/small"),
        "both": ModelRule(to="org/new", rewrite=False),
    }
    assert settings_of(config).models == config.models
    assert str(gathered.places["models"]) == "f:1: models"


def test_a_name_that_stands_for_a_name_is_refused() -> None:
    end = "is 'org/big', which is itself a name of [models]; write the model that workers serve"
    assert [problem.text for problem in read(FILE).problems] == [
        f"f:2: to of model 'gpt-4.1' {end}",
        f"f:5: split of model 'chat' {end}",
    ]


def test_a_split_may_have_its_own_name() -> None:
    text = '[models.a]\nsplit = [{ to = "a", weight = 9 }, { to = "b" }]\n'
    assert read(text).checked().models["a"].arms == (ModelArm(to="a", weight=9), ModelArm(to="b"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models = 1", 'f:1: models is no table; write [models] and below it "alias" = "model"'),
        ("[models]\na = 1", "f:2: model 'a' is 1; write a model's name in quotes, or a table with to, labels, rewrite"),
        ('[models]\na = ""', "f:2: to of model 'a' is ''; write a model's name in quotes, of at most 512 characters"),
        ('[models]\n"" = "b"', "f:2: models has a name of 0 characters"),
        ('[models]\na = "a"', "f:2: model 'a' stands for nothing else; write to = "),
        ("[models.a]", "f:1: model 'a' stands for nothing else; write to = "),
        (
            '[models]\nllama-3.1 = "b"',
            "f:2: unknown key '1' of model 'llama-3'; it has to, labels, rewrite, parent",
        ),
        ('[models.a]\nsplitt = [{ to = "b" }]', "f:2: unknown key 'splitt' of model 'a'; did you mean split?"),
        ('[models.a]\nlables = { a = "b" }', "f:2: unknown key 'lables' of model 'a'; did you mean labels?"),
        ('[models.a]\nto = "b"\nparent = "c"', "f:3: model 'a' has parent and to; leave one out"),
        ('[models.a]\nto = "b"\nsplit = [{ to = "c" }]', "f:3: model 'a' has split and to; leave one out"),
        ('[models.a]\nto = "b"\nrewrite = "no"', "f:3: rewrite of model 'a' is 'no'; write true or false"),
        ('[models.a]\nlabels = { a = "b" }\nrewrite = false', "f:3: rewrite of model 'a' has no effect; it is for a n"),
        ("[models.a]\nparent = 1", "f:2: parent of model 'a' is 1; write a model's name in quotes"),
        ("[models.a]\nlabels = { a = 1 }", "f:2: labels of model 'a' has 'a' = 1; write a text, in quotes"),
        ("[models.a]\nsplit = 1", "f:2: split of model 'a' is no list of tables; write split = [{ to = "),
        ("[models.a]\nsplit = []", "f:2: split of model 'a' is no list of tables; write split = [{ to = "),
        ("[models.a]\nsplit = [{ weight = 1 }]", "f:2: arm 1 of model 'a' stands for nothing; write to = "),
        (
            '[models.a]\nsplit = [{ to = "b", wieght = 1 }]',
            "f:2: unknown key 'wieght' of arm 1 of model 'a'; did",
        ),
        ('[models.a]\nsplit = [{ to = "b", weight = -1 }]', "f:2: weight of arm 1 of model 'a' is -1; write a number "),
        (
            '[models.a]\nsplit = [{ to = "b" }, { to = "b" }]',
            "f:2: split of model 'a' has two arms that are the same",
        ),
        ('[models.a]\nsplit = [{ to = "b", weight = 0 }]', "f:2: split of model 'a' has weights of 0 only; write a nu"),
        ('[model]\na = "b"', "f:1: unknown key 'model'; did you mean models?"),
        ('models = { a = { too = "b" } }', "f:1: unknown key 'too' of model 'a'; did you mean to?"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, problem: str) -> None:
    [found] = read(text).problems
    assert found.text.startswith(problem)


def test_there_are_not_too_many() -> None:
    names = "[models]\n" + "".join(f'n{number} = "m"\n' for number in range(MAX_NAMES + 1))
    [found] = read(names).problems
    assert found.text == f"f:1: models has {MAX_NAMES + 1} names; write at most {MAX_NAMES}"
    arms = ", ".join(f'{{ to = "m{number}" }}' for number in range(9))
    [found] = read(f"[models.a]\nsplit = [{arms}]").problems
    assert found.text == "f:2: split of model 'a' has 9 arms; write at most 8"


def test_what_is_shown_can_be_read_again() -> None:
    config = StartConfig(models=RULES)
    gathered = read(f"models = {value_text(config.models)}\n")
    assert gathered.checked().models == RULES
    [shown] = [one for one in shown_values(gathered) if one.key == "models"]
    assert tomllib.loads(f"x = {value_text(shown.value)}")["x"]["gpt-4.1"] == {"to": "org/other"}


def test_a_change_names_what_came_and_what_went() -> None:
    old = StartConfig(models={"a": ModelRule(to="m"), "b": ModelRule(to="m")})
    new = StartConfig(models={"a": ModelRule(to="m"), "c.d": ModelRule(split=(ModelArm(to="x", weight=2),))})
    [change] = diff(old, new)
    assert change.needs == "reload"
    assert change_text(change) == ('models: +"c.d" = { split = [{ to = "x", weight = 2.0 }] } -b = { to = "m" }')


def test_gateway_mode_forwards_unknown_models() -> None:
    given = ("forward_unknown_models", "enable_igw")
    assert not settings_of(StartConfig()).forward_unknown_models
    for flag in given:
        assert settings_of(gather({flag: "true"}, {}).checked()).forward_unknown_models
