"""The workers' key given as a word: vllm-router's `--api-key KEY`, and ROUTERCTL_API_KEY in the environment.

A command line can be read by everybody on the machine, for as long as the process runs. So the process writes another
one over its own before it does anything else, and hands the key on as a file in the runtime folder, which is private to
its user. What is left is the moment before, and the shell's history: hence the warning.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from controlplane.cli.argv import UsageProblem
from shared.config import ConfigError
from shared.config_fields import Place
from shared.config_sources import Gathered
from shared.worker_key import check_worker_key

FLAG = "--api-key"
VARIABLE = "ROUTERCTL_API_KEY"
_TITLE = "routerctl"


class GivenKey(NamedTuple):
    """A key and the place where it was given."""

    where: str
    key: str


def take_key(argv: Sequence[str]) -> tuple[list[str], GivenKey | None]:
    """Return the arguments without the key, and the key. What is given in the environment is taken out of that.

    Raises UsageProblem.
    """
    rest: list[str] = []
    found = os.environ.pop(VARIABLE, "")
    given = GivenKey(VARIABLE, found) if found else None
    words = iter(argv)
    for word in words:
        flag, tied, value = word.partition("=")
        if flag != FLAG:
            rest.append(word)
            continue
        if not tied:
            value = next(words, "")
        if not value:
            raise UsageProblem(f"{FLAG} needs a value; better write the key to a file and give --api-key-file FILE")
        given = GivenKey(FLAG, value)
    if given is not None and given.where == FLAG:
        _hide()
    return rest, given


def _hide() -> None:
    from setproctitle import setproctitle

    setproctitle(_TITLE)
    print(
        f"routerctl: warning: everybody on this machine could read the key of {FLAG} for a moment, and the shell may "
        f"keep it; give --api-key-file FILE, or set {VARIABLE}",
        file=sys.stderr,
    )


def checked_key(given: GivenKey | None, gathered: Gathered) -> str | None:
    """Return the key. Raises ConfigError, which never holds any of it."""
    if given is None:
        return None
    place = gathered.places["api_key_file"]
    if place.source != "default":
        raise ConfigError(f"{given.where} and {place} are both given; leave one out")
    check_worker_key(given.where, given.key)
    return given.key


def with_key_file(given: GivenKey | None, gathered: Gathered) -> Gathered:
    """Return a checked configuration as `start` goes by it, with the file that it writes the key to.

    Raises ConfigError as `checked_key` does.
    """
    if given is None:
        return gathered
    # Only for those who use it: every command loads this file.
    from shared.runtime_dir import RuntimeDir, default_runtime_dir

    checked_key(given, gathered)
    config = gathered.config.with_absolute_paths()
    runtime = RuntimeDir(Path(config.runtime_dir) if config.runtime_dir else default_runtime_dir(config.port))
    place = Place("flag" if given.where == FLAG else "environment", given.where)
    return gathered._replace(
        config=msgspec.structs.replace(gathered.config, api_key_file=str(runtime.worker_key)),
        places={**gathered.places, "api_key_file": place},
    )
