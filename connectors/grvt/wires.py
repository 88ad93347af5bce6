"""The messages of GRVT in its own spelling, and the records that they make.

https://api-docs.grvt.io/market_data_streams/
Times are nanoseconds and sizes of the base asset.
"""

from msgspec import Struct

from aggregator.records import BookDelta, BookSnapshot, Candle, Levels, Trade
from aggregator.wire import Text, optional, text


class Head(Struct, kw_only=True, gc=False):
    """The frame of data: what is from before the subscription, or whole, has the number 0."""

    stream: str
    selector: str  # `BTC_USDT_Perp@500`: the instrument, and how it was asked for
    sequence_number: int
    prev_sequence_number: int | None = None


class TradeWire(Struct, gc=False):
    event_time: int
    instrument: str
    is_taker_buyer: bool
    size: Text
    price: Text
    trade_id: str
    venue: str = "ORDERBOOK"

    def record(self, number: int | None) -> Trade:
        return Trade(
            raw_symbol=self.instrument,
            id=self.trade_id,
            price=text(self.price),
            size=text(self.size),
            side="buy" if self.is_taker_buyer else "sell",
            kind="rfq" if self.venue == "RFQ" else "trade",
            ts_event=self.event_time,
            sequence=number,
        )


class TradeFrame(Head, kw_only=True, gc=False):
    feed: TradeWire


class LevelWire(Struct, gc=False):
    price: Text
    size: Text


class BookWire(Struct, gc=False):
    event_time: int
    instrument: str
    bids: list[LevelWire] = []
    asks: list[LevelWire] = []

    def whole(self, depth: int | None, number: int | None) -> BookSnapshot:
        return BookSnapshot(
            raw_symbol=self.instrument,
            bids=levels(self.bids),
            asks=levels(self.asks),
            depth=depth,
            reason="initial" if depth is None else "periodic",
            sequence=number,
            ts_event=self.event_time,
        )

    def delta(self, number: int, before: int | None) -> BookDelta:
        return BookDelta(
            raw_symbol=self.instrument,
            bids=levels(self.bids),
            asks=levels(self.asks),
            sequence=number,
            sequence_prev=before,
            ts_event=self.event_time,
        )


class BookFrame(Head, kw_only=True, gc=False):
    feed: BookWire


def levels(rows: list[LevelWire]) -> Levels:
    return [(text(row.price), text(row.size)) for row in rows]


class BarWire(Struct, gc=False):
    open_time: int
    close_time: int
    instrument: str
    open: Text
    high: Text
    low: Text
    close: Text
    volume_b: Text = None
    volume_q: Text = None
    trades: int | None = None

    def record(self, interval: str) -> Candle:
        """Give a candle; `interval` is the exchange's word for its length: `CI_1_M`."""
        _, count, unit = interval.split("_")
        return Candle(
            raw_symbol=self.instrument,
            interval=count + unit.lower(),
            ts_open=self.open_time,
            ts_close=self.close_time,
            open=text(self.open),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close),
            base_volume=optional(self.volume_b),
            quote_volume=optional(self.volume_q),
            trades=self.trades,
        )


class BarFrame(Head, kw_only=True, gc=False):
    feed: BarWire
