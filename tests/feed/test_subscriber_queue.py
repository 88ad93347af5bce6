import json

from hypothesis import given
from hypothesis import strategies as st

from aggregator.bus.bus import Batch, encode_lines
from aggregator.bus.selection import parse_pattern
from aggregator.feed.formats import PLAIN
from aggregator.feed.routing import TopicRoutes
from aggregator.feed.subscriber_queue import BookRole, Chunk, Ring, join
from aggregator.records import Bbo, Record

TRADES = BookRole(None, starts=False)
BOOK = ("alpha", "X")
SNAPSHOT = BookRole(BOOK, starts=True)
DELTA = BookRole(BOOK, starts=False)


def chunk(first: int, *roles: BookRole) -> Chunk:
    offsets = list(range(first, first + len(roles)))
    return Chunk(b"".join(b'{"offset":%d}\n' % offset for offset in offsets), roles, offsets)


def ring(limit: int, limit_bytes: int = 2**20) -> Ring:
    return Ring(limit, encode_lines, limit_bytes=limit_bytes)


def said(waiting: Ring) -> list[tuple[int, int] | int | str]:
    """What is written, in order: offsets, lags as (first, last) or answers."""
    found: list[tuple[int, int] | int | str] = []
    while data := waiting.take():
        for line in data.splitlines():
            row = json.loads(line)
            if row.get("type") == "lag":
                found.append((row["offset_from"], row["offset_to"]))
            else:
                found.append(row.get("offset", row.get("type")))
    return found


def test_the_oldest_go_and_are_told_in_their_place() -> None:
    full = ring(3)
    for offset in range(1, 6):
        full.put(chunk(offset, TRADES))
    assert full.held == 3
    assert said(full) == [(1, 2), 3, 4, 5]
    assert (full.held, full.bytes, full.missed, full.lags) == (0, 0, 2, 1)


def test_of_a_chunk_that_is_larger_than_the_ring_the_end_is_kept() -> None:
    full = ring(3)
    full.put(chunk(1, *[TRADES] * 10))
    assert full.held == 3
    assert said(full) == [(1, 7), 8, 9, 10]


def test_bytes_are_bounded_too() -> None:
    full = ring(1000, limit_bytes=40)
    for offset in range(1, 6):
        full.put(chunk(offset, TRADES))
    assert full.bytes <= 40
    assert said(full) == [(1, 2), 3, 4, 5]


def test_answers_are_never_lost() -> None:
    full = ring(2)
    full.put(chunk(1, TRADES))
    full.answer(b'{"type":"pong"}\n')
    full.put(chunk(2, TRADES, TRADES))
    full.answer(b'{"type":"topics"}\n')
    full.put(chunk(4, TRADES, TRADES))
    assert said(full) == ["pong", (1, 3), "topics", 4, 5]
    assert full.answers == 0


def test_answers_keep_their_place_where_nothing_is_lost() -> None:
    waiting = ring(5)
    waiting.put(chunk(1, TRADES))
    waiting.answer(b'{"type":"pong"}\n')
    waiting.put(chunk(2, TRADES))
    assert said(waiting) == [1, "pong", 2]


def test_a_book_with_a_hole_is_withheld_and_wanted() -> None:
    full = ring(3)
    full.put(chunk(1, DELTA, TRADES))
    full.put(chunk(3, TRADES, DELTA))
    assert list(full.wanted) == [BOOK]
    assert said(full) == [(1, 2), 3, (4, 4)]
    full.has_book(BOOK)
    full.put(chunk(5, DELTA))
    assert said(full) == [5]


def test_a_loss_is_told_before_the_last_word() -> None:
    full = ring(3)
    full.put(chunk(1, DELTA, TRADES))
    full.answer(b'{"type":"pong"}\n')
    full.put(chunk(3, TRADES, DELTA))
    full.answer(b'{"type":"bye"}\n')
    assert said(full) == [(1, 2), "pong", 3, (4, 4), "bye"]


def test_a_snapshot_in_the_stream_ends_the_wait() -> None:
    full = ring(3)
    full.put(chunk(1, DELTA))
    full.put(chunk(2, DELTA, SNAPSHOT, DELTA))
    assert said(full) == [(1, 1), (2, 2), 3, 4]
    assert not full.wanted


def test_a_book_that_was_never_had_is_awaited_without_a_lag() -> None:
    waiting = ring(10)
    waiting.await_book(BOOK, is_new=True)
    waiting.put(chunk(1, DELTA, TRADES, SNAPSHOT, DELTA))
    assert said(waiting) == [2, 3, 4]
    assert waiting.missed == 0


def test_a_snapshot_of_a_book_that_is_had_stops_nothing() -> None:
    waiting = ring(10)
    waiting.await_book(BOOK, is_new=False)
    waiting.put(chunk(1, DELTA))
    assert said(waiting) == [1]
    assert list(waiting.wanted) == [BOOK]


def test_chunks_join() -> None:
    joined = join([chunk(1, TRADES), chunk(2, DELTA, SNAPSHOT)])
    assert (list(joined.offsets), list(joined.roles)) == ([1, 2, 3], [TRADES, DELTA, SNAPSHOT])
    assert joined.data == chunk(1, TRADES, TRADES, TRADES).data
    assert joined.books == {BOOK}


