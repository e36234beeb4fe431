"""What the log and the events say of a worker's change."""

from __future__ import annotations

import pytest

from controlplane.change_log import attributes_told
from shared.table import Worker
from shared.worker_attributes import AttributeChange

WORKER = Worker(
    id="http://a:1",
    url="http://a:1",
    weight=2.5,
    capacity=8.0,
    max_concurrent_requests=1,
    labels={"zone": "b", "x": "y"},
)
BARE = Worker(id="http://b:1", url="http://b:1")


@pytest.mark.parametrize(
    ("worker", "wanted", "expected"),
    [
        (WORKER, AttributeChange(max_concurrent_requests=1), "limit 1"),
        (Worker(id="c", url="c", max_concurrent_requests=0), AttributeChange(max_concurrent_requests=0), "no limit"),
        (BARE, AttributeChange(max_concurrent_requests=None), "no limit of its own"),
        (WORKER, AttributeChange(weight=2.5, priority=50), "weight 2.5, priority 50"),
        (WORKER, AttributeChange(capacity=8.0), "capacity 8"),
        (BARE, AttributeChange(capacity=None), "no capacity"),
        (WORKER, AttributeChange(labels={"zone": "b", "gone": None}), "label zone=b, no label gone"),
        (WORKER, AttributeChange(labels=None), "label x=y, label zone=b"),
        (BARE, AttributeChange(labels=None), "no labels"),
        (WORKER, AttributeChange(), ""),
    ],
)
def test_only_what_was_to_change_is_told(worker: Worker, wanted: AttributeChange, expected: str) -> None:
    assert attributes_told(worker, wanted) == expected
