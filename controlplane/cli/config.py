"""`routerctl config`: look at a configuration without starting anything, and change that of a running router."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import msgspec
import typer

from controlplane.cli import config_router
from controlplane.cli.argv import as_fields
from controlplane.cli.config_view import check_lines, diff_lines, schema_text, values_lines
from controlplane.cli.given_key import with_key_file
from controlplane.cli.start import given_config_file, warn
from shared.config_diff import diff as differences
from shared.config_file import load_config_file
from shared.config_sources import Gathered, gather
from shared.config_values import shown_values

PASSED_ON = frozenset({"show"})
"""Commands whose flags are those of `start` beside their own switches."""
SWITCHES = frozenset({"--json"})
EXIT_FAULTS = 1

config = typer.Typer(rich_markup_mode=None)
config.command()(config_router.apply)
config.command()(config_router.rollback)
config.command()(config_router.history)
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_File = Annotated[str, typer.Argument(metavar="FILE", show_default=False)]


@config.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def show(context: typer.Context, as_json: _Json = False) -> int:
    """Show every value that `routerctl start` would use, and where each comes from.

    Takes every flag of `routerctl start`, and reads the same environment variables and file.
    """
    given = as_fields(context.args)
    path = given.pop("config", None)
    gathered = gather(given, os.environ, given_config_file(path if isinstance(path, str) else None))
    gathered.checked()
    gathered = with_key_file(context.obj, gathered)
    warn(gathered)
    values = shown_values(gathered)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(values), indent=2).decode())
    else:
        print("\n".join(values_lines(values)))
    return 0


@config.command()
def check(file: _File) -> int:
    """Name everything that is wrong with a file, one line each.

    The exit code is 0 when nothing is, 1 when something is, 2 when the file can not be read.
    """
    gathered = _read(file)
    print("\n".join(check_lines(file, gathered)))
    return EXIT_FAULTS if gathered.problems else 0


@config.command()
def schema() -> int:
    """Print the JSON Schema of the file, for editors and checks."""
    print(schema_text())
    return 0


@config.command()
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="NEW", show_default=False)],
    as_json: _Json = False,
) -> int:
    """Show which values are different in two files, and what a router of OLD needs to take NEW up.

    The exit code is 0 also when something is different, 1 when a file is wrong.
    """
    read = {path: _read(path) for path in (old, new)}
    wrong = [problem.text for gathered in read.values() for problem in gathered.problems]
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return EXIT_FAULTS
    changes = differences(read[old].config, read[new].config)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(changes), indent=2).decode())
    else:
        print("\n".join(diff_lines(changes)))
    return 0


def _read(path: str) -> Gathered:
    return gather({}, {}, load_config_file(path, ""))
