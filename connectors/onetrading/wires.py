"""The frames of One Trading's stream.

https://docs.onetrading.com/
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.exchange import Accepted, Event, Refused
from aggregator.records import (
    DAY_S,
    MINUTE_NS,
    MS_NS,
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    MarkPrice,
    OpenInterest,
    Side,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, from_iso, interval_s, levels, nonzero, oldest_first, optional, past, sides, text

SIDES: dict[str, Side] = {"BUY": "buy", "SELL": "sell"}
UNITS = {"MINUTES": "m", "HOURS": "h", "DAYS": "d", "WEEKS": "w", "MONTHS": "M"}


def moment(time: int | str) -> int:
    """Nanoseconds; captures of before 2023 have ISO times."""
    return time if isinstance(time, int) else from_iso(time)


class TradeRow(Struct, gc=False):
    instrument_code: str
    price: Text
    amount: Text
    time: int | str
    taker_side: str | None = None
    trade_id: str | None = None
    volume: Text = None  # it counts the quote asset

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.instrument_code,
            id=self.trade_id,
            price=text(self.price),
            size=text(self.amount),
            quote_size=optional(self.volume),
            side=SIDES.get(self.taker_side or ""),
            ts_event=moment(self.time),
        )

    def events(self) -> Iterable[Event]:
        return (self.record(),)


class HistoryWire(Struct):
    """The last eighty trades, of before the subscription."""

    history: list[TradeRow]

    def events(self) -> Iterable[Event]:
        return past(oldest_first(row.record() for row in self.history))


class WholeBook(Struct, gc=False):
    instrument_code: str
    bids: list[list[Text]]
    asks: list[list[Text]]
    time: int | str

    def events(self) -> Iterable[Event]:
        bids, asks = levels(self.bids), levels(self.asks)
        yield BookSnapshot(raw_symbol=self.instrument_code, bids=bids, asks=asks, ts_event=moment(self.time))


class ChangesWire(Struct, gc=False):
    instrument_code: str
    changes: list[tuple[str, str, str]]
    time: int | str
    unum_bids: int | None = None

    def events(self) -> Iterable[Event]:
        bids, asks = sides(self.changes, bid="BUY")
        yield BookDelta(
            raw_symbol=self.instrument_code,
            bids=bids,
            asks=asks,
            sequence=self.unum_bids,
            ts_event=moment(self.time),
        )


class BestRow(Struct, gc=False):
    best_bid: Text = None
    bid_amount: Text = None
    best_ask: Text = None
    ask_amount: Text = None


class BestWire(Struct, gc=False):
    """The best prices, as they are at first and with each change. Of the first frame no source shows the content."""

    instrument_code: str
    time: int | str
    data: BestRow | None = None

    def events(self) -> Iterable[Event]:
        if (row := self.data) is not None:
            yield bbo(
                self.instrument_code,
                row.best_bid,
                row.bid_amount,
                row.best_ask,
                row.ask_amount,
                ts_event=moment(self.time),
            )


class FigureRow(Struct, gc=False):
    instrument: str
    last_price: Text = None
    price_change: Text = None
    high: Text = None
    low: Text = None
    volume: Text = None  # it counts the quote asset: it has cents, and is far beyond the open interest
    mark_price: Text = None  # only futures have this and the three below
    funding_rate: Text = None
    next_funding_payment: str | None = None
    open_interest: Text = None  # in the base asset: times the price it is what is told in US dollars besides

    def records(self, when: int) -> Iterable[Event]:
        yield Ticker(
            raw_symbol=self.instrument,
            last=nonzero(self.last_price),
            high=nonzero(self.high),
            low=nonzero(self.low),
            quote_volume=optional(self.volume),
            change=optional(self.price_change),
            window_s=DAY_S,
            ts_sent=when,
        )
        mark, rate, due = nonzero(self.mark_price), optional(self.funding_rate), self.next_funding_payment
        if mark is not None:
            yield MarkPrice(raw_symbol=self.instrument, price=mark, ts_sent=when)
        if rate is not None:
            yield Funding(raw_symbol=self.instrument, rate=rate, ts_next=from_iso(due) if due else None, ts_sent=when)
        if size := optional(self.open_interest):
            yield OpenInterest(raw_symbol=self.instrument, size=size, ts_sent=when)


class FiguresWire(Struct, gc=False):
    ticker_updates: list[FigureRow]
    time: int | str

    def events(self) -> Iterable[Event]:
        when = moment(self.time)
        return [record for row in self.ticker_updates for record in row.records(when)]


class Granularity(Struct, gc=False):
    unit: str
    period: int

    def interval(self) -> str:
        return f"{self.period}{UNITS.get(self.unit, self.unit)}"


class CandleWire(Struct, gc=False):
    instrument_code: str
    granularity: Granularity
    open: Text
    high: Text
    low: Text
    close: Text
    time: int | str  # its last millisecond
    volume: Text = None  # it counts the quote asset
    total_amount: Text = None

    def events(self) -> Iterable[Event]:
        interval = self.granularity.interval()
        length = interval_s(interval)
        if length is None:
            return ()  # a month, of which only the end is told
        end = -(-moment(self.time) // MS_NS) * MS_NS
        end += -end % MINUTE_NS
        return (
            Candle(
                raw_symbol=self.instrument_code,
                interval=interval,
                ts_open=end - length * SECOND_NS,
                ts_close=end,
                open=text(self.open),
                high=text(self.high),
                low=text(self.low),
                close=text(self.close),
                base_volume=optional(self.total_amount),
                quote_volume=optional(self.volume),
            ),
        )


class Property(Struct):
    instrument_code: str
    time_granularity: Granularity


class ChannelRow(Struct):
    name: str
    instrument_codes: list[str] = []
    properties: list[Property] = []


class AnswerWire(Struct):
    channels: list[ChannelRow] = []

    def events(self) -> Iterable[Event]:
        for row in self.channels:
            yield from (Accepted(topic=(row.name, "", code)) for code in row.instrument_codes)
            for p in row.properties:
                yield Accepted(topic=(row.name, p.time_granularity.interval(), p.instrument_code))


class Other(Struct):
    type: str = ""
    channel_name: str = ""
    error: str | None = None
    invalid_instruments: list[str] = []

    def refusals(self) -> Iterable[Event]:
        """The names that are not known; the first says that all of the request is refused."""
        reason = f"{self.channel_name}: {self.error}".removeprefix(": ")
        if not self.invalid_instruments:
            return [Refused(reason)]
        first = self.invalid_instruments[0]
        return [
            Refused(reason, topic=(self.channel_name, "", name), meaning="final", whole=name == first)
            for name in self.invalid_instruments
        ]
