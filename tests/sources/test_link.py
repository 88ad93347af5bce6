"""How the exchanges of another process stand, as its batches have told it."""

import time

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.passing import MARK, MarkingBus, Packer
from aggregator.bus.view import Wanted
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Instrument, Levels, Record, Trade
from aggregator.sources.link import LEAST_BEHIND_BYTES, LinkedExchange, LinkReader

ID, RAW, NAME, CONN = "binance", "BTCUSDT", "BTC/USDT", "binance/1#1"


class Link:
    """A link without a socket."""

    def __init__(self) -> None:
        self.there, self.here = MarkingBus("there"), Bus("here")
        self.got: list[Record] = []
        self.here.attach(lambda batch: self.got.extend(batch.records))
        self.view = LinkedExchange(ID, self.here)
        self.asked: list[tuple[str, str]] = []
        self._packer = Packer()
        self.exchanges = {ID: self.view}
        self.reader = LinkReader(self.here, self.exchanges, lambda *place: self.asked.append(place))
        self.there.attach(lambda batch: self.reader.take(memoryview(b"".join(self._packer.pack(batch)))))

    def publish(self, *records: Record) -> None:
        self.there.publish(list(records))

    def whole(self, book: BookSnapshot) -> None:
        """Send a whole book that was asked for."""
        book.offset = MARK
        self.reader.take_whole(memoryview(b"".join(self._packer.pack(Batch([book], "there")))))

    def levels(self) -> tuple[Levels, Levels] | None:
        book = self.here.views.book(ID, RAW)
        return None if book is None else (book.bids, book.asks)


def snapshot(*bids: tuple[str, str]) -> BookSnapshot:
    return BookSnapshot(
        exchange=ID, symbol=NAME, raw_symbol=RAW, conn=CONN, ts_recv=time.time_ns(), bids=list(bids), asks=[("9", "1")]
    )


def delta(price: str, size: str) -> BookDelta:
    return BookDelta(
        exchange=ID, symbol=NAME, raw_symbol=RAW, conn=CONN, ts_recv=time.time_ns(), bids=[(price, size)], asks=[]
    )


def gap(phase: str, cause: str = "sequence", channel: str | None = "book") -> Gap:
    return Gap(
        exchange=ID, symbol=NAME if channel else None, raw_symbol=RAW if channel else None, conn=CONN,
        ts_recv=time.time_ns(), gap_id="g1", phase=phase, channel=channel, cause=cause, ts_from=1,  # type: ignore[arg-type]
    )  # fmt: skip


def health(state: str) -> Health:
    return Health(
        exchange=ID, symbol=NAME, raw_symbol=RAW, conn=CONN, ts_recv=1, channel="book", state=state, reason=None  # type: ignore[arg-type]
    )  # fmt: skip


def test_records_come_in_order_with_offsets_of_this_stream() -> None:
    link = Link()
    link.here.publish([Trade(exchange="here", price="1", size="1")])
    link.publish(
        *(Trade(exchange=ID, symbol=NAME, raw_symbol=RAW, price=str(n), size="1", ts_recv=n) for n in range(3))
    )
    link.here.publish([Trade(exchange="here", price="1", size="1")])
    assert [record.offset for record in link.got] == [1, 2, 3, 4, 5]
    assert link.reader.last_ts == 2
    assert link.reader.records == 3


def test_a_book_is_read_of_its_lines_when_somebody_asks() -> None:
    link = Link()
    assert link.levels() is None
    link.publish(delta("5", "1"))
    assert link.levels() is None, "it has not begun"
    link.publish(snapshot(("7", "1"), ("6", "1")), delta("7", "0"))
    assert link.levels() == ([("6", "1")], [("9", "1")])
    link.publish(delta("8", "2"))
    assert link.levels() == ([("8", "2"), ("6", "1")], [("9", "1")])
    assert [book.offset for book in link.here.views.books(ID)] == [4]


