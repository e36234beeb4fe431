import pytest
import zmq

from dataplane.subscriber.silence import SPACING, Complaints, cause_of


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ([], "no connection comes about"),
        ([zmq.EVENT_CONNECTED], "takes connections and says nothing"),
        ([zmq.EVENT_CONNECTED, zmq.EVENT_HANDSHAKE_SUCCEEDED], "lets us in and says nothing"),
        ([zmq.EVENT_CONNECTED, zmq.EVENT_HANDSHAKE_FAILED_AUTH], "our key is not let in"),
        ([zmq.EVENT_CONNECTED, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL], "has not the key of --server-key"),
    ],
)
def test_the_cause_is_told_as_far_as_it_is_known(events: list[int], cause: str) -> None:
    assert cause in cause_of(events)


def test_each_cause_is_told_once_a_minute() -> None:
    complaints = Complaints()
    asked = [("a", 0.0), ("a", 1.0), ("b", 1.0), ("a", SPACING), ("b", SPACING)]
    assert [complaints.is_due(*one) for one in asked] == [True, False, True, True, False]
