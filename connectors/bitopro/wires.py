"""The messages of the three streams, and the rows of the listing."""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.exchange import Event, Ignored
from aggregator.records import DAY_S, BookSnapshot, Levels, Ticker, Trade
from aggregator.wire import ms, nonzero, optional, seconds, text, unseen


class Level(Struct, gc=False):
    price: str
    amount: str


class BookWire(Struct, tag_field="event", tag="ORDER_BOOK", gc=False):
    """The whole book, as deep as it was asked for."""

    pair: str
    timestamp: int
    bids: list[Level]
    asks: list[Level]
    limit: int | None = None  # levels a side

    def record(self) -> BookSnapshot:
        return BookSnapshot(
            raw_symbol=self.pair.lower(),
            bids=sides(self.bids),
            asks=sides(self.asks),
            depth=self.limit,
            reason="periodic",
            ts_sent=ms(self.timestamp),
        )


class TradeRow(Struct, frozen=True, gc=False):
    timestamp: int  # seconds
    price: str
    amount: str
    isBuyer: bool  # the taker bought

    def record(self, pair: str) -> Trade:
        return Trade(
            raw_symbol=pair,
            price=text(self.price),
            size=text(self.amount),
            side="buy" if self.isBuyer else "sell",
            ts_event=seconds(self.timestamp),
        )


class TradesWire(Struct, tag_field="event", tag="TRADE", gc=False):
    """The last trades, newest first; without ids."""

    pair: str
    data: list[TradeRow]

    def new(self, before: list[TradeRow] | None) -> Iterable[Event]:
        return unseen(self.data, before, lambda row: row.record(self.pair.lower()))


class TickerWire(Struct, tag_field="event", tag="TICKER", gc=False):
    """Its high and low are left out: they are the last price in every frame (live probes of September 2026)."""

    timestamp: int
    pair: str | None = None  # some frames have none (ccxt 4.5.90)
    lastPrice: str | None = None
    volume24hr: str | None = None

    def record(self) -> Event:
        if self.pair is None:
            return Ignored("a ticker without a pair")
        return Ticker(
            raw_symbol=self.pair.lower(),
            last=nonzero(self.lastPrice),
            base_volume=optional(self.volume24hr),
            window_s=DAY_S,
            ts_sent=ms(self.timestamp),
        )


class Market(Struct):
    pair: str  # in small letters, in the stream in capitals
    base: str
    quote: str
    quotePrecision: str | None = None
    basePrecision: str | None = None  # decimals of an order's size; those of `amountPrecision` are fewer
    minLimitBaseAmount: str | None = None
    maxLimitBaseAmount: str | None = None
    maintain: bool = False


def sides(rows: list[Level]) -> Levels:
    return [(text(row.price), text(row.amount)) for row in rows]
