"""docs/metrics.md lists every metric that the router exports, with its kind and labels, and no other (G-FIG-2)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import zmq.asyncio
from prometheus_client.core import Metric

from controlplane.admission.lender import Lender
from controlplane.discovery.discovered import Announced, Source
from controlplane.discovery.discovery import Discovery
from controlplane.discovery.service import DiscoveryService
from controlplane.health import HealthRules
from controlplane.kubernetes.service import KubernetesService
from controlplane.kv_events.index import KvIndex
from controlplane.kv_events.service import KvEvents
from controlplane.loads import Loads
from controlplane.metrics import RouterCollector
from controlplane.planes import Planes
from controlplane.publication import Publication
from controlplane.registry import Registry
from controlplane.remote_tally import Tally
from dataplane.accounting import Accounting
from shared import catalog
from shared.clock import SystemClock
from shared.config import StartConfig
from shared.kv_messages import KvStanding, KvUpdate
from shared.table import Settings, Stamp

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| [^|]+ \|$", re.MULTILINE)
BOUNDS = re.compile(r"^\| `([\w`, ]+)` \| ([\d., ]+) \|$", re.MULTILINE)


class Nobody:
    """Planes to which nothing comes, and a fleet in which nobody registers."""

    stamp = Stamp(1, 1, 0)

    def tell(self, message: KvUpdate | KvStanding) -> None:
        raise AssertionError(message)

    async def discover(
        self,
        announced: Mapping[str, Announced],
        *,
        goodbyes: Collection[str] = (),
        renewed: Collection[str] = (),
        source: Source = "zmq",
    ) -> None:
        raise AssertionError(announced)

    def discovered(self, source: Source = "zmq") -> Mapping[str, Announced]:
        return {}


def every_family() -> list[Metric]:
    """What a router with everything switched on exports."""

    async def run() -> list[Metric]:
        config = StartConfig(
            policy="kv_aware",
            vllm_discovery_address="127.0.0.1:30001",
            discovery_curve_address="tcp://127.0.0.1:30002",
            discovery_keys="/no/keys",
            service_discovery=True,
            selector=("app=vllm",),
        )
        registry, clock = Registry(HealthRules()), SystemClock()
        discovery = Discovery(config)
        discovery.service = DiscoveryService(config, Nobody(), registry, clock, look=lambda _: None)
        discovery.kubernetes = KubernetesService(config, Nobody(), clock)
        with zmq.asyncio.Context() as context:
            index = KvIndex(config)
            index.events = KvEvents(context, registry, config, clock, Nobody())
            lender = Lender(1, {}, Planes(), clock, lambda _: False)
            collector = RouterCollector(
                Publication(1, Settings()),
                Planes(),
                Loads(),
                clock,
                {},
                {},
                Tally(),
                index,
                discovery,
                lender,
                compat=True,
            )
            try:
                return list(collector.collect())
            finally:
                assert discovery.service.keyed is not None
                # It is closed by `run`, which never ran.
                discovery.service.keyed._context.destroy(linger=0)

    return asyncio.run(run())


def exported() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for family in every_family():
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = ("version",) if family.type == "info" else tuple(getattr(family, "_labelnames", ()))
        yield family.name + suffix, family.type, labels


def listed() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for name, kind, labels in ROW.findall(PAGE):
        yield name, kind, tuple(re.findall(r"`(\w+)`", labels))


def test_every_metric_is_on_the_page_and_nothing_else() -> None:
    assert sorted(listed()) == sorted(exported())


def test_the_page_has_the_buckets() -> None:
    told = {
        name: tuple(float(bound) for bound in bounds.split(","))
        for names, bounds in BOUNDS.findall(PAGE)
        for name in re.findall(r"\w+", names)
    }
    # Those of workers are shown as a count and a sum.
    shown = [metric for metric in catalog.HISTOGRAMS if metric.buckets and metric.labels != ("worker",)]
    assert told == {metric.name: metric.buckets for metric in shown}


def test_the_bound_of_models_is_on_the_page() -> None:
    assert f"{catalog.MAX_MODELS} models" in PAGE


def test_a_plane_that_has_counted_nothing_tells_no_strange_series() -> None:
    names = {name for name, _, _ in exported()}
    assert {f"routerctl_{one.name}_total" for one in Accounting().counter_series()} <= names
