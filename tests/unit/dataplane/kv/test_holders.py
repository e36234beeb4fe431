from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.kv.holders import Holders

BITS = [1, 2, 1 << 40, 1 << 900]
KEYS = st.lists(st.integers(0, 200), unique=True, max_size=20)


@given(
    st.lists(st.tuples(st.sampled_from(BITS), KEYS, st.sampled_from(["add", "discard", "sweep"])), max_size=20), KEYS
)
def test_it_is_a_set_for_each_engine(steps: list[tuple[int, list[int], str]], prompt: list[int]) -> None:
    holders = Holders()
    truth: dict[int, set[int]] = {bit: set() for bit in BITS}
    for bit, keys, what in steps:
        match what:
            case "add":
                assert holders.add(bit, keys) == len(set(keys) - truth[bit])
                truth[bit] |= set(keys)
            case "discard":
                assert holders.discard(bit, keys) == len(set(keys) & truth[bit])
                truth[bit] -= set(keys)
            case _:
                assert len(list(holders.sweep(bit))) > 1
                truth[bit] = set()
    for bit in BITS:
        assert set(holders.held(bit)) == truth[bit]
    assert len(holders) == len(set().union(*truth.values()))
    engines = sum(BITS[1:])
    depths = {bit: next((n for n, key in enumerate(prompt) if key not in truth[bit]), len(prompt)) for bit in BITS[1:]}
    wanted: dict[int, int] = {}
    for bit, depth in depths.items():
        if depth:
            wanted[depth] = wanted.get(depth, 0) | bit
    assert holders.depths(prompt, engines) == sorted(wanted.items(), reverse=True)


def test_nobody_holds_the_beginning_of_nothing() -> None:
    holders = Holders()
    holders.add(1, [5])
    assert holders.depths([], 1) == []
    assert holders.depths([5], 0) == []
