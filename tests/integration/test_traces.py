"""A router's traces at a collector: the real exporter, OTLP over HTTP, and both legs of a disaggregated request."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.integration.routers import Router, eventually, free_ports, simulated_fleet
from tests.integration.test_explain import explain
from tests.integration.test_prefill_decode import router_before, two_and_two

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


class Told(NamedTuple):
    """A span as the collector got it, with what its resource says."""

    span: Span
    resource: dict[str, str]

    @property
    def attributes(self) -> dict[str, str | int | float]:
        found: dict[str, str | int | float] = {}
        for one in self.span.attributes:
            kind = one.value.WhichOneof("value")
            assert kind is not None
            found[one.key] = getattr(one.value, kind)
        return found


class Collector:
    """Takes OTLP over HTTP; `status` is what it answers."""

    def __init__(self, port: int) -> None:
        self.told: list[Told] = []
        self.keys: set[str | None] = set()
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.take(self.path, self.headers.get("x-key"), body)
                self.send_response(outer.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def take(self, path: str, key: str | None, body: bytes) -> None:
        assert path == "/v1/traces"
        self.keys.add(key)
        message = ExportTraceServiceRequest.FromString(body)
        for group in message.resource_spans:
            resource = {one.key: one.value.string_value for one in group.resource.attributes}
            self.told.extend(Told(span, resource) for scope in group.scope_spans for span in scope.spans)

    def of(self, trace: str) -> dict[str, Told]:
        return {one.span.name: one for one in list(self.told) if one.span.trace_id.hex() == trace}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def collector() -> Iterator[tuple[Collector, str]]:
    (port,) = free_ports(1)
    found = Collector(port)
    try:
        yield found, f"http://127.0.0.1:{port}"
    finally:
        found.close()


def ask(router: Router, **headers: str) -> httpx.Response:
    body = {"model": "sim-model", "prompt": "Tell me of the sea. " * 20, "max_tokens": 4}
    return httpx.post(f"{router.url}/v1/completions", json=body, headers=headers, timeout=30, trust_env=False)


def traces(router: Router, outcome: str) -> float:
    text = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
    found = re.search(rf'^routerctl_traces_total{{outcome="{outcome}"}} (\S+)$', text, flags=re.MULTILINE)
    return float(found[1]) if found is not None else 0.0


def exemplars(router: Router) -> dict[str, set[str]]:
    """Traces by the histogram and the route that they are shown at, as OpenMetrics' own reader finds them."""
    address = f"http://127.0.0.1:{router.prometheus_port}/metrics"
    answer = httpx.get(address, headers={"accept": "application/openmetrics-text; version=1.0.0"}, trust_env=False)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "trace_id" not in httpx.get(address, trust_env=False).text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(answer.text):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            if sample.exemplar is not None:
                place = f"{sample.name} of {sample.labels.get('route')}"
                found.setdefault(place, set()).add(sample.exemplar.labels["trace_id"])
    return found


def received(workers: list[str]) -> list[str]:
    """What workers were told to continue."""
    found = []
    for url in workers:
        for one in httpx.get(f"{url}/sim/requests", trust_env=False).json()["requests"]:
            found += [value for name, value in one["headers"] if name.lower() == "traceparent"]
    return found


def test_a_trace_of_a_request_of_two_workers_has_both_legs(tmp_path: Path) -> None:
    with collector() as (found, url), two_and_two(tmp_path, "--time-scale=0") as fleet:
        flags = (f"--otlp-traces-endpoint={url}", "--otel-sampling-ratio=0")
        with router_before(tmp_path, fleet, *flags) as router:
            assert ask(router).status_code == 200
            answer = ask(router, traceparent=CALLER, **{"x-request-id": "traced"})
            assert answer.status_code == 200
            eventually(lambda: "decode sim-model" in found.of(TRACE), "the trace")
            spans = found.of(TRACE)
            root, prefill, decode = (
                spans[name] for name in ("POST /v1/completions", "prefill sim-model", "decode sim-model")
            )
            assert root.span.parent_span_id.hex() == "b7ad6b7169203331"
            assert {one.span.parent_span_id for one in (prefill, decode)} == {root.span.span_id}
            assert {one.attributes["vllm.request_phase"] for one in (prefill, decode)} == {"prefill", "decode"}
            assert prefill.attributes["routerctl.worker"] in fleet.prefill
            assert str(decode.attributes["routerctl.worker"]).endswith(f":{decode.attributes['server.port']}")
            assert root.attributes["gen_ai.usage.output_tokens"] == 4
            assert root.resource["service.name"] == "routerctl"
            assert root.resource["service.instance.id"].startswith("plane ")
            assert prefill.span.end_time_unix_nano <= decode.span.end_time_unix_nano <= root.span.end_time_unix_nano
            # Both engines got their leg's span, and nobody that of the request before.
            sent = {one.span.span_id.hex() for one in (prefill, decode)}
            told = [value.split("-") for value in received([*fleet.prefill, *fleet.decode])]
            assert {parts[2] for parts in told} == sent
            assert {parts[1] for parts in told} == {TRACE}
            assert len({one.span.trace_id for one in found.told}) == 1, "no other trace was begun"
            assert f"trace {TRACE}" in explain(router, "traced").stdout
            shown = "routerctl_request_duration_seconds_bucket of /v1/completions"
            eventually(lambda: exemplars(router) == {shown: {TRACE}}, "the trace beside its bucket")


def test_a_collector_that_is_away_is_told_of_once_and_counted(tmp_path: Path) -> None:
    with collector() as (found, url), simulated_fleet(tmp_path, 1, "--time-scale=0") as workers:
        found.status = 400
        router = Router(tmp_path, "--data-planes=1", f"--otlp-traces-endpoint={url}", "--worker-urls", *workers)
        try:
            router.start().ready()
            for count in (1, 2):
                assert ask(router).status_code == 200
                eventually(lambda: traces(router, "failed") == count, "a failed trace to be counted")  # noqa: B023
            assert router.errors.count("takes no traces") == 1
            found.status = 200
            assert ask(router).status_code == 200
            eventually(lambda: traces(router, "exported") == 1, "one that was taken")
        finally:
            router.close()
