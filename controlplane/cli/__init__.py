"""The command line, `routerctl`. Only the module of the command that was asked for is imported."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import typer

from controlplane.cli.argv import UsageProblem, normalise
from controlplane.cli.given_key import take_key
from controlplane.cli.usage_values import flag_without_value
from shared.config import ConfigError
from shared.config_fields import nearest
from shared.version import __version__

VARIABLE = "_ROUTERCTL_COMPLETE"
"""Set by the shell's script when it asks for completions."""


class _Command(NamedTuple):
    module: str
    help: str
    # Its attribute there, where that is not the command's name.
    attribute: str = ""
    # Flags without a value, of the commands whose other flags are those of `start`.
    switches: frozenset[str] | None = None


_COMMANDS = {
    "start": _Command("controlplane.cli.start", "Start a router in front of workers.", switches=frozenset()),
    "status": _Command("controlplane.cli.status", "Show a running router's processes and workers."),
    "top": _Command("controlplane.cli.top", "Watch a running router on a whole screen."),
    "workers": _Command("controlplane.cli.workers", "Show and change the workers of a running router."),
    "planes": _Command("controlplane.cli.planes", "Show and restart the planes of a running router."),
    "reload": _Command("controlplane.cli.reload", "Have a running router read its configuration again."),
    "events": _Command("controlplane.cli.events", "Show what changed in the fleet, and why."),
    "report": _Command("controlplane.cli.report", "Show what a router did over minutes, hours or days."),
    "requests": _Command("controlplane.cli.requests", "Show the open and the last requests of a running router."),
    "explain": _Command("controlplane.cli.explain", "Show why a request went where it went."),
    "keys": _Command("controlplane.cli.keys", "Make and show keys of clients, planes elsewhere and workers."),
    "plane": _Command("controlplane.cli.plane", "Run planes of a router whose control plane is on another host."),
    "register": _Command("controlplane.cli.register", "Announce an engine to routers, from beside it."),
    "config": _Command("controlplane.cli.config", "Show, check and compare configurations; change a running router's."),
    "import": _Command(
        "controlplane.cli.importing",
        "Turn another router's settings into a configuration file.",
        attribute="imports",
    ),
    "demo": _Command(
        "controlplane.cli.demo", "Start a small simulated fleet with a router.", switches=frozenset({"--once"})
    ),
    "sim": _Command("controlplane.sim.cli", "Start simulated vLLM servers."),
}


_GROUPS = frozenset({"workers", "planes", "keys", "config", "import"})
"""Commands that have commands; alone they show their help."""
_TAKE_KEY = (("start",), ("config", "show"))
"""Commands to which the workers' key may be given as a word."""
# Flags that the demo does not know are for `start`; `normalise` has checked them.
_PASSES_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def main() -> None:
    """Run `routerctl` with the arguments of this process; never returns."""
    # Output that nobody reads any more (`| head`) is no error worth a traceback.
    try:
        sys.exit(run(sys.argv[1:]))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def run(argv: Sequence[str]) -> int:
    """Run one command line; return its exit code: 0 done, 1 could not be done, 2 wrong usage."""
    name = argv[0] if argv else ""
    if VARIABLE in os.environ:
        return _complete()
    try:
        if name and name not in _COMMANDS and not name.startswith("-"):
            near = nearest(name, _COMMANDS)
            hint = f"did you mean {near}?" if near else "`routerctl --help` lists all"
            raise UsageProblem(f"no such command {name!r}; {hint}")
        arguments, key = list(argv), None
        if any(tuple(argv[: len(words)]) == words for words in _TAKE_KEY):
            arguments, key = take_key(argv)
        if (command := _COMMANDS.get(name)) is not None and command.switches is not None:
            arguments = [name, *normalise(arguments[1:], command.switches)]
        if name in _GROUPS:
            arguments = _for_group(arguments)
        command_line = typer.main.get_command(_app(name))
        if (flag := flag_without_value(command_line, arguments)) is not None:
            raise UsageProblem(f"{flag[0]} needs a value; write {' '.join(flag)}")
        result = command_line.main(arguments or ["--help"], prog_name="routerctl", standalone_mode=False, obj=key)
    except ConfigError as error:
        return _fail(*str(error).splitlines())
    except UsageProblem as error:
        return _fail(str(error))
    except typer.TyperException as error:
        from controlplane.cli.usage_text import usage_text

        return _fail(usage_text(error))
    return result if isinstance(result, int) else 0


def _complete() -> int:
    from controlplane.cli.completion import complete, line_of

    words = line_of(os.environ)
    app = typer.main.get_command(_app(words[0] if words and words[0] in _COMMANDS else ""))
    complete(lambda: app.main([], prog_name="routerctl", complete_var=VARIABLE, standalone_mode=False))
    return 0


def _for_group(argv: list[str]) -> list[str]:
    if len(argv) == 1:
        return [*argv, "--help"]
    if argv[0] != "config":
        return argv
    from controlplane.cli.config import PASSED_ON, SWITCHES

    head, rest = argv[:2], argv[2:]
    return [*head, *normalise(rest, SWITCHES)] if head[-1] in PASSED_ON else argv


def _fail(*messages: str) -> int:
    for message in messages:
        print(f"routerctl: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _app(chosen: str) -> typer.Typer:
    app = typer.Typer(
        help="One OpenAI-compatible address in front of a fleet of vLLM servers.",
        add_completion=chosen not in _COMMANDS or VARIABLE in os.environ,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for name, command in _COMMANDS.items():
        attribute = command.attribute or name
        function = getattr(importlib.import_module(command.module), attribute) if name == chosen else _not_chosen()
        if isinstance(function, typer.Typer):
            app.add_typer(function, name=name, help=command.help, short_help=command.help)
            continue
        app.command(name, short_help=command.help, context_settings=_PASSES_ON if name == "demo" else None)(function)
    return app


def _not_chosen() -> Callable[[], None]:
    # Its line in the list of commands is all that is needed of it.
    return lambda: None


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"routerctl {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, show_default=False, help="Print the version and end."
        ),
    ] = False,
) -> None:
    pass
