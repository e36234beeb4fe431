from __future__ import annotations

import msgspec
import pytest

from controlplane.sim.config import ConfigError, SimConfig, check
from controlplane.sim.faults import Refuse


def test_the_defaults_fit_together() -> None:
    assert check(SimConfig()) == SimConfig()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("port", 70000, "--port 70000 is outside 0..65535"),
        ("count", 0, "--count 0 is outside 1..1024"),
        ("models", (), "--model is empty"),
        ("decode_ms", -1.0, "--decode-ms -1 is below 0"),
        ("prefill_tokens_per_second", 0.0, "for instant answers use --time-scale 0"),
        ("num_blocks", 16, "use --max-model-len 256 or at least 2048 blocks"),
        ("faults", ((3, Refuse()),), "--fault 3:... names a worker outside 0..0"),
    ],
)
def test_a_wrong_value_says_what_to_use(field: str, value: object, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(msgspec.structs.replace(SimConfig(), **{field: value}))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ports_must_not_run_out() -> None:
    with pytest.raises(ConfigError, match="use a port up to 65533, or 0"):
        check(SimConfig(port=65535, count=3))