@given(
    st.lists(st.one_of(st.integers(1, 7), st.none()), max_size=60),
    st.integers(1, 12),
    st.integers(15, 200),
)
def test_every_record_is_had_or_counted(steps: list[int | None], limit: int, limit_bytes: int) -> None:
    """A number publishes that many records, None reads once; all is in order, and each lag covers what is not there."""
    tested = ring(limit, limit_bytes)
    offset = 0
    found: list[tuple[int, int] | int | str] = []
    for step in [*steps, None]:
        if step is None:
            found += said(tested)
            continue
        tested.put(chunk(offset + 1, *[TRADES] * step))
        offset += step
        assert tested.held <= limit
        assert tested.bytes <= limit_bytes
    covered = [at for item in found for at in (range(item[0], item[1] + 1) if isinstance(item, tuple) else (item,))]
    assert covered == list(range(1, offset + 1))


def test_a_chunk_that_does_not_fit_at_all_is_lost_whole() -> None:
    full = ring(10, limit_bytes=10)
    full.put(chunk(1, TRADES, TRADES))
    assert full.bytes == 0
    assert said(full) == [(1, 2)]


ROLES = [TRADES, DELTA, SNAPSHOT, BookRole(("alpha", "Y"), starts=False), BookRole(("beta", "X"), starts=False)]


@given(
    st.lists(st.tuples(st.lists(st.sampled_from(ROLES), min_size=1, max_size=6), st.integers(0, 7)), max_size=40),
    st.lists(st.tuples(st.integers(2, 12), st.booleans()), min_size=3, max_size=3),
)
def test_rings_that_share_their_chunks_say_what_each_would_say_alone(
    steps: list[tuple[list[BookRole], int]], kinds: list[tuple[int, bool]]
) -> None:
    """Each step publishes a chunk, and then those of three rings read whose bits are set; some are new to the books."""

    def rings() -> list[Ring]:
        made = [ring(limit) for limit, _ in kinds]
        for one, (_, is_new) in zip(made, kinds, strict=True):
            for role in ROLES[1:]:
                if is_new and role.book is not None:
                    one.await_book(role.book, is_new=True)
        return made

    together, alone = rings(), rings()
    offset = 1
    for roles, readers in steps:
        shared = chunk(offset, *roles)
        for at, (one, other) in enumerate(zip(together, alone, strict=True)):
            one.put(shared)
            other.put(chunk(offset, *roles))
            if readers >> at & 1:
                assert said(one) == said(other)
        offset += len(roles)
    for one, other in zip(together, alone, strict=True):
        assert said(one) == said(other)
        assert (one.missed, one.lags, one.waiting, one.held) == (other.missed, other.lags, other.waiting, other.held)


# --- policies


def test_where_only_the_newest_matters_older_ones_of_the_same_route_go_first() -> None:
    full = ring(8)
    full.policy = "conflate"
    quotes = [BookRole(None, starts=False, is_superseded=True) for _ in range(2)]
    for offset in range(1, 10):
        full.put(chunk(offset, quotes[offset % 2] if offset != 4 else TRADES))
    assert said(full) == [4, 8, 9, (1, 7)], "what went is told behind what is newer, and its range holds what was kept"
    assert full.missed == 6


def test_a_queue_of_what_nothing_supersedes_lets_the_oldest_go_though_it_is_conflated() -> None:
    full = ring(8)
    full.policy = "conflate"
    for offset in range(1, 10):
        full.put(chunk(offset, TRADES))
    assert said(full) == [(1, 3), 4, 5, 6, 7, 8, 9]


@given(st.lists(st.integers(0, 3), max_size=60))
def test_conflated_or_not_every_record_comes_or_is_counted(kinds: list[int]) -> None:
    full = ring(6)
    full.policy = "conflate"
    roles = [TRADES, *[BookRole(None, starts=False, is_superseded=True) for _ in range(3)]]
    for offset, kind in enumerate(kinds, 1):
        full.put(chunk(offset, roles[kind]))
    came = [found for found in said(full) if isinstance(found, int)]
    assert came == sorted(came)
    assert len(came) + full.missed == len(kinds)
    for kind in {*kinds} - {0}:
        newest = max(offset for offset, each in enumerate(kinds, 1) if each == kind)
        assert newest in came or sum(offset > newest for offset in came) >= 4, "it goes only as the oldest does"


def test_derived_records_that_share_an_offset_are_told_apart() -> None:
    """Several may follow from one record, and each has the offset of the last one that was published."""
    routes = TopicRoutes()
    routes.join(ring(10), {"bbo:*:*": parse_pattern("bbo:*:*")}, PLAIN)
    made: list[Record] = [Bbo(exchange="alpha", symbol=name, raw_symbol=name, offset=7) for name in ("A", "A", "B")]
    (group,) = routes.distribute(Batch(made))
    (chunk,) = group.chunks
    first, rest = chunk.split(1)
    assert (list(first.offsets), list(rest.offsets)) == ([7], [7, 7])
    data, lost = chunk.without(frozenset({("alpha", "A")}), frozenset())
    assert (data, lost.count) == (encode_lines(made), 0)
