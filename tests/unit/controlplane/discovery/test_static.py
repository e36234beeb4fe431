from controlplane.discovery.discovered import Discovered
from controlplane.discovery.static import static_workers


def test_a_worker_per_url_in_order() -> None:
    assert static_workers(["http://b:1", "http://a:1"]) == (
        Discovered("http://b:1"),
        Discovered("http://a:1"),
    )


def test_a_slash_at_the_end_makes_no_other_worker() -> None:
    assert [worker.id for worker in static_workers(["http://a:1/", "http://a:1"])] == ["http://a:1"]
