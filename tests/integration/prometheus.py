"""A real Prometheus (Debian's `prometheus`) that scrapes routers on this machine."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.docs.ready_made import DEPLOY
from tests.integration.routers import eventually, free_ports


def prometheus_path() -> str | None:
    """Return where it is, None where there is none."""
    return shutil.which("prometheus")


class Prometheus:
    def __init__(self, port: int) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30, trust_env=False)

    def _get(self, path: str, **parameters: str) -> Any:
        answer = self._client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def is_up(self) -> bool:
        try:
            return self._client.get("/status/runtimeinfo").status_code == 200
        except httpx.HTTPError:
            return False

    def values(self, expression: str) -> list[float]:
        """What an expression gives at this moment, without what is no number."""
        found = [float(series["value"][1]) for series in self._get("/query", query=expression)["result"]]
        return [value for value in found if not math.isnan(value)]

    def alerts(self) -> set[str]:
        """Names of alerts that fire or are about to."""
        return {alert["labels"]["alertname"] for alert in self._get("/alerts")["alerts"]}

    def exemplars(self, metric: str) -> set[str]:
        """Ids of the traces that were scraped beside a metric."""
        found = self._get("/query_exemplars", query=metric, start="0", end="4000000000")
        return {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}

    def faults(self) -> list[str]:
        """What is wrong with targets and rules."""
        targets = [one["lastError"] for one in self._get("/targets")["activeTargets"]]
        rules = [rule.get("lastError", "") for group in self._get("/rules")["groups"] for rule in group["rules"]]
        return [fault for fault in targets + rules if fault]

    def close(self) -> None:
        self._client.close()


@contextmanager
def prometheus(folder: Path, ports: list[int]) -> Iterator[Prometheus]:
    """Run one with the rules of `deploy/`, which scrapes these ports each second."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / "alerts.yml")]
    (scrape,) = config["scrape_configs"]
    scrape["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    path = prometheus_path()
    assert path is not None
    command = (path, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}")
    flags = ("--enable-feature=exemplar-storage", f"--web.listen-address=127.0.0.1:{port}")
    with open(folder / "prometheus.log", "wb") as log:
        process = subprocess.Popen((*command, *flags), stdout=log, stderr=log, cwd=folder)
    one = Prometheus(port)
    try:
        eventually(lambda: one.is_up() or process.poll() is not None, "Prometheus")
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        yield one
    finally:
        one.close()
        process.kill()
        process.wait()
