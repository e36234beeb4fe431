"""Whatever a watch has lost, doubled or turned around: after a list the pods are those that the API server has."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.kubernetes.objects import Bookmark, Failure, ObjectsError, PodEvent, PodObject, read_event, read_page
from controlplane.kubernetes.pods import Pod, Rules, workers_of
from controlplane.kubernetes.replica import Replica
from tests.kubernetes_api import Json, pod

RULES = Rules((("regular", {"app": "vllm"}),))
STATES: dict[str, Callable[[str], Json | None]] = {
    "ready": lambda name: pod(name, f"10.0.0.{ord(name)}"),
    "not ready": lambda name: pod(name, f"10.0.0.{ord(name)}", ready=False),
    "ending": lambda name: pod(name, f"10.0.0.{ord(name)}", deleted=True),
    "relabelled": lambda name: pod(name, f"10.0.0.{ord(name)}", labels={"app": "debug"}),
    "another": lambda name: pod(name, f"10.0.0.{ord(name)}", uid=f"{name}-2"),
    "gone": lambda name: None,
}
CHANGES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(sorted(STATES))), max_size=20)


def take_list(replica: Replica, there: dict[str, Json], version: int, per_page: int) -> None:
    replica.begin()
    items, after = list(there.values()), ""
    while True:
        first = int(after or 0)
        more = {"continue": str(first + per_page)} if first + per_page < len(items) else {}
        metadata = {"resourceVersion": str(version), **more}
        page = {"kind": "PodList", "metadata": metadata, "items": items[first : first + per_page] or None}
        if not (after := replica.page(read_page(msgspec.json.encode(page)))):
            break
    replica.listed(str(version))


@settings(max_examples=150, deadline=None)
@given(CHANGES, st.integers(0, 2**32), st.integers(1, 3))
def test_g_disc_4_after_any_history_a_list_makes_it_right(
    history: list[tuple[str, str]], seed: int, per_page: int
) -> None:
    rng, replica, there = random.Random(seed), Replica(RULES), dict[str, Json]()
    take_list(replica, there, 1, per_page)
    events: list[bytes] = []
    for version, (name, state) in enumerate(history, 2):
        before, after = there.pop(name, None), STATES[state](name)
        if after is not None:
            there[name] = after
        shown = after or before
        if shown is not None:
            shown["metadata"]["resourceVersion"] = str(version)
            kind = "DELETED" if after is None else "MODIFIED" if before is not None else "ADDED"
            events.append(msgspec.json.encode({"type": kind, "object": shown}))
    # Lost, doubled and turned around.
    for line in rng.choices(events, k=rng.randrange(2 * len(events) + 1)) if events else ():
        event = read_event(line)
        assert isinstance(event, PodEvent)
        replica.seen(event)
    take_list(replica, there, 99, per_page)
    fresh = Replica(RULES)
    take_list(fresh, there, 99, 3)
    assert replica.pods == fresh.pods
    assert replica.version == "99"
    assert all(one.labels["app"] == "vllm" for one in replica.pods.values())


@settings(max_examples=150, deadline=None)
@given(CHANGES)
def test_told_of_everything_it_needs_no_list(history: list[tuple[str, str]]) -> None:
    replica, there, known = Replica(RULES), dict[str, Pod](), workers_of((), RULES, {}).announced
    take_list(replica, {}, 1, 1)
    objects: dict[str, Json] = {}
    for name, state in history:
        before, after = objects.pop(name, None), STATES[state](name)
        is_another = before is not None and after is not None and before["metadata"]["uid"] != after["metadata"]["uid"]
        if before is not None and (after is None or is_another):
            replica.seen(PodEvent("DELETED", _read(before)))
        if after is not None:
            objects[name] = after
            replica.seen(PodEvent("MODIFIED" if before is not None and not is_another else "ADDED", _read(after)))
        there = {one["metadata"]["uid"]: Pod.of(_read(one)) for one in objects.values()}
        there = {uid: one for uid, one in there.items() if RULES.role_of(one)}
        assert replica.pods == there
        known = workers_of(replica.pods.values(), RULES, known).announced
        serving = {one.life for one in known.values() if not one.held}
        assert serving == {uid for uid, one in there.items() if one.is_ready and not one.ends}


def _read(one: Json) -> PodObject:
    return msgspec.convert(one, PodObject)


def test_an_empty_list_is_doubtful_where_there_were_workers() -> None:
    replica = Replica(RULES)
    replica.begin()
    assert replica.is_doubtful(has_workers=True)
    assert not replica.is_doubtful(has_workers=False)
    page = {"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [pod("a")]}
    replica.page(read_page(msgspec.json.encode(page)))
    assert not replica.is_doubtful(has_workers=True)


def test_a_broken_list_changes_nothing() -> None:
    replica = Replica(RULES)
    take_list(replica, {"a": pod("a")}, 1, 1)
    replica.begin()
    assert list(replica.pods) == ["uid-of-a"]
    assert replica.version == ""


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (
            b'{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"12746","creationTime'
            b'stamp":null},"spec":{"containers":null},"status":{}}}',
            Bookmark("12746"),
        ),
        (
            b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message"'
            b':"too old resource version: 1 (2)","reason":"Expired","code":410}}',
            Failure(410, "too old resource version: 1 (2)"),
        ),
    ],
)
def test_what_a_watch_says_beside_pods(line: bytes, event: object) -> None:
    assert read_event(line) == event


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"<html>", b'{"type":"SYNC","object":{}}', b'{"type":"ADDED","object":3}']
)
def test_what_is_no_event(line: bytes) -> None:
    with pytest.raises(ObjectsError, match="it is no event of a watch"):
        read_event(line)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"kind":"Status","metadata":{}}', b'{"kind":"PodList","metadata":{},"items":[]}']
)
def test_what_is_no_list(body: bytes) -> None:
    with pytest.raises(ObjectsError, match="it is no list of pods"):
        read_page(body)
