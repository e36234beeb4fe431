from controlplane.cli.workers_view import Changed, Load, Worker, changed_text, list_text, show_text

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


def test_one_worker_in_80_columns() -> None:
    WORKER.reason = "x" * 300
    lines = show_text(WORKER).splitlines()
    assert max(map(len, lines)) == 80
    assert lines[1] == "state          drained for 1m15s"
    assert sum(line.count("x") for line in lines) == 300
    assert lines[-1].endswith("1 running, 2 waiting, KV cache 50% (0.2s ago)")


def test_a_change_tells_what_is_still_open() -> None:
    done = Changed(id="http://a:1", state="draining", on_every_plane=True, kept=True)
    assert changed_text(done) == "worker http://a:1 gets no more requests; those that are open go on"
    half = changed_text(Changed(id="http://a:1", state="ejected", on_every_plane=False, kept=False)).splitlines()
    assert half[0] == "worker http://a:1 is ejected"
    assert len(half) == 3
