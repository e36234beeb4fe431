"""What typer says of a wrong command line, in the words that this program's own errors have."""

from __future__ import annotations

from typing import Any

import typer

from controlplane.cli.usage_values import wrong_number
from shared.config_fields import nearest


def usage_text(error: typer.TyperException) -> str:
    """Return the error as one line: what is wrong, and what to write or where to look."""
    message = error.format_message().rstrip(".")
    # Errors of a command line have the context of the command that it is for.
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "routerctl"
    flag = getattr(error, "option_name", None)
    if flag and message.startswith("No such option"):
        known = (
            [name for parameter in context.command.get_params(context) for name in parameter.opts] if context else []
        )
        near = nearest(flag, known)
        return f"unknown flag {flag}; " + (f"did you mean {near}?" if near else f"`{path} --help` lists all")
    if message.startswith("No such command"):
        text, asks, near = message.partition(". Did you mean ")
        return f"n{text[1:]}; " + (f"did you mean {near}" if asks else f"`{path} --help` lists all")
    # The value as it was given is only in the cause.
    causes: list[Any] = getattr(error.__cause__, "errors", list)()
    if causes and (wrong := wrong_number(getattr(error, "param", None), causes[0].get("input"))):
        return wrong
    text = message[:1].lower() + message[1:]
    return f"{text}; see `{path} --help`" if text.startswith("missing ") else text
