import asyncio

from aggregator.bus.bus import Batch, Bus, Lost, Tap
from aggregator.bus.view import Wanted
from aggregator.records import BookSnapshot, Health, Trade
from tests.support.views import Fixed


def trades(count: int) -> list[Trade]:
    return [Trade(price=str(n), size="1") for n in range(count)]


def test_offsets_rise_by_one_over_batches() -> None:
    bus, seen = Bus("e"), list[Batch]()
    bus.attach(seen.append)
    bus.publish(list(trades(3)))
    bus.publish([])
    bus.publish(list(trades(2)))
    assert [r.offset for batch in seen for r in batch.records] == [1, 2, 3, 4, 5]
    assert bus.header().offset == 5


def test_lines_are_encoded_once_and_are_the_blob() -> None:
    bus, seen = Bus("e"), list[Batch]()
    bus.attach(seen.append)
    bus.publish(list(trades(3)))
    (batch,) = seen
    assert b"".join(batch.lines) == batch.blob
    assert batch.blob is batch.blob
    assert all(line.endswith(b"}\n") for line in batch.lines)
    assert len(batch.lines) == 3


def test_a_receiver_that_left_hears_no_more() -> None:
    bus, seen = Bus("e"), list[Batch]()
    bus.attach(seen.append)
    bus.detach(seen.append)
    bus.publish(list(trades(1)))
    assert seen == []


async def test_a_full_tap_lets_the_oldest_go_and_says_exactly_what() -> None:
    bus, tap = Bus("e"), Tap(limit=4)
    bus.attach(tap.put)
    for _ in range(5):
        bus.publish(list(trades(2)))
    tap.end()
    (group,) = [group async for group in tap.groups(0)]
    assert [[r.offset for r in batch.records] for batch in group.batches] == [[7, 8], [9, 10]]
    assert group.lost == Lost(missed=6, offset_from=1, offset_to=6)
    assert group.count == 4
    assert (tap.missed, tap.held) == (6, 0)


async def test_one_batch_is_held_however_large() -> None:
    bus, tap = Bus("e"), Tap(limit=1)
    bus.attach(tap.put)
    bus.publish(list(trades(10)))
    tap.end()
    assert [group.count async for group in tap.groups(0)] == [10]


async def test_a_reader_waits_for_what_comes_later() -> None:
    bus, tap = Bus("e"), Tap(limit=10)
    bus.attach(tap.put)

    async def publish() -> None:
        await asyncio.sleep(0)
        bus.publish(list(trades(1)))
        await asyncio.sleep(0)
        tap.end()

    task = asyncio.create_task(publish())
    assert [group.count async for group in tap.groups(0)] == [1]
    await task


def test_books_carry_the_offset_of_their_moment() -> None:
    bus = Bus("e")
    bus.publish(list(trades(3)))

    x = Fixed(
        [BookSnapshot(exchange="x", raw_symbol="A", bids=[], asks=[])],
        [Health(exchange="x", channel="book", raw_symbol="A", state="live")],
    )
    bus.views.add("x", x)
    book = bus.views.book("x", "A")
    assert book is not None
    assert (book.offset, book.exchange, book.raw_symbol) == (3, "x", "A")
    assert bus.views.book("x", "B") is bus.views.book("y", "A") is None
    assert bus.views.books() == bus.views.books("x") == bus.views.books(None, "A") == [book]
    (health,) = bus.views.health("book", "x", "A")
    assert (health.offset, health.state) == (3, "live")
    assert list(bus.views.health("book", "y", "A")) == []
    bus.views.remove("x", Fixed())
    assert bus.views.books() == [book], "another has taken its place meanwhile"
    bus.views.remove("x", x)
    assert bus.views.books() == []


def test_topics_that_are_wanted_are_told_to_whoever_follows() -> None:
    bus, told = Bus("e"), list[str]()
    bus.views.add("x", Fixed((), [Health(exchange="x", channel="book", raw_symbol="A", state="live")]))
    bus.views.follow(lambda topics: told.extend(topic.raw_symbol for topic in topics))
    bus.views.tell([Wanted("book", "x", "B", None)])
    assert told == ["A", "B"]
