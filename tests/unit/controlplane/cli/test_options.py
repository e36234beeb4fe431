from __future__ import annotations

import inspect

from controlplane.cli.option_texts import HELP
from controlplane.cli.start import start
from shared.config_fields import FIELDS, FLAGS


def test_every_value_of_the_configuration_has_help_and_all_but_tables_a_flag() -> None:
    assert set(inspect.signature(start).parameters) - {"context", "config"} == set(FLAGS)
    assert set(FIELDS) - set(FLAGS) == {"workers", "policies", "models"}
    assert set(HELP) == set(FIELDS)
