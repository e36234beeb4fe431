"""The `[policies]` table of a configuration file: a policy for each model that is to have one of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.as_written import as_written
from shared.config_fields import Problem
from shared.config_lines import Path
from shared.policy_names import policy_fault

MAX_MODELS = 64
"""Each has a policy of its own in each plane, which may have an index of its own, too."""
MAX_MODEL = 256
"""Characters of a model's name."""
_EXAMPLE = '[policies] and below it "model-name" = "round_robin"'


class Policies(NamedTuple):
    """The names of policies by model, those that can be used, and what is wrong with the others."""

    by_model: dict[str, str]
    problems: tuple[Problem, ...]


def read_policies(name: str, value: Any, lines: Mapping[Path, int]) -> Policies:
    """Return what the key `policies` of a file gives. `name` is the file's, `lines` tells where its keys stand."""
    first = lines[("policies",)]
    if not isinstance(value, dict):
        return Policies({}, (Problem(f"{name}:{first}: policies is no table; write {_EXAMPLE}", first),))
    by_model: dict[str, str] = {}
    problems = []
    for model, policy in value.items():
        # Of a table within a line the keys are not looked for.
        line = lines.get(("policies", model), first)
        fault = _fault(model, policy)
        if fault is not None:
            problems.append(Problem(f"{name}:{line}: {fault}", line))
        else:
            by_model[model] = policy
    if len(value) > MAX_MODELS:
        text = f"{name}:{first}: policies has {len(value)} models; name at most {MAX_MODELS}, the others go by policy"
        problems.append(Problem(text, first))
    return Policies(by_model, tuple(problems))


def _fault(model: str, policy: Any) -> str | None:
    if not 0 < len(model) <= MAX_MODEL:
        return f"policies has a model's name of {len(model)} characters; write 1 to {MAX_MODEL}, {_EXAMPLE}"
    if isinstance(policy, dict):
        # So TOML reads a name with a dot in it that has no quotes.
        inner = next(iter(policy), "")
        return f'policies.{model} is a table; write a name with a dot in quotes: "{model}.{inner}" = "round_robin"'
    if not isinstance(policy, str):
        said = as_written(policy)
        return f"the policy of model {model!r} is {said}; write a policy's name in quotes, such as {_EXAMPLE}"
    fault = policy_fault(policy)
    return f"the policy of model {model!r} {fault}" if fault is not None else None
