"""Completion in bash, zsh and fish (`routerctl --install-completion`): what typer does not know by itself.

typer's script for a shell runs `routerctl` with the line in the environment. What stands on the line says which
command's module is needed; values are completed from what is at hand, without asking a running router.
"""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import typer

from controlplane.cli import VARIABLE
from shared.config import StartConfig
from shared.config_faults import CHOICES, POLICY_FIELDS
from shared.config_fields import BOOLEANS
from shared.config_pd import KV_CONNECTORS
from shared.policy_names import POLICIES
from shared.transfer import AUTO

Values = Callable[[str], list[str]]


def line_of(environment: Mapping[str, str]) -> list[str]:
    """Return the words of the line that is completed, without the program's name."""
    line = environment.get("COMP_WORDS", environment.get("_TYPER_COMPLETE_ARGS", ""))
    try:
        return shlex.split(line)[1:]
    except ValueError:
        # A quote that is still open.
        return line.split()[1:]


def values_of(field: str) -> Values | None:
    """Return what completes the values of a field of the configuration; None where they are not counted out."""
    known: tuple[str, ...] = CHOICES.get(field, ())
    if field in POLICY_FIELDS:
        known = POLICIES
    elif field == "kv_connector":
        known = (AUTO, *KV_CONNECTORS)
    elif field in BOOLEANS:
        known = ("true", "false")
    if not known:
        return None

    def complete(incomplete: str) -> list[str]:
        return [value for value in known if value.startswith(incomplete)]

    return complete


def worker_urls(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete a worker of the router on the runtime folder, from the last table that lies there."""
    from shared.messages import MessageError, decode_table
    from shared.runtime_dir import RuntimeDir, default_runtime_dir

    folder = ctx.params.get("runtime_dir") or os.environ.get("ROUTERCTL_RUNTIME_DIR")
    runtime = RuntimeDir(Path(folder) if folder else default_runtime_dir(StartConfig().port))
    try:
        table = decode_table(runtime.table.read_bytes())
    except (OSError, MessageError):
        return []
    return [worker for worker in table.workers if worker.startswith(incomplete)]


def whole_words(words: Sequence[str], number: int) -> list[str]:
    """Return the words up to that which is completed, `number`, as bash has split them at colons, in one piece each."""
    whole: list[str] = []
    # A word that is not begun yet is missing.
    for word in [*words[: number + 1], *([""] if number >= len(words) else [])]:
        if whole and (word == ":" or whole[-1].endswith(":")):
            whole[-1] += word
        else:
            whole.append(word)
    return whole


def complete(answer: Callable[[], object]) -> None:
    """Have typer's `answer` printed; for bash without what stands before the last colon, which it leaves as it is."""
    if os.environ.get(VARIABLE) != "complete_bash":
        answer()
        return
    words = whole_words(os.environ.get("COMP_WORDS", "").split(), int(os.environ.get("COMP_CWORD", "0")))
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = shlex.join(words), str(len(words) - 1)
    kept = words[-1][: words[-1].rfind(":") + 1]
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            answer()
    finally:
        for line in said.getvalue().splitlines():
            print(line.removeprefix(kept))
