from __future__ import annotations

import msgspec
import pytest

from shared.config import StartConfig
from shared.config_settings import settings_of
from shared.kubernetes_config import kubernetes_faults, labels_of


def texts(**values: object) -> list[str]:
    return [fault.text for fault in kubernetes_faults(msgspec.structs.replace(StartConfig(), **values))]


def test_without_it_nothing_is_wrong_and_the_defaults_are_vllm_routers() -> None:
    assert texts() == []
    assert (StartConfig().service_discovery_port, StartConfig().service_discovery_namespace) == (80, None)


@pytest.mark.parametrize("field", ["selector", "prefill_selector", "decode_selector"])
def test_one_selector_is_enough(field: str) -> None:
    given = {field: ("app=vllm", "app.kubernetes.io/part-of=a.b_c", "empty=")}
    assert texts(service_discovery=True, **given) == []
    assert labels_of(given[field]) == {"app": "vllm", "app.kubernetes.io/part-of": "a.b_c", "empty": ""}
    config = msgspec.structs.replace(StartConfig(), service_discovery=True, **given)
    assert settings_of(config).disaggregated is (field != "selector")


def test_an_empty_selector_is_no_usable_one() -> None:
    (said,) = texts(service_discovery=True, selector=())
    assert "an empty one means no pod; name the workers' labels with --selector app=vllm" in said


@pytest.mark.parametrize(
    "text", ["app", "=vllm", "app=a b", "app==b", "app in (a)", "-a=b", "a/b/c=d", f"{'a' * 64}=b"]
)
def test_what_is_no_label(text: str) -> None:
    (said,) = texts(service_discovery=True, selector=(text,))
    assert said == f"--selector has {text!r}; write labels as KEY=VALUE, such as app=vllm"


def test_two_values_of_one_label_match_nothing() -> None:
    (said,) = texts(service_discovery=True, selector=("app=a", "zone=1", "app=b"))
    assert "--selector has app=a and app=b, and no pod has both" in said


@pytest.mark.parametrize("text", ["", "a/b", "A", "a,b", "-a", "a" * 64])
def test_what_is_no_namespace(text: str) -> None:
    (said,) = texts(service_discovery=True, selector=("a=b",), service_discovery_namespace=text)
    assert "write one namespace, or leave it out for all" in said


@pytest.mark.parametrize(
    ("field", "value"),
    [("selector", ("a=b",)), ("service_discovery_namespace", "gpu"), ("service_discovery_credentials", "/x")],
)
def test_nothing_counts_without_it(field: str, value: object) -> None:
    (said,) = texts(**{field: value})
    assert said == f"--{field.replace('_', '-')} has no effect without --service-discovery; give both"


def test_connectors_that_need_addresses_need_registrations() -> None:
    given = {"service_discovery": True, "selector": ("a=b",), "kv_connector": "nccl"}
    assert "have the workers register as well" in texts(**given)[0]
    assert texts(**given, vllm_discovery_address="0.0.0.0:30001") == []
