from aggregator.bus.bus import Batch, Bus
from aggregator.bus.view import Wanted
from aggregator.records import BookSnapshot, Gap, Health, Summary, Trade
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


def test_whoever_watches_gets_only_what_tells_of_the_stream_itself() -> None:
    bus, seen = Bus("e"), list[Batch]()
    bus.watch(seen.append)
    bus.publish(list(trades(1)))
    bus.publish(list(trades(2)))
    bus.publish([*trades(2), Gap(channel="book", gap_id="1", phase="open", cause="checksum", ts_from=1)])
    bus.publish([Health(channel="book", state="live")])
    bus.publish([Summary(conn="a/1#1", ts_from=1), *trades(1)])
    assert [batch.first for batch in seen] == [4, 7, 8]


def test_a_batch_says_its_epoch_and_its_place_in_the_stream() -> None:
    bus, seen = Bus("e"), list[Batch]()
    bus.attach(seen.append)
    bus.publish(list(trades(3)))
    bus.publish(list(trades(2)))
    assert [(batch.epoch, batch.first, batch.last, len(batch)) for batch in seen] == [("e", 1, 3, 3), ("e", 4, 5, 2)]
    both = Batch.joined(seen)
    assert (both.epoch, both.first, both.last, len(both)) == ("e", 1, 5, 5)
    assert both.size == len(both.blob) == sum(batch.size for batch in seen)
    assert both.lines == [*seen[0].lines, *seen[1].lines]
    assert all(line is again for line, again in zip(both.lines, [*seen[0].lines, *seen[1].lines], strict=True))


def test_a_part_of_a_batch_has_the_lines_of_its_records() -> None:
    bus, seen = Bus("e"), list[Batch]()
    bus.attach(seen.append)
    bus.publish(list(trades(5)))
    (whole,) = seen
    part, chosen = whole.part(1, 3), whole.chosen([0, 4])
    assert [record.offset for record in part.records] == [2, 3]
    assert part.blob == b"".join(whole.lines[1:3])
    assert [record.offset for record in chosen.records] == [1, 5]
    assert chosen.lines == [whole.lines[0], whole.lines[4]]
    assert part.epoch == chosen.epoch == "e"


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
