from __future__ import annotations

import inspect

from controlplane.cli.options import HELP
from controlplane.cli.start import start
from shared.config_fields import FIELDS


def test_every_value_of_the_configuration_has_a_flag_with_help() -> None:
    assert set(inspect.signature(start).parameters) - {"context", "config"} == set(FIELDS)
    assert set(HELP) == set(FIELDS)
