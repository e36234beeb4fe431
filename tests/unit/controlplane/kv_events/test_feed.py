from __future__ import annotations

from controlplane.kv_events.decode import Cleared
from controlplane.kv_events.feed import Feed, Lost, SourceKey
from shared.kv_chain import unpack
from shared.kv_messages import PAGE_BLOCKS, TIER_DEVICE, TIER_NONE
from shared.table import Stamp
from tests.unit.controlplane.kv_events.engine import keys_of, removed, stored

STAMP = Stamp(1, 2, 3)
A, B = SourceKey("http://a", 0), SourceKey("http://a", 1)


def feed_of(*keys: SourceKey, max_blocks: int = 10_000) -> Feed:
    feed = Feed(max_blocks)
    for key in keys:
        feed.add(key)
    return feed


def test_changes_are_gathered_into_one_update() -> None:
    feed = feed_of(A, B)
    feed.apply(A, [stored([1, 2, 3, 4])])
    feed.apply(A, [removed([1, 2, 3, 4])])
    [update] = feed.updates(STAMP)
    one, two = keys_of([1, 2, 3, 4])
    assert (update.state.worker, update.state.rank, update.state.seq, update.state.blocks) == ("http://a", 0, 1, 1)
    assert dict(zip(unpack(update.keys), update.tiers, strict=True)) == {one: TIER_DEVICE, two: TIER_NONE}
    assert list(feed.updates(STAMP)) == []


def test_many_changes_are_several_updates() -> None:
    feed = feed_of(A)
    feed.apply(A, [stored(list(range(2 * PAGE_BLOCKS + 2)))])
    updates = list(feed.updates(STAMP))
    assert [update.state.seq for update in updates] == [1, 2]
    assert [len(update.tiers) for update in updates] == [PAGE_BLOCKS, 1]


def test_pages_tell_all_that_is_held() -> None:
    feed = feed_of(A)
    tokens = list(range(2 * PAGE_BLOCKS + 2))
    feed.apply(A, [stored(tokens)])
    list(feed.updates(STAMP))
    pages = list(feed.pages(STAMP, A, 7))
    assert [(page.request_id, page.page, page.pages) for page in pages] == [(7, 0, 2), (7, 1, 2)]
    assert [key for page in pages for key in unpack(page.keys)] == keys_of(tokens)
    assert {page.state for page in pages} == set(feed.standing(STAMP).sources)


def test_a_source_that_holds_nothing_has_one_empty_page() -> None:
    [page] = feed_of(A).pages(STAMP, A, 1)
    assert (page.pages, page.keys, page.tiers) == (1, b"", b"")
    assert list(feed_of(A).pages(STAMP, B, 1)) == []


def test_a_purge_begins_another_life_that_holds_nothing() -> None:
    feed = feed_of(A)
    feed.apply(A, [stored([1, 2])])
    list(feed.updates(STAMP))
    [before] = feed.standing(STAMP).sources
    feed.apply(A, [stored([5, 6]), Cleared(), stored([3, 4])])
    [update] = feed.updates(STAMP)
    assert update.state.life > before.life
    assert (update.state.seq, unpack(update.keys)) == (1, keys_of([3, 4]))
    [report] = feed.report()
    assert (report.key, report.blocks, report.block_size, report.purges) == (A, 1, 2, 1)


def test_a_source_that_comes_again_is_not_what_it_was() -> None:
    feed = feed_of(A)
    [before] = feed.standing(STAMP).sources
    feed.remove(A)
    assert feed.standing(STAMP).sources == ()
    feed.add(A)
    assert feed.standing(STAMP).sources[0].life > before.life


def test_lost_blocks_are_counted_over_all_lives() -> None:
    feed = feed_of(A, max_blocks=1)
    feed.apply(A, [stored([1, 2, 3, 4]), stored([7, 7, 8, 8], skip=1)])
    feed.purge(A)
    feed.apply(A, [stored([1, 2, 3, 4])])
    assert feed.report()[0].lost == Lost(orphans=1, over_limit=2, unusable=0)
