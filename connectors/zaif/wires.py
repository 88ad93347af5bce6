"""A push of the stream, the rows of the listing, and the trades of an answer by REST; numbers are JSON numbers."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from aggregator.records import DAY_S, BookSnapshot, Record, Ticker, Trade
from aggregator.wire import Text, bbo, from_iso, levels, nonzero, optional, past, seconds, text

DEPTH = 20  # levels a side of a push


class TradeRow(Struct, gc=False):
    tid: int
    trade_type: Literal["bid", "ask"]  # the taker bought, or sold
    price: Text
    amount: Text
    date: int  # seconds

    def record(self, pair: str) -> Trade:
        return Trade(
            raw_symbol=pair,
            id=str(self.tid),
            price=text(self.price),
            size=text(self.amount),
            side="buy" if self.trade_type == "bid" else "sell",
            sequence=self.tid,
            ts_event=seconds(self.date),
        )


class Push(Struct, gc=False):
    currency_pair: str
    timestamp: str  # Japan's time: it says no zone
    asks: list[list[Text]]
    bids: list[list[Text]]
    trades: list[TradeRow]  # the last twenty or so, newest first

    def book(self) -> BookSnapshot:
        return BookSnapshot(
            raw_symbol=self.currency_pair,
            bids=levels(self.bids),
            asks=levels(self.asks),
            depth=DEPTH,
            reason="periodic",
            ts_sent=from_iso(f"{self.timestamp}+09:00"),
        )

    def new(self, last: int | None) -> Iterable[Trade]:
        """The trades after one; of the first push, all of them are from before the subscription."""
        if last is None:
            return past(row.record(self.currency_pair) for row in reversed(self.trades))
        return [row.record(self.currency_pair) for row in reversed(self.trades) if row.tid > last]


class TickerWire(Struct):
    """Figures of 24 hours."""

    last: Text
    high: Text = None
    low: Text = None
    vwap: Text = None
    volume: Text = None
    bid: Text = None
    ask: Text = None

    def records(self, pair: str) -> Iterable[Record]:
        statistics = Ticker(
            raw_symbol=pair,
            last=nonzero(self.last),
            high=nonzero(self.high),
            low=nonzero(self.low),
            vwap=nonzero(self.vwap),
            base_volume=optional(self.volume),
            window_s=DAY_S,
        )
        return statistics, bbo(pair, self.bid, None, self.ask, None)


class Market(Struct):
    currency_pair: str
    name: str  # `BTC/JPY`
    aux_unit_step: Text = None
    item_unit_step: Text = None
    item_unit_min: Text = None
