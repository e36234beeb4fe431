import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.load_page import EngineLoad, LoadPage, read_engine_loads, read_load_page
from tests.unit.controlplane.fake_worker import captured_body

GAUGES = b"""vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 100.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
"""


def test_the_captured_page() -> None:
    page = read_load_page(captured_body("metrics.http"))
    assert page == LoadPage(EngineLoad(0.0, 0.0, 0.0), 1.7952304949e09)


def test_figures_of_several_engines() -> None:
    second = GAUGES.replace(b'engine="0"', b'engine="1"').replace(b"0.25", b"7.5e-01")
    assert read_load_page(GAUGES + second).load == EngineLoad(6.0, 4.0, 0.75)


def test_the_old_name_of_the_cache_gauge() -> None:
    old = GAUGES.replace(b"kv_cache_usage_perc", b"gpu_cache_usage_perc")
    assert read_load_page(old).load == EngineLoad(3.0, 2.0, 0.25)


def test_odd_label_values_and_a_timestamp() -> None:
    odd = GAUGES.replace(b'"m"', b'"a } 9 \\" b"').replace(b"3.0\n", b"3.0 1795230519000\n")
    assert read_load_page(odd).load == EngineLoad(3.0, 2.0, 0.25)


def test_no_labels_and_no_last_newline() -> None:
    page = b"vllm:num_requests_running 1\nvllm:num_requests_waiting 4"
    assert read_load_page(page) == LoadPage(EngineLoad(1.0, 4.0, 0.0), None)


@pytest.mark.parametrize(
    "page",
    [b"", b"# HELP vllm:num_requests_running x\n", b"vllm:num_requests_running 1\n", GAUGES.replace(b" 3.0", b" NaN")],
)
def test_a_page_without_the_gauges_tells_no_load(page: bytes) -> None:
    assert read_load_page(page).load is None


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_page_can_break_it(noise: bytes) -> None:
    read_load_page(noise)
    read_load_page(b"vllm:num_requests_running" + noise)
    assert read_load_page(GAUGES + b"\n" + noise.replace(b"vllm", b"")).load == EngineLoad(3.0, 2.0, 0.25)


def test_requests_that_the_first_engine_had_swapped_out_wait() -> None:
    old = GAUGES.replace(b"kv_cache_usage_perc", b"gpu_cache_usage_perc") + b"vllm:num_requests_swapped 5.0\n"
    assert read_load_page(old).load == EngineLoad(3.0, 7.0, 0.25)


def test_each_engine_of_a_page_has_its_own_figures() -> None:
    page = b"".join(
        b'vllm:num_requests_%b{engine="%d",model_name="a\\"},engine=\\"7\\" b"} %d\n' % (name, engine, value)
        for name, values in ((b"running", (3, 5)), (b"waiting", (0, 2)))
        for engine, value in enumerate(values)
    )
    page += b'vllm:kv_cache_usage_perc{model_name="m",engine="1"} 0.5\n'
    assert read_engine_loads(page) == {0: EngineLoad(3.0, 0.0, 0.0), 1: EngineLoad(5.0, 2.0, 0.5)}
    assert read_load_page(page).load == EngineLoad(8.0, 2.0, 0.5)
    assert read_engine_loads(captured_body("metrics.http")).keys() == {0}
    assert read_engine_loads(b"vllm:num_requests_running 1\nvllm:num_requests_waiting 1\n") == {}
