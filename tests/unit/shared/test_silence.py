import pytest
import zmq

from shared.silence import SPACING, Causes, Complaints, cause_of

CAUSES = Causes("key refused", "other key", "mute after key", "mute", "no connection")


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ([], "no connection"),
        ([zmq.EVENT_CONNECTED], "mute"),
        ([zmq.EVENT_CONNECTED, zmq.EVENT_HANDSHAKE_SUCCEEDED], "mute after key"),
        ([zmq.EVENT_CONNECTED, zmq.EVENT_HANDSHAKE_FAILED_AUTH], "key refused"),
        ([zmq.EVENT_CONNECTED, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL], "other key"),
    ],
)
def test_the_cause_is_told_as_far_as_it_is_known(events: list[int], cause: str) -> None:
    assert cause_of(events, CAUSES) == cause


def test_each_cause_is_told_once_a_minute() -> None:
    complaints = Complaints()
    asked = [("a", 0.0), ("a", 1.0), ("b", 1.0), ("a", SPACING), ("b", SPACING)]
    assert [complaints.is_due(*one) for one in asked] == [True, False, True, True, False]


def test_causes_without_end_are_not_all_kept() -> None:
    complaints = Complaints()
    assert all(complaints.is_due(str(number), 0.0) for number in range(1000))
    assert not complaints.is_due("999", 1.0)
    assert complaints.is_due("0", 1.0)
