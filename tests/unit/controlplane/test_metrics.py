import asyncio

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from controlplane.exposition import page
from controlplane.load_page import EngineLoad
from controlplane.loads import Loads
from controlplane.metrics import Refused, RouterCollector
from controlplane.planes import Planes
from controlplane.publication import Publication
from shared import catalog
from shared.plane_report import CounterSeries, Exemplar, HistogramSeries
from shared.table import Breaker, Settings, Worker
from tests.unit.controlplane.reports import identity, report


class FixedClock:
    def monotonic(self) -> float:
        return 100.0

    def wall(self) -> float:
        return 1000.0


def scrape() -> dict[str, dict[tuple[str, ...], float]]:
    """Values by sample name and label values, which OpenMetrics sorts by label name."""
    publication, planes, loads = Publication(9, Settings()), Planes(), Loads()
    ready = Worker(id="a", url="http://a", state="ready", breaker=Breaker(state="open"))
    publication.change([ready, Worker(id="b", url="http://b")], [], Settings())
    loads.note(ready, EngineLoad(3.0, 1.0, 0.5), measured=99.0, inflight=3)
    requests = {"a": 7, "left": 9}
    planes.counters(
        report(identity("p", slot=0), finished=2, active=1, worker_requests=requests, inflight={"a": 1}), 99.0
    )
    planes.counters(report(identity("old", slot=1, started=1.0), finished=1, stale=True), 99.5)
    newer = report(
        identity("new", slot=1, started=2.0),
        finished=4,
        inflight={"a": 2},
        extra=(CounterSeries("requests", ("/v1/models", "GET", "m", "200", ""), 4),),
    )
    first_bytes = HistogramSeries("worker_time_to_first_byte_seconds", ("a",), (0, 3, 1, *([0] * 20)), 0.5)
    newer = msgspec.structs.replace(newer, histograms=(*newer.histograms, first_bytes))
    planes.counters(newer, 99.5)
    registry = CollectorRegistry()
    registry.register(
        RouterCollector(publication, planes, loads, FixedClock(), {("a", "open"): 3}, {("b", "latency"): 2})
    )
    text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return samples


def test_sums_over_planes() -> None:
    samples = scrape()
    assert samples["routerctl_accepted_requests_total"] == {(): 8.0}
    assert samples["routerctl_finished_requests_total"] == {(): 7.0}
    assert samples["routerctl_active_requests"] == {(): 1.0}
    assert samples["routerctl_requests_total"] == {("", "GET", "m", "/v1/models", "200"): 4.0}


def test_histograms_are_cumulative() -> None:
    samples = scrape()
    buckets = samples["routerctl_request_duration_seconds_bucket"]
    assert buckets[("1.0", "m", "/v1/models")] == 0.0
    assert buckets[("2.5", "m", "/v1/models")] == buckets[("+Inf", "m", "/v1/models")] == 7.0
    assert samples["routerctl_request_duration_seconds_sum"] == {("m", "/v1/models"): 10.5}
    assert samples["routerctl_request_duration_seconds_count"] == {("m", "/v1/models"): 7.0}


def test_series_of_workers_that_left_are_dropped() -> None:
    samples = scrape()
    assert samples["routerctl_worker_requests_total"] == {("a",): 7.0}
    assert samples["routerctl_worker_up"] == {("a",): 1.0, ("b",): 0.0}
    assert samples["routerctl_worker_inflight"] == {("a",): 3.0, ("b",): 0.0}


def test_of_workers_only_sums_and_counts_are_shown() -> None:
    samples = scrape()
    assert samples["routerctl_worker_time_to_first_byte_seconds_count"] == {("a",): 4.0}
    assert samples["routerctl_worker_time_to_first_byte_seconds_sum"] == {("a",): 0.5}
    assert "routerctl_worker_time_to_first_byte_seconds_bucket" not in samples


def test_planes_by_slot() -> None:
    samples = scrape()
    assert samples["routerctl_plane_table_version"] == {("0",): 3.0, ("1",): 3.0}
    assert samples["routerctl_plane_table_age_seconds"] == {("0",): 1.5, ("1",): 1.0}
    assert samples["routerctl_plane_stale"] == {("0",): 0.0, ("1",): 0.0}
    assert samples["routerctl_plane_client_connections"] == {("0",): 12.0, ("1",): 12.0}
    assert samples["routerctl_plane_client_connection_limit"] == {("0",): 400.0, ("1",): 400.0}
    assert samples["routerctl_plane_worker_connections"] == {("0",): 7.0, ("1",): 7.0}
    assert samples["routerctl_plane_resyncs_total"] == {("0",): 2.0, ("1",): 4.0}


