from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.publication import Publication
from shared.messages import InflightReport, WorkerLoad
from shared.plane_identity import PlaneIdentity
from shared.table import ModelCard, RoutingTable, Settings, Worker, apply, content_hash, make_table

SETTINGS = Settings()
workers = st.builds(
    Worker,
    id=st.sampled_from("abcd"),
    url=st.just("http://x"),
    epoch=st.integers(1, 3),
    state=st.sampled_from(["starting", "ready", "unhealthy"]),
    since=st.floats(0, 10),
)
models = st.builds(ModelCard, id=st.sampled_from("mno"), card=st.binary(max_size=3))
contents = st.tuples(
    st.lists(workers, max_size=4, unique_by=lambda worker: worker.id),
    st.lists(models, max_size=3, unique_by=lambda model: model.id),
    st.builds(Settings, policy=st.sampled_from(["random", "round_robin"])),
)


def test_a_new_publication_is_empty_at_version_one() -> None:
    publication = Publication(7, SETTINGS)
    assert publication.table == make_table(epoch=7, version=1, settings=SETTINGS)
    assert publication.heartbeat().stamp == publication.table.stamp


def test_the_same_content_is_no_change() -> None:
    publication = Publication(7, SETTINGS)
    worker = Worker(id="a", url="http://a")
    assert publication.change([], [], SETTINGS) is None
    assert publication.change([worker], [], SETTINGS) is not None
    assert publication.change([worker], [], SETTINGS) is None
    assert publication.table.stamp.version == 2


@settings(deadline=None)
@given(st.lists(contents, max_size=8), st.integers(0, 7))
def test_updates_lead_every_copy_to_the_published_table(
    history: list[tuple[list[Worker], list[ModelCard], Settings]], joins: int
) -> None:
    publication = Publication(1, SETTINGS)
    copy: RoutingTable | None = None
    for index, (some_workers, some_models, wanted) in enumerate(history):
        if index == joins:
            snapshot = publication.snapshot(index)
            assert snapshot.request_id == index
            copy = make_table(
                epoch=snapshot.stamp.epoch,
                version=snapshot.stamp.version,
                workers=snapshot.workers,
                models=snapshot.models,
                settings=snapshot.settings,
            )
        update = publication.change(some_workers, some_models, wanted)
        table = publication.table
        assert publication.heartbeat().stamp == table.stamp
        assert table.stamp.hash == content_hash(table.workers, table.models, table.settings)
        assert table.workers == {worker.id: worker for worker in some_workers}
        assert table.models == {model.id: model for model in some_models}
        assert table.settings == wanted
        if copy is not None and update is not None:
            copy = apply(copy, update.change)
            assert update.stamp == copy.stamp
        assert copy is None or (copy == table and list(copy.workers) == list(table.workers))


def test_load_reports_are_numbered() -> None:
    publication = Publication(1, SETTINGS)
    loads = {"a": WorkerLoad(1.0, 0.0, 0.1, 0.2)}
    assert [publication.load(loads).seq, publication.load({}).seq] == [1, 2]
    assert publication.load(loads).loads == loads


def test_inflight_reports_are_passed_on() -> None:
    plane = PlaneIdentity(id="p", slot=0, pid=1, version="1", started=0.0)
    message = Publication(1, SETTINGS).inflight(InflightReport(plane, 5, {"a": 2}, {"a": 90}, 0))
    assert (message.plane, message.seq, message.counts, message.prefill) == ("p", 5, {"a": 2}, {"a": 90})
