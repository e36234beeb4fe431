"""The typer options for the values of StartConfig: what each is for, with its unit; its default is taken from there."""

from __future__ import annotations

from typing import Any

import msgspec
import typer

from controlplane.cli.completion import values_of
from controlplane.cli.option_texts import HELP
from shared.config import flag_of
from shared.config_fields import BOOLEANS, FIELDS


def option(field: str) -> Any:
    """Return the option of one field.

    It takes the text as given: `shared.config_sources` converts and checks texts from all sources alike.
    """
    metavar, text = HELP[field]
    values = values_of(field)
    if field in BOOLEANS:
        return typer.Option(
            flag_of(field), help=text, show_default=False, metavar="[true|false]", autocompletion=values
        )
    # typer would put parentheses around a default that it did not convert itself.
    return typer.Option(
        flag_of(field), metavar=metavar, help=text + _default_text(field), show_default=False, autocompletion=values
    )


CONFIG = typer.Option(
    "--config",
    metavar="FILE",
    show_default=False,
    help="TOML file with any of these values; keys are the flags' names with _ for -. "
    "A flag wins over ROUTERCTL_<FLAG> in the environment, that over the file.",
)


def _default_text(field: str) -> str:
    default = FIELDS[field].default
    if default is msgspec.NODEFAULT:
        default = "the usable cores"
    if isinstance(default, tuple):
        default = " ".join(default)
    return f" [default: {default}]" if default else ""
