"""The messages of the stream and the answers by REST; a number is text or a JSON number."""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from aggregator.records import DAY_S, BookDelta, BookSnapshot, Level, Levels, Record, Side, Ticker, Trade
from aggregator.wire import Text, bbo, nonzero, oldest_first, optional, seconds, text

PAIR = "BTC-EUR"


class Row(Struct, gc=False):
    price: Text
    amount: Text  # zero removes the level


class Depth(Struct):
    """The whole book; its `version` is not told in the stream."""

    bids: list[Row]
    asks: list[Row]

    def record(self) -> BookSnapshot:
        bids, asks = sorted(levels(self.bids), key=at_price, reverse=True), sorted(levels(self.asks), key=at_price)
        return BookSnapshot(raw_symbol=PAIR, bids=bids, asks=asks)


class TradeRow(Struct, gc=False):
    uuid: str
    traded_btc: Text
    price: Text
    created_at_int: int  # seconds
    traded_currency: Text = None
    side: Side | None = None  # the taker's

    def record(self) -> Trade:
        return Trade(
            raw_symbol=PAIR,
            id=self.uuid,
            price=text(self.price),
            size=text(self.traded_btc),
            quote_size=optional(self.traded_currency),
            side=self.side,
            ts_event=seconds(self.created_at_int),
        )


class TickerWire(Struct):
    """Its volume is of 24 hours, and its open, high and low are of the UTC day, which `at` is the beginning of."""

    price: Text
    volume: Text = None
    bid: Text = None
    ask: Text = None

    def records(self) -> Iterable[Record]:
        statistics = Ticker(
            raw_symbol=PAIR,
            last=nonzero(self.price),
            base_volume=optional(self.volume),
            window_s=DAY_S,
        )
        return statistics, bbo(PAIR, self.bid, None, self.ask, None)


class Changes(Struct, gc=False):
    """A message names only what has changed; its prices of the house's own desk are not used."""

    bids: list[Row] = []
    asks: list[Row] = []
    trades: list[TradeRow] = []
    ticker: TickerWire | None = None

    def records(self) -> Iterable[Record]:
        if self.bids or self.asks:
            yield BookDelta(raw_symbol=PAIR, bids=levels(self.bids), asks=levels(self.asks))
        yield from oldest_first(row.record() for row in self.trades)
        if self.ticker is not None:
            yield from self.ticker.records()


def levels(rows: list[Row]) -> Levels:
    return [(text(row.price), text(row.amount)) for row in rows]


def at_price(level: Level) -> Decimal:
    return Decimal(level[0])
