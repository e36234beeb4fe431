"""Every flag of vllm-router is known to `routerctl start`: by its name, by its meaning, or by what to use instead."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from controlplane.cli.argv import START_FLAGS, UsageProblem, as_fields, normalise
from controlplane.cli.vllm_router_flags import INSTEAD, MEANINGS, SECRETS, SWITCHES

DATA = Path(__file__).parent / "data" / "vllm_router_flags.txt"
ROOT = Path(__file__).parents[4]
VERSION = "0.1.17"


def stored() -> set[str]:
    return {line for line in DATA.read_text().splitlines() if line.startswith("--")}


def test_every_flag_is_offered_or_named_with_what_to_use_instead() -> None:
    offered, named = stored() & START_FLAGS, SECRETS.keys() | INSTEAD.keys()
    assert offered | named == stored()
    assert not offered & named
    assert not START_FLAGS & named
    assert MEANINGS.keys() <= stored()
    assert stored() >= SWITCHES


def test_what_is_not_offered_by_intention_are_programs_and_wasm() -> None:
    assert all(re.match("--(wasm-|.*program-scheduling)", flag) for flag in INSTEAD)


def test_the_stored_list_is_that_of_the_wheel() -> None:
    command = _installed()
    if command is None:
        pytest.skip(f"vllm-router {VERSION} is not installed; scripts/bench does")
    said = subprocess.run((command, "--help"), capture_output=True, text=True, check=True).stdout
    options = said[said.index("\noptions:") :]
    assert set(re.findall(r"^  (?:-h, )?(--[a-z0-9-]+)", options, re.MULTILINE)) - {"--help"} == stored()


def _installed() -> str | None:
    """Return the command of the wheel: beside the tests' own, or where scripts/bench has put it."""
    beside = ROOT / ".bench" / "vllm-router" / "bin" / "vllm-router"
    if beside.exists():
        return str(beside)
    try:
        return "vllm-router" if distribution("vllm-router").version == VERSION else None
    except PackageNotFoundError:
        return None


@pytest.mark.parametrize("flag", sorted(INSTEAD))
def test_the_hint_says_what_to_use(flag: str) -> None:
    with pytest.raises(UsageProblem, match=f"^{flag} of vllm-router is not offered; [a-z]+ "):
        normalise([flag, "x"])


def test_a_debug_balancer_draws_pairs_at_random() -> None:
    given = "--mini-lb --policy cache_aware --prefill http://p:1 --decode http://d:1"
    fields = as_fields(normalise(given.split()))
    assert fields["vllm_pd_disaggregation"] == "true"
    assert [fields[name] for name in ("policy", "prefill_policy", "decode_policy")] == ["random"] * 3
    assert as_fields(normalise(["--mini-lb=false", "--port=1"])) == {"port": "1"}


def test_kv_events_of_prefill_workers_are_sources_as_others() -> None:
    given = "--pd-kv-events http://p:1=tcp://p:5557 --kv-event-source http://d:1=tcp://d:5557"
    assert as_fields(normalise(given.split())) == {
        "kv_event_source": ["http://d:1=tcp://d:5557", "http://p:1=tcp://p:5557"]
    }
