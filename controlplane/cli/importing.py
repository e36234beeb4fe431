"""`routerctl import`: what another router was started with, as a configuration file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.argv import UsageProblem
from shared.config_diff import value_text
from shared.config_fields import FIELDS
from shared.config_file import load_config_file
from shared.config_sources import Gathered, gather

imports = typer.Typer(
    help="Turn another router's settings into a configuration file.",
    rich_markup_mode=None,
    add_completion=False,
)
_Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        show_default=False,
        help="File to write, which must not be there yet; stdout without it.",
    ),
]
_PASSES_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@imports.command("vllm-router", context_settings=_PASSES_ON)
def vllm_router(
    line: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND_LINE", show_default=False, help="What vllm-router is started with, behind --."),
    ] = None,
    output: _Output = None,
) -> int:
    """Write a file that says what a command line of vllm-router 0.1.17 says.

    What can not be carried over is named, in the file and on stderr, with what to use instead. Keys are not repeated.
    """
    from controlplane.cli.vllm_router_import import carry_over

    if not line:
        raise UsageProblem("the command line is missing; write routerctl import vllm-router -- --worker-urls ...")
    carried = carry_over(line)
    return _write("vllm-router's command line", carried.gathered, carried.fields, carried.left_out, output)


@imports.command()
def mvllm(
    file: Annotated[str, typer.Argument(metavar="servers.toml", show_default=False)] = "servers.toml",
    output: _Output = None,
) -> int:
    """Write mvllm's file with routerctl's own keys, which may have further ones then.

    `routerctl start --config servers.toml` takes it as it is, too.
    """
    gathered = gather({}, {}, load_config_file(file, ""))
    fields = [field for field, place in gathered.places.items() if place.source == "file"]
    return _write(f"mvllm's {Path(file).name}", gathered, fields, gathered.warnings, output)


def _write(origin: str, gathered: Gathered, fields: Iterable[str], left_out: Sequence[str], output: str | None) -> int:
    """Write the values of `fields`, or say why they can not work. Returns the exit code."""
    for problem in gathered.problems:
        print(f"routerctl: error: {problem.text}", file=sys.stderr)
    if gathered.problems:
        return 1
    text = "\n".join(_lines(origin, gathered, fields, left_out)) + "\n"
    if output is None:
        print(text, end="")
    else:
        try:
            with Path(output).open("x") as file:
                file.write(text)
        except OSError as error:
            hint = "name another one with --output" if isinstance(error, FileExistsError) else "name one with --output"
            print(f"routerctl: error: {output}: {error.strerror}; {hint}", file=sys.stderr)
            return 1
    for line in left_out:
        print(f"routerctl: warning: not carried over: {line}", file=sys.stderr)
    return 0


def _lines(origin: str, gathered: Gathered, fields: Iterable[str], left_out: Sequence[str]) -> Iterator[str]:
    yield f"# Made from {origin}; start it with: routerctl start --config FILE"
    for line in left_out:
        yield f"# Not carried over: {line}"
    given = set(fields)
    for field in FIELDS:
        value = getattr(gathered.config, field)
        if field in given and value is not None:
            yield f"{field} = {value_text(value)}"
