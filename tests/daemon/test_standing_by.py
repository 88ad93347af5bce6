"""A worker that stands by for an exchange: it goes on behind what the stream holds, and tells nothing twice."""

import time
from collections.abc import Iterable

from msgspec import structs

from aggregator.bus.bus import encode_lines
from aggregator.bus.passing import MarkingBus
from aggregator.daemon.standing_by import StandingBy
from aggregator.records import SECOND_NS, BookDelta, BookSnapshot, Gap, Health, Record, Ticker, Trade

ID, RAW, NAME, CONN = "kraken", "XBT/USD", "BTC/USD", "kraken/ws.1#1"
OTHER = "okx"


def trade(number: int, at: int) -> Trade:
    return Trade(exchange=ID, symbol=NAME, raw_symbol=RAW, conn=CONN, sequence=number, ts_recv=at, price="1", size="1")


def health(at: int, channel: str = "trades", state: str = "live") -> Health:
    return Health(
        exchange=ID, symbol=NAME, raw_symbol=RAW, conn=CONN, ts_recv=at, channel=channel, state=state  # type: ignore[arg-type]
    )  # fmt: skip


class Way:
    """The stream of the first worker, and the second one, which stands by from `start` on (ns)."""

    def __init__(self, *standing: Record) -> None:
        self.start = time.time_ns() - 20 * SECOND_NS
        self.bus = MarkingBus("there")
        self.out: list[Record] = []
        self.bus.attach(lambda batch: self.out.extend(batch.records))
        self.second = StandingBy(ID, self.bus)
        self.second.stands(encode_lines(list(standing)))
        self._offset = 0

    def at(self, seconds: float) -> int:
        return self.start + round(seconds * SECOND_NS)

    def first_publishes(self, *records: Record) -> None:
        told = []
        for record in records:
            self._offset += 1
            told.append(structs.replace(record, offset=self._offset))
        self.second.hear(encode_lines(told))

    def second_gathers(self, *records: Record) -> None:
        self.bus.publish(list(records))

    def both(self, numbers: Iterable[int], at: float) -> None:
        for number in numbers:
            self.first_publishes(trade(number, self.at(at)))
            self.second_gathers(trade(number, self.at(at)))

    def numbers(self) -> list[int | None]:
        return [record.sequence for record in self.out if isinstance(record, Trade)]


def test_it_goes_on_with_the_first_trade_that_the_stream_lacks() -> None:
    way = Way(health(0))
    assert way.second.look(way.at(0.5)) == 1, "nothing has come here"
    way.second_gathers(health(way.at(1)), *(trade(number, way.at(1)) for number in (6, 7, 8)))  # the past
    assert way.second.look(way.at(2)) == 1, "what comes with a subscription may come still"
    assert way.second.look(way.at(4)) == 1, "the stream has not come so far"
    way.both([9, 10], at=5)
    assert way.second.look(way.at(5)) == 1
    way.both([11, 12], at=7)
    assert way.second.look(way.at(7.1)) == 0
    way.second_gathers(trade(13, way.at(7.2)), trade(15, way.at(7.3)))
    way.first_publishes(trade(13, way.at(7.2)), trade(14, way.at(7.2)))
    assert way.out == []
    way.second.take_over(way.at(7.5))
    assert way.numbers() == [15]
    way.second_gathers(trade(14, way.at(7.6)), trade(16, way.at(7.7)))
    assert way.numbers() == [15, 16], "what came there first comes late here"
    assert not [record for record in way.out if isinstance(record, Gap)]


def test_records_of_others_pass_as_ever() -> None:
    way = Way(health(0))
    others = trade(1, way.at(1))
    others.exchange = OTHER
    way.second_gathers(others, trade(2, way.at(1)))
    assert [(record.exchange, record.sequence) for record in way.out] == [(OTHER, 1)]


