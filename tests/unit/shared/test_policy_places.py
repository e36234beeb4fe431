"""Which policy is in use where."""

from __future__ import annotations

from shared.policy_places import PolicyPlace, policies_of, policy_names_of
from shared.table import Settings

PLAIN, PREFILL, DECODE = PolicyPlace(), PolicyPlace("prefill"), PolicyPlace("decode")


def test_one_policy_is_for_everything() -> None:
    settings = Settings(policy="random")
    assert policies_of(settings, disaggregated=False) == {PLAIN: "random"}
    assert policies_of(settings, disaggregated=True) == dict.fromkeys((PLAIN, PREFILL, DECODE), "random")


def test_a_half_with_a_policy_of_its_own_has_it_for_all_models() -> None:
    settings = Settings(policy="random", decode_policy="least_load", model_policies={"m": "kv_aware"})
    assert policies_of(settings, disaggregated=True) == {
        PLAIN: "random",
        PolicyPlace("plain", "m"): "kv_aware",
        PREFILL: "random",
        PolicyPlace("prefill", "m"): "kv_aware",
        DECODE: "least_load",
    }
    assert policy_names_of(settings) == {"random", "least_load", "kv_aware"}


def test_places_are_named_for_people() -> None:
    assert [str(PolicyPlace(*place)) for place in ((), ("prefill",), ("plain", "m"), ("decode", "m"))] == [
        "",
        "prefill",
        "model m",
        "decode model m",
    ]
