"""Which pods are workers: those that are ready, have a selector's labels, and are not about to end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.discovery.discovered import Announced
from controlplane.kubernetes import pods
from controlplane.kubernetes.objects import PodObject
from controlplane.kubernetes.pods import Pod, Rules, Wanted, workers_of
from tests.kubernetes_api import pod

RULES = Rules((("regular", {"app": "vllm"}),))
A = "http://10.0.0.1:80"


def read(one: dict[str, Any]) -> Pod:
    return Pod.of(msgspec.convert(one, PodObject))


def wanted(*ones: dict[str, Any], rules: Rules = RULES, known: dict[str, Announced] | None = None) -> Wanted:
    return workers_of([read(one) for one in ones], rules, known or {})


def test_a_ready_pod_is_a_worker_with_its_labels_and_its_name() -> None:
    found = wanted(pod("a", labels={"app": "vllm", "zone": "b", "x" * 60 + ".io/name": "long"}))
    (one,) = found.announced.values()
    assert list(found.announced) == [A]
    assert (one.source, one.life, one.held, one.attributes.role) == ("kubernetes", "uid-of-a", "", "regular")
    assert one.attributes.labels == {"pod": "default/a", "app": "vllm", "zone": "b"}
    assert found.complaints == ()


@pytest.mark.parametrize(
    "one",
    [
        pod("a", ready=False),
        pod("a", phase="Pending", ready=False),
        pod("a", phase="Failed"),
        pod("a", phase="Succeeded"),
        pod("a", deleted=True),
        pod("a", address=""),
        pod("a", labels={}),
        pod("a", labels={"app": "other"}),
    ],
)
def test_others_are_none(one: dict[str, Any]) -> None:
    assert wanted(one) == Wanted({})


def test_who_turns_not_ready_is_held_and_not_gone() -> None:
    known = wanted(pod("a")).announced
    found = wanted(pod("a", ready=False), known=known)
    assert found.announced[A].held == "pod default/a is not ready"
    assert msgspec.structs.replace(found.announced[A], held="") == known[A]
    # Another pod at the same address was never ready.
    assert wanted(pod("a", uid="other", ready=False), known=known).announced == {}


@pytest.mark.parametrize("gone", [pod("a", deleted=True), pod("a", phase="Failed"), pod("a", labels={"app": "x"})])
def test_who_ends_or_is_relabelled_is_gone(gone: dict[str, Any]) -> None:
    assert wanted(gone, known=wanted(pod("a")).announced).announced == {}


def test_of_two_pods_at_an_address_the_ready_one_counts_then_the_newest() -> None:
    old, new = pod("a", created="2026-01-01T00:00:00Z"), pod("b", created="2026-01-01T00:00:09Z")
    for ones in ((old, new), (new, old)):
        assert wanted(*ones).announced[A].life == "uid-of-b"
    known = wanted(new).announced
    assert (
        wanted(old, pod("b", created="2026-01-01T00:00:09Z", ready=False), known=known).announced[A].life == "uid-of-a"
    )


def test_prefill_counts_before_decode_and_that_before_regular() -> None:
    rules = Rules((("prefill", {"role": "p"}), ("decode", {"app": "vllm"}), ("regular", {"zone": "b"})))
    found = wanted(
        pod("a", "10.0.0.1", labels={"app": "vllm", "role": "p"}, annotations={"vllm.ai/bootstrap-port": "9001"}),
        pod("b", "10.0.0.2", labels={"app": "vllm", "zone": "b"}, annotations={"vllm.ai/bootstrap-port": "9001"}),
        pod("c", "10.0.0.3", labels={"zone": "b"}),
        rules=rules,
    )
    said = {key: (one.attributes.role, one.attributes.transfer) for key, one in found.announced.items()}
    transfer = said[A][1]
    assert transfer is not None
    assert transfer.bootstrap_port == 9001
    assert {key: role for key, (role, _) in said.items()} == {
        A: "prefill",
        "http://10.0.0.2:80": "decode",
        "http://10.0.0.3:80": "regular",
    }
    assert said["http://10.0.0.2:80"][1] is None


def test_annotations_say_port_and_scheme() -> None:
    said = {"routerctl/port": "8443", "routerctl/scheme": "https"}
    assert list(wanted(pod("a", "fd00::1", annotations=said)).announced) == ["https://[fd00::1]:8443"]


@pytest.mark.parametrize(
    ("key", "text", "is_worker"),
    [
        ("routerctl/port", "0", False),
        ("routerctl/port", "http", False),
        ("routerctl/scheme", "grpc", False),
        ("vllm.ai/bootstrap-port", "70000", True),
    ],
)
def test_wrong_annotations_are_told(key: str, text: str, is_worker: bool) -> None:
    found = wanted(pod("a", annotations={key: text}))
    assert bool(found.announced) is is_worker
    (complaint,) = found.complaints
    assert complaint.startswith(f"pod default/a has the annotation {key}: {text!r}; write ")


def test_ranks_are_workers_each() -> None:
    assert list(wanted(pod("a"), rules=Rules(RULES.selectors, ranks=2)).announced) == [f"{A}@0", f"{A}@1"]


def test_an_empty_selector_means_no_pod() -> None:
    assert wanted(pod("a"), rules=Rules((("regular", {}),))).announced == {}


def test_there_are_as_many_as_there_is_room_for_and_those_that_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "MAX_WORKERS", 2)
    known = wanted(pod("a")).announced
    found = wanted(pod("a", ready=False), pod("b", "10.0.0.2"), pod("c", "10.0.0.3"), pod("d", "10.0.0.4"), known=known)
    assert len(found.announced) == 2
    assert A not in found.announced
    assert found.left_out == 2


@pytest.mark.parametrize(
    ("selectors", "text"),
    [
        ([{"app": "vllm", "zone": "b"}], "app=vllm,zone=b"),
        ([{"app": "vllm", "role": "p"}, {"app": "vllm", "role": "d"}], "app=vllm,role in (d,p)"),
        ([{"app": "vllm", "role": "p"}, {"app": "vllm"}], "app=vllm"),
        ([{"app": ""}, {"app": "b"}], ""),
        ([{"app": ""}], "app="),
        ([{"role": "p"}, {"app": "vllm"}], ""),
    ],
)
def test_the_server_is_asked_for_what_all_selectors_have(selectors: list[dict[str, str]], text: str) -> None:
    assert Rules(tuple(("regular", one) for one in selectors)).label_selector() == text