def test_a_topic_that_begins_anew_is_waited_for_again() -> None:
    way = Way(health(0))
    way.second_gathers(health(way.at(1)))
    way.second.look(way.at(4))
    way.both([9], at=7)
    assert way.second.look(way.at(7)) == 0
    way.second_gathers(
        Gap(
            exchange=ID, symbol=NAME, raw_symbol=RAW, conn=CONN, ts_recv=way.at(8), gap_id="g", phase="open",
            channel="trades", cause="disconnect", ts_from=way.at(8),
        )
    )  # fmt: skip
    assert way.second.look(way.at(8)) == 1
    way.second_gathers(health(way.at(9)), trade(7, way.at(9)), trade(8, way.at(9)))
    assert way.second.look(way.at(10)) == 1
    assert way.second.look(way.at(12)) == 1
    way.both([10], at=15)
    assert way.second.look(way.at(15)) == 0
    way.second.take_over(way.at(16))
    assert way.numbers() == [], "its past is not told again"


def test_a_topic_that_is_in_trouble_there_is_not_waited_for_and_its_gap_is_ended() -> None:
    gap = Gap(
        exchange=ID, symbol=NAME, raw_symbol=RAW, conn=CONN, ts_recv=1, gap_id="g", phase="open", channel="book",
        cause="sequence", ts_from=1,
    )  # fmt: skip
    way = Way(health(0), health(0, "book", "suspect"), gap)
    way.second_gathers(health(way.at(1)))
    way.second.look(way.at(4))
    way.both([9], at=7)
    assert way.second.look(way.at(7)) == 0
    way.second.take_over(way.at(8))
    told = [(record.gap_id, record.phase) for record in way.out if isinstance(record, Gap)]
    assert told[0] == ("g", "close")
    assert [phase for _, phase in told[1:]] == ["open"], "the book is missing here too"


def test_a_book_without_numbers_is_told_whole_and_without_a_gap() -> None:
    class Views:
        def book(self, exchange: str, raw_symbol: str) -> BookSnapshot:
            return snapshot(exchange, raw_symbol)

    def snapshot(exchange: str, raw_symbol: str) -> BookSnapshot:
        return BookSnapshot(
            exchange=exchange, symbol=NAME, raw_symbol=raw_symbol, conn=CONN, ts_recv=1, bids=[("1", "2")], asks=[]
        )

    def delta(at: int) -> BookDelta:
        return BookDelta(exchange=ID, symbol=NAME, raw_symbol=RAW, conn=CONN, ts_recv=at, bids=[("1", "2")], asks=[])

    way = Way(health(0, "book"))
    way.bus.views = Views()  # type: ignore[assignment]
    way.second_gathers(health(way.at(1), "book"))
    way.second.look(way.at(4))
    way.first_publishes(delta(way.at(7)))
    way.second_gathers(delta(way.at(7)))
    assert way.second.look(way.at(7)) == 0
    way.second.take_over(way.at(8))
    told = [(type(record).__name__, getattr(record, "reason", None)) for record in way.out]
    assert [each for each in told if each[0] != "Health"] == [("BookSnapshot", "resync")]
    way.second_gathers(delta(way.at(9)))
    assert type(way.out[-1]) is BookDelta


def test_what_stands_without_a_time_is_not_told_again() -> None:
    def ticker(at: int, last: str) -> Ticker:
        return Ticker(exchange=ID, symbol=NAME, raw_symbol=RAW, conn=CONN, ts_recv=at, last=last)

    way = Way(health(0, "ticker"))
    way.second_gathers(health(way.at(1), "ticker"))
    way.second.look(way.at(4))
    way.first_publishes(ticker(way.at(7), "5"))
    way.second_gathers(ticker(way.at(7) + 1000, "5"))
    assert way.second.look(way.at(7)) == 0
    way.second.take_over(way.at(8))
    way.second_gathers(ticker(way.at(9), "6"), ticker(way.at(10), "5"))
    assert [record.last for record in way.out if isinstance(record, Ticker)] == ["6", "5"]
