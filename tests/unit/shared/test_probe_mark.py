from hypothesis import given
from hypothesis import strategies as st

from shared.probe_mark import PROBE_HEADER, is_own_probe, mark_of

epochs = st.integers(1, 2**53)


@given(st.lists(epochs, max_size=3), epochs)
def test_a_mark_is_known_by_the_epochs_that_it_names(named: list[int], other: int) -> None:
    fields = {PROBE_HEADER.encode(): mark_of(named).encode()}
    assert all(is_own_probe(fields, epoch) for epoch in named)
    assert is_own_probe(fields, other) == (other in named)


def test_without_a_mark_it_is_nobodys() -> None:
    assert not is_own_probe({}, 1)
