import asyncio

from aggregator.bus.bus import Batch, Bus, Lost, Tap
from aggregator.records import BookSnapshot, Trade


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

    def source(exchange: str | None, raw_symbol: str | None) -> list[BookSnapshot]:
        return [BookSnapshot(raw_symbol=raw_symbol, exchange=exchange or "", bids=[], asks=[])]

    bus.add_books(source)
    (book,) = bus.books("x", "A")
    assert (book.offset, book.exchange, book.raw_symbol) == (3, "x", "A")
    bus.remove_books(source)
    assert bus.books() == []