def test_a_book_in_doubt_is_none_until_the_next_whole_one() -> None:
    link = Link()
    link.publish(snapshot(("7", "1")), health("live"))
    link.publish(gap("open"))
    assert link.levels() is None
    assert [each.state for each in link.here.views.health("book", ID, RAW)] == ["suspect"]
    assert link.view.gaps["book", RAW].gap_id == "g1"
    link.publish(delta("6", "1"), snapshot(("3", "1")), gap("close"))
    assert link.levels() == ([("3", "1")], [("9", "1")])
    assert [each.state for each in link.here.views.health("book", ID, RAW)] == ["live"]
    assert not link.view.gaps


def test_a_gap_and_its_end_in_one_batch_keep_their_order() -> None:
    link = Link()
    link.publish(snapshot(("7", "1")), delta("6", "1"))
    link.publish(gap("open"), delta("5", "1"), snapshot(("3", "1")), delta("2", "1"), gap("close"))
    assert link.levels() == ([("3", "1"), ("2", "1")], [("9", "1")])


def test_a_gap_of_a_connection_leaves_none_of_its_books() -> None:
    link = Link()
    link.publish(snapshot(("7", "1")), health("live"))
    link.publish(gap("open", "disconnect", None))
    assert link.levels() is None


def test_a_whole_book_is_asked_for_where_many_changes_wait() -> None:
    link = Link()
    link.publish(snapshot(("7", "1")))
    sent = 0
    while not link.asked:
        change = delta("6", str(sent))
        link.publish(change)
        sent += 1
        assert sent < LEAST_BEHIND_BYTES
    assert link.asked == [(ID, RAW)]
    before, told = link.levels(), len(link.got)
    link.whole(snapshot(("7", "1"), ("6", str(sent - 1))))
    assert len(link.got) == told, "it is not published"
    assert link.levels() == before
    link.publish(delta("7", "0"))
    assert link.levels() == ([("6", str(sent - 1))], [("9", "1")])
    assert link.asked == [(ID, RAW)]


def test_a_whole_book_that_comes_after_a_doubt_is_none() -> None:
    link = Link()
    link.publish(snapshot(("7", "1")))
    link.publish(gap("open"))
    link.whole(snapshot(("7", "1")))
    assert link.levels() is None


def test_instruments_in_force_are_known_and_have_no_offset() -> None:
    link = Link()
    link.publish(Instrument(exchange=ID, symbol=NAME, raw_symbol=RAW, ts_recv=1, kind="spot"))
    assert link.here.instruments[ID, NAME].raw_symbol == RAW
    assert link.here.instruments[ID, NAME].offset == 0
    link.publish(Instrument(exchange=ID, symbol=NAME, raw_symbol=RAW, ts_recv=1, kind="spot", change="delist"))
    assert not link.here.instruments


def test_topics_that_are_wanted_are_told_to_followers() -> None:
    link = Link()
    told: list[Wanted] = []
    link.here.views.follow(told.extend)
    link.view.expect([Wanted("book", ID, RAW, NAME)])
    assert told == [Wanted("book", ID, RAW, NAME)] == list(link.view.wanted())
    assert not list(link.here.views.health("book", ID, RAW)), "nothing is known of it yet"
    link.view.leave()
    assert ID not in link.here.views


def test_an_exchange_that_was_taken_away_and_comes_again_is_known_anew() -> None:
    link = Link()
    link.publish(snapshot(("7", "1")), health("live"))
    link.view.leave()
    link.view = link.exchanges[ID] = LinkedExchange(ID, link.here)
    link.reader.meet(ID)
    assert link.levels() is None
    link.publish(snapshot(("3", "1")), health("live"))
    assert link.levels() == ([("3", "1")], [("9", "1")])
    assert [each.state for each in link.here.views.health("book", ID, RAW)] == ["live"]


def test_a_restart_of_the_other_process_leaves_no_topic_live_until_its_line_is_there_again() -> None:
    link = Link()
    link.publish(snapshot(("7", "1")), health("live"))
    restart = gap("open", "restart")
    restart.conn = "binance/1"
    restart.ts_recv = 2
    told = health("live")
    told.conn = "binance/1.1#3"
    told.ts_recv = 1
    link.publish(told)
    link.view.note(restart)
    assert {each.state for each in link.here.views.health("book", ID, RAW)} == {"suspect"}
    link.publish(told)
    assert [each.state for each in link.here.views.health("book", ID, RAW)] == ["live"]
