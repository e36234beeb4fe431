"""Which traced requests are told of beside a histogram's buckets."""

from __future__ import annotations

from bisect import bisect_left

from dataplane.exemplars import Exemplars
from shared import catalog
from shared.plane_report import MAX_EXEMPLARS, Exemplar

BOUNDS = catalog.LATENCY.buckets
PLACE = ("/v1/completions", "m")


def test_a_bucket_has_the_newest() -> None:
    moments = iter((1700000000.12345, 1700000001.0, 1700000002.0))
    kept = Exemplars(lambda: next(moments))
    kept.note(catalog.LATENCY, PLACE, 0.31, "a" * 32)
    kept.note(catalog.LATENCY, PLACE, 0.4, "b" * 32)
    kept.note(catalog.LATENCY, PLACE, BOUNDS[-1] + 1, "c" * 32)
    assert kept.series() == (
        Exemplar(catalog.LATENCY.name, PLACE, BOUNDS.index(0.5), "b" * 32, 0.4, 1700000001.0),
        Exemplar(catalog.LATENCY.name, PLACE, len(BOUNDS), "c" * 32, BOUNDS[-1] + 1, 1700000002.0),
    )


def test_a_bound_belongs_to_its_bucket() -> None:
    kept = Exemplars(lambda: 0.0)
    kept.note(catalog.LATENCY, PLACE, 0.5, "a")
    (one,) = kept.series()
    assert one.bucket == BOUNDS.index(0.5) == bisect_left(BOUNDS, 0.5)


def test_only_the_newest_are_kept() -> None:
    kept = Exemplars(lambda: 0.0)
    models = [f"m{number}" for number in range(MAX_EXEMPLARS + 5)]
    for model in models:
        kept.note(catalog.FIRST_TOKEN, (model,), 0.1, "a")
        # What is seen again and again stays.
        kept.note(catalog.FIRST_TOKEN, ("always",), 0.1, "a")
    labels = [one.labels[0] for one in kept.series()]
    assert len(labels) == MAX_EXEMPLARS
    assert set(labels) == {"always", *models[6:]}
    kept.clear()
    assert kept.series() == ()
