import asyncio
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controlplane.admin import admin_application, prometheus_application
from controlplane.status_report import ControlPlaneStatus, StatusReport, TableStatus

REPORT = StatusReport(
    supervisor=None,
    control_plane=ControlPlaneStatus(
        pid=1, version="x", age=1.0, table=TableStatus(epoch=1, version=2, hash="0f"), models=(), malformed=0
    ),
    planes=(),
    workers=(),
)


class OneGauge(Collector):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("routerctl_x", "An x.", value=1.0)


def get(application: object, path: str, accept: str = "*/*") -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=application)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
            return await client.get(path, headers={"accept": accept})

    return asyncio.run(run())


def test_status() -> None:
    answer = get(admin_application(lambda: REPORT), "/status")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["control_plane"]["table"] == {"epoch": 1, "version": 2, "hash": "0f"}
    assert answer.json()["planes"] == answer.json()["workers"] == []


@pytest.mark.parametrize(
    ("accept", "kind", "is_open"),
    [("*/*", "text/plain", False), ("application/openmetrics-text; version=1.0.0", "application/openmetrics", True)],
)
def test_metrics_in_the_format_asked_for(accept: str, kind: str, is_open: bool) -> None:
    answer = get(prometheus_application(OneGauge()), "/metrics", accept)
    assert answer.headers["content-type"].startswith(kind)
    assert "routerctl_x 1.0" in answer.text
    assert answer.text.endswith("# EOF\n") == is_open


def test_other_paths_are_not_there() -> None:
    assert get(admin_application(lambda: REPORT), "/metrics").status_code == 404
