"""`[policies]`: a policy for each model that is to have one of its own, and what is wrong with them by line."""

from __future__ import annotations

import pytest

from shared.config import StartConfig
from shared.config_diff import change_text, diff, value_text
from shared.config_file import ConfigFile
from shared.config_policies import MAX_MODELS
from shared.config_settings import settings_of
from shared.config_sources import Gathered, gather

FILE = """\
policy = "least_load"

[policies]
small = "random"
"org/big-1.5" = "kv_aware"
"""


def read(text: str, **flags: str) -> Gathered:
    return gather(flags, {}, ConfigFile("f", text))


def test_models_get_their_policies() -> None:
    config = read(FILE).checked()
    assert config.policies == {"small": "random", "org/big-1.5": "kv_aware"}
    assert settings_of(config).model_policies == config.policies
    assert str(read(FILE).places["policies"]) == "f:3: policies"


def test_variables_do_not_give_them() -> None:
    assert gather({}, {"ROUTERCTL_POLICIES": "random"}).checked().policies == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("policies = 1", "f:1: policies is no table; write [policies] and below it"),
        ('[policies]\na = "random"\nb = "round-robin"', "f:3: the policy of model 'b' is 'round-robin'; did you mean "),
        ('[policies]\na = "zzz"', "f:2: the policy of model 'a' is 'zzz'; choose one of: cache_aware, kv_aware"),
        ('[policies]\na = "no.such:Policy"', "f:2: the policy of model 'a' can not be used: policy 'no.such:Policy'"),
        ("[policies]\na = 1", "f:2: the policy of model 'a' is 1; write a policy's name in quotes"),
        ('[policies]\nllama-3.1 = "random"', "f:2: policies.llama-3 is a table; write a name with a dot in quotes: "),
        ('[policies]\n"" = "random"', "f:2: policies has a model's name of 0 characters"),
        (
            '[policy]\na = "random"',
            "f:1: policy is a table; write one value, such as cache_aware; a table of policies by",
        ),
        ('[polices]\na = "random"', "f:1: unknown key 'polices'; did you mean policies?"),
        ('policies = { a = "zzz" }', "f:1: the policy of model 'a' is 'zzz'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, problem: str) -> None:
    [found] = read(text).problems
    assert found.text.startswith(problem)


def test_there_are_not_too_many() -> None:
    text = "[policies]\n" + "".join(f'm{number} = "random"\n' for number in range(MAX_MODELS + 1))
    [found] = read(text).problems
    assert found.text.startswith(f"f:1: policies has {MAX_MODELS + 1} models; name at most {MAX_MODELS}")


@pytest.mark.parametrize("flag", ["policy", "prefill_policy", "decode_policy"])
def test_each_flag_is_judged_alike(flag: str) -> None:
    [found] = gather({flag: "least-loaded"}, {}).problems
    assert found.text.startswith(f"--{flag.replace('_', '-')} is 'least-loaded'; did you mean least_load? Choose one")
    assert gather({flag: "random"}, {}).checked()
    [found] = gather({flag: "no.such:Policy"}, {}).problems
    assert found.text.startswith(f"--{flag.replace('_', '-')} can not be used: policy 'no.such:Policy'")


def test_a_change_names_what_came_and_what_went() -> None:
    old, new = StartConfig(policies={"a": "random", "b": "random"}), StartConfig(policies={"a": "random", "c.d": "p2c"})
    [change] = diff(old, new)
    assert change.needs == "reload"
    assert change_text(change) == 'policies: +"c.d" = "p2c" -b = "random"'
    assert value_text({}) == "{}"