def test_table_engines_and_build() -> None:
    samples = scrape()
    assert samples["routerctl_table_version"] == {(): 2.0}
    assert samples["routerctl_workers"][("ready",)] == samples["routerctl_workers"][("starting",)] == 1.0
    assert samples["routerctl_workers"][("ejected",)] == 0.0
    assert samples["routerctl_worker_breaker"] == {("a",): 2.0, ("b",): 0.0}
    assert samples["routerctl_worker_breaker_transitions_total"][("open", "a")] == 3.0
    assert samples["routerctl_worker_ejections_total"] == {
        ("success-rate", "a"): 0.0,
        ("latency", "a"): 0.0,
        ("success-rate", "b"): 0.0,
        ("latency", "b"): 2.0,
    }
    assert samples["routerctl_engine_running"] == {("a",): 3.0}
    assert samples["routerctl_engine_waiting"] == {("a",): 1.0}
    assert samples["routerctl_engine_kv_usage"] == {("a",): 0.5}
    assert samples["routerctl_engine_age_seconds"] == {("a",): 1.0}
    assert len(samples["routerctl_build_info"]) == 1


def test_a_new_control_plane_shows_no_sum_before_all_planes_have_told_theirs() -> None:
    publication, planes = Publication(9, Settings()), Planes()
    planes.expect({"p", "q"}, 99.0)
    collector = RouterCollector(publication, planes, Loads(), FixedClock(), {}, {})

    def names() -> set[str]:
        return {family.name for family in collector.collect()}

    planes.counters(report(identity("p"), finished=3), 99.5)
    sums = {"routerctl_accepted_requests", "routerctl_active_requests", "routerctl_request_duration_seconds"}
    assert not names() & sums
    assert "routerctl_table_version" in names()
    planes.counters(report(identity("q"), finished=4), 99.5)
    assert names() >= sums


@pytest.mark.parametrize("refused", [Refused(), Refused(configuration=True), Refused(client_keys=True)])
def test_files_that_are_refused_are_told(refused: Refused) -> None:
    collector = RouterCollector(
        Publication(9, Settings()), Planes(), Loads(), FixedClock(), {}, {}, refused=lambda: refused
    )
    values = {family.name: [one.value for one in family.samples] for family in collector.collect()}
    assert values["routerctl_config_refused"] == [refused.configuration]
    assert values["routerctl_client_keys_refused"] == [refused.client_keys]


@pytest.mark.parametrize("is_supervised", [True, False])
def test_whether_there_is_a_supervisor_is_told(is_supervised: bool) -> None:
    collector = RouterCollector(
        Publication(9, Settings()), Planes(), Loads(), FixedClock(), {}, {}, is_supervised=lambda: is_supervised
    )
    [family] = [one for one in collector.collect() if one.name == "routerctl_supervisor_up"]
    assert [one.value for one in family.samples] == [is_supervised]


def test_openmetrics_has_exemplars_and_the_text_format_has_none() -> None:
    planes = Planes()
    bucket = catalog.LATENCY_BUCKETS.index(2.5)
    exemplar = Exemplar("request_duration_seconds", ("/v1/models", "m"), bucket, "0a" * 16, 2.25, 1700000000.125)
    planes.counters(report(identity(), finished=2, exemplars=(exemplar,)), 99.0)
    collector = RouterCollector(Publication(9, Settings()), planes, Loads(), FixedClock(), {}, {})
    text = asyncio.run(page(collector.collect(), openmetrics=True)).decode()
    families = {one.name: one for one in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
    found = [one for one in families["routerctl_request_duration_seconds"].samples if one.exemplar is not None]
    (sample,) = found
    assert sample.labels == {"route": "/v1/models", "model": "m", "le": "2.5"}
    assert sample.value == 2
    assert sample.exemplar.labels == {"trace_id": "0a" * 16}
    assert (sample.exemplar.value, float(sample.exemplar.timestamp)) == (2.25, 1700000000.125)
    assert text.endswith("# EOF\n")
    plain = asyncio.run(page(collector.collect(), openmetrics=False)).decode()
    assert "trace_id" not in plain
    assert 'routerctl_request_duration_seconds_bucket{le="2.5",model="m",route="/v1/models"} 2.0\n' in plain
