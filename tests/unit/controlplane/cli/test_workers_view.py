import msgspec
import pytest

from controlplane.cli.status_view import BreakerView
from controlplane.cli.workers_attributes import transfer_of
from controlplane.cli.workers_view import (
    Changed,
    Load,
    Worker,
    WorkerLimit,
    attributes_text,
    changed_text,
    list_text,
    show_text,
)
from shared.config import ConfigError
from shared.transfer import Transfer
from shared.transfer_attributes import TransferAttributes

WORKER = Worker(
    id="http://10.0.0.1:8000",
    url="http://10.0.0.1:8000",
    source="admin",
    role="regular",
    state="draining",
    reason="drained by an operator",
    drained=True,
    epoch=2,
    version="0.32.0",
    age=75.0,
    models=("m",),
    inflight=0,
    load=Load(running=1, waiting=2, kv_usage=0.5, age=0.25),
)


def test_the_list() -> None:
    assert list_text([WORKER]).splitlines() == [
        "WORKER                STATE    AGE    OPEN  SOURCE  MODELS",
        "http://10.0.0.1:8000  drained  1m15s  0     admin   drained by an operator",
    ]
    assert "routerctl workers add URL" in list_text([])


def test_the_list_shows_attributes_that_are_not_everybodys() -> None:
    other = msgspec.structs.replace(WORKER, weight=0.5, labels={"zone": "a"}, reason="")
    lines = list_text([WORKER, other], 100).splitlines()
    assert lines[0].split() == ["WORKER", "STATE", "AGE", "OPEN", "SOURCE", "WEIGHT", "LABELS", "MODELS"]
    assert lines[1].split()[5:] == ["1", "-", "drained", "by", "an", "operator"]
    assert lines[2].split()[5:] == ["0.5", "zone=a", "m"]
    assert list_text([], is_filtered=True) == "no worker has these labels"


def test_the_list_shows_roles_where_there_are_any() -> None:
    lines = list_text([WORKER, msgspec.structs.replace(WORKER, role="prefill")]).splitlines()
    assert lines[0].split()[4:] == ["SOURCE", "ROLE", "MODELS"]
    assert [line.split()[5] for line in lines[1:]] == ["regular", "prefill"]


def test_the_list_shows_an_open_breaker() -> None:
    breaker = BreakerView(state="open", reason="failed 10 times", age=3.0)
    worker = msgspec.structs.replace(WORKER, state="ready", drained=False, reason="", breaker=breaker)
    assert list_text([worker]).splitlines()[1].split("  ")[1:3] == ["breaker open", "3.0s"]
    assert list_text([worker]).endswith("failed 10 times")


def test_the_list_tells_which_configured_workers_were_removed() -> None:
    for workers in ([], [WORKER]):
        last = list_text(workers, 20, removed=("http://a:1", "http://b:1")).splitlines()[-1]
        assert last == "configured, but removed (`routerctl workers add URL` brings one back): http://a:1, http://b:1"
    assert "http://a:1" not in list_text([WORKER], removed=("http://a:1",), is_filtered=True)


def test_a_wide_terminal_shows_more() -> None:
    long = msgspec.structs.replace(WORKER, reason="x" * 300)
    assert [max(map(len, list_text([long], width).splitlines())) for width in (80, 200)] == [80, 200]


def test_one_worker_in_80_columns() -> None:
    worker = msgspec.structs.replace(
        WORKER, reason="x" * 300, changed=("weight",), breaker=BreakerView(state="open", reason="failed", age=3.0)
    )
    lines = show_text(worker, 80).splitlines()
    assert "weight         1 (by an operator)" in lines
    assert "capacity       -" in lines
    assert "breaker        open for 3.0s: failed" in lines
    assert max(map(len, lines)) == 80
    assert lines[1] == "state          drained for 1m15s"
    assert sum(line.count("x") for line in lines) == 300
    assert f"reason         {'x' * 300}" in show_text(worker).splitlines()
    assert lines[-1].endswith("1 running, 2 waiting, KV cache 50% (0.2s ago)")


def test_a_change_of_attributes_tells_them_all() -> None:
    done = Changed(id="http://a:1", state="ready", on_every_plane=True, kept=True, weight=2, labels={"a": "b"})
    assert (
        attributes_text(done) == "worker http://a:1 has weight 2, priority 50, capacity -, limit as for all, labels a=b"
    )


def test_large_numbers_are_plain() -> None:
    done = Changed(id="http://a:1", state="ready", on_every_plane=True, kept=True, capacity=1_000_000, weight=0.001)
    assert "weight 0.001, priority 50, capacity 1000000," in attributes_text(done)


def test_a_change_tells_what_is_still_open() -> None:
    done = Changed(id="http://a:1", state="draining", on_every_plane=True, kept=True)
    assert changed_text(done) == "worker http://a:1 gets no more requests; those that are open go on"
    half = changed_text(Changed(id="http://a:1", state="ejected", on_every_plane=False, kept=False)).splitlines()
    assert half[0] == "worker http://a:1 is ejected"
    assert len(half) == 3


def test_how_a_worker_moves_kv_cache_is_shown_where_it_is_known() -> None:
    assert "KV transfer" not in show_text(WORKER)
    told = Transfer(mode="read", bootstrap_port=9000, engine_ids={"0": "e"})
    shown = show_text(msgspec.structs.replace(WORKER, transfer=told)).splitlines()
    assert "KV transfer    read, bootstrap port 9000, engine 0 is e" in shown


def test_what_is_said_of_transfers_is_checked() -> None:
    assert transfer_of(bootstrap_port=None, address=None) is None
    assert transfer_of(bootstrap_port=1, mode="read") == TransferAttributes(bootstrap_port=1, mode="read")
    with pytest.raises(ConfigError, match="its transfer has mode = 'x'"):
        transfer_of(mode="x")


@pytest.mark.parametrize(
    ("own", "limit", "short", "whole"),
    [
        (None, None, "-", "none"),
        (0, None, "-", "none"),
        (4, WorkerLimit(amount=4, source="worker", most=4), "4", "4"),
        (
            None,
            WorkerLimit(amount=8, source="all", most=8),
            "8 (all)",
            "8, as for all workers (--worker-max-concurrent-requests)",
        ),
        (
            None,
            WorkerLimit(amount=12, source="found", most=1024),
            "12 (found)",
            "12 at the moment, as found (--adaptive-worker-limit); the most for all workers is 1024",
        ),
        (
            64,
            WorkerLimit(amount=12, source="found", most=64),
            "12 (found)",
            "12 at the moment, as found (--adaptive-worker-limit); its own limit is 64",
        ),
    ],
)
def test_the_limit_that_a_worker_goes_by_is_shown_and_whence_it_comes(
    own: int | None, limit: WorkerLimit | None, short: str, whole: str
) -> None:
    worker = msgspec.structs.replace(WORKER, max_concurrent_requests=own, limit=limit)
    head, line = list_text([worker]).splitlines()
    assert ("LIMIT" in head) == (limit is not None)
    assert short == "-" or f"  {short}  " in line
    assert next(text for text in show_text(worker).splitlines() if text.startswith("limit")).split(None, 1)[1] == whole
