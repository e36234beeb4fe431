"""What a request asks for by its head."""

from __future__ import annotations

import pytest

from dataplane.admission.gate import Gate
from dataplane.admission.line import LaneKey
from dataplane.admission.refused import Refused
from dataplane.admission.ticket import Ticket
from dataplane.admission.wishes import QUEUE_TIMEOUT, patience_of, rank_of
from dataplane.client_keys import Holder
from shared.client_keys import ClientKey
from shared.errors import RouterError
from shared.limits import Limit


def holder(service_class: str, *, may_choose: bool = False) -> Holder:
    return Holder(ClientKey(name="a", digest=b"", service_class=service_class, may_choose_class=may_choose))


@pytest.mark.parametrize(
    ("given", "own", "rank"),
    [
        (b"batch", holder(""), 1),
        (b" Interactive ", holder("interactive"), 0),
        (b"batch", holder("batch"), 1),
        (b"interactive", None, 0),
        (b"batch", None, 1),
    ],
)
def test_a_class_that_is_no_better_is_everybody_s_to_ask_for(given: bytes, own: Holder | None, rank: int) -> None:
    assert rank_of(given, own) == rank


def test_a_better_class_is_for_keys_that_may() -> None:
    assert rank_of(b"interactive", holder("batch", may_choose=True)) == 0
    with pytest.raises(RouterError) as refused:
        rank_of(b"interactive", holder("batch"))
    assert (refused.value.status, refused.value.code) == (403, "class_not_allowed")
    with pytest.raises(RouterError, match="none of interactive and batch"):
        rank_of(b"urgent", None)


def test_a_time_to_wait_is_a_number_of_seconds() -> None:
    assert patience_of({}) is None
    assert [patience_of({QUEUE_TIMEOUT: text}) for text in (b"2.5", b"0", b"90")] == [2.5, 0.0, 90.0]
    for text in (b"", b"-1", b"nan", b"inf", b"soon"):
        with pytest.raises(RouterError, match="no number of seconds"):
            patience_of({QUEUE_TIMEOUT: text})


def test_who_would_wait_for_too_long_is_refused_at_once() -> None:
    gate = Gate()
    gate.use((Limit("total", "slots", 1),), 10)
    gate.quotas["total"].allow(1, 0.0)
    gate.is_leased = True

    def ticket(patience: float | None, now: float = 0.0) -> Ticket:
        return Ticket(LaneKey(0, "", "m"), 1, now, None, patience)

    one = ticket(None)
    assert gate.enter(one, 0.0)
    with pytest.raises(Refused) as refused:
        gate.enter(ticket(0.0), 0.0)
    assert refused.value.is_too_long
    # How long it takes is not known yet: whoever may wait does.
    unknown = ticket(0.1)
    assert not gate.enter(unknown, 0.0)
    gate.leave(unknown, 0.1)
    for second in range(1, 6):
        gate.leave(one, float(second))
        one = ticket(None, float(second))
        assert gate.enter(one, float(second))
    with pytest.raises(Refused) as refused:
        gate.enter(ticket(0.5, 5.0), 5.0)
    assert refused.value.is_too_long
    assert refused.value.expected == pytest.approx(0.8)
    assert not gate.enter(ticket(0.9, 5.0), 5.0)
