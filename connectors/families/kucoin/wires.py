"""The trades, books and best prices that the KuCoin protocol sends, and the records that they make.

https://www.kucoin.com/docs-new/3470063w0
Frames are told apart by `subject`. Spot writes numbers as strings, futures as either; their sizes count contracts.
"""

from msgspec import Struct

from aggregator.errors import BadFrame
from aggregator.records import MS_NS, Bbo, BookDelta, BookSnapshot, Levels, Record, Side, Trade
from aggregator.wire import Text, bbo, levels, text

FUTURES = "/contract"  # how their topics begin
SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}


def stamp(time: int) -> int:
    """Milliseconds, microseconds or nanoseconds as nanoseconds; topics have changed from one to another."""
    return time * MS_NS if time < 10**14 else time * 1000 if time < 10**17 else time


def about(topic: str) -> str:
    """The instrument of a topic, and the interval of candles."""
    return topic.partition(":")[2]


class MatchWire(Struct, gc=False):
    symbol: str
    side: Side  # the taker's
    price: Text
    size: Text
    tradeId: str
    time: str | None = None  # nanoseconds, of spot; futures call it `ts`
    ts: int | None = None


class MatchFrame(Struct, tag_field="subject", tag="match", gc=False):
    topic: str
    data: MatchWire

    def records(self) -> tuple[Record, ...]:
        d = self.data
        time = int(d.time) if d.time is not None else d.ts
        return (
            Trade(
                raw_symbol=d.symbol,
                id=d.tradeId,
                price=text(d.price),
                size=text(d.size),
                side=d.side,
                size_unit="contract" if self.topic.startswith(FUTURES) else "base",
                ts_event=None if time is None else stamp(time),
            ),
        )


class SpotMatchFrame(MatchFrame, tag_field="subject", tag="trade.l3match", gc=False):
    """Spot's name of it."""


class ChangesWire(Struct, gc=False):
    asks: list[tuple[str, str, str]]  # price, size, number
    bids: list[tuple[str, str, str]]


class UpdateWire(Struct, gc=False):
    symbol: str
    sequenceStart: int
    sequenceEnd: int
    changes: ChangesWire
    time: int | None = None


class UpdateFrame(Struct, tag_field="subject", tag="trade.l2update", gc=False):
    data: UpdateWire

    def records(self) -> tuple[Record, ...]:
        """A price of zero is no level: only the number has moved."""
        d = self.data
        return (
            BookDelta(
                raw_symbol=d.symbol,
                bids=[(price, size) for price, size, _ in d.changes.bids if price != "0"],
                asks=[(price, size) for price, size, _ in d.changes.asks if price != "0"],
                sequence_first=d.sequenceStart,
                sequence=d.sequenceEnd,
                ts_event=None if d.time is None else stamp(d.time),
            ),
        )


class DepthWire(Struct, gc=False):
    """One change of a futures book, or the best levels of any book."""

    change: str | None = None  # `price,side,size`
    sequence: int | None = None
    asks: list[list[Text]] | None = None
    bids: list[list[Text]] | None = None
    timestamp: int | None = None
    ts: int | None = None


class DepthFrame(Struct, tag_field="subject", tag="level2", gc=False):
    topic: str
    data: DepthWire

    def records(self) -> tuple[Record, ...]:
        d = self.data
        raw_symbol, time = about(self.topic), d.timestamp or d.ts
        at = None if time is None else stamp(time)
        if d.change is None:
            return (self.whole(raw_symbol, at),)
        if d.sequence is None:
            raise BadFrame(f"a change of the book of {raw_symbol} without a number")
        price, side, size = d.change.split(",")
        if side not in {"buy", "sell"}:
            raise BadFrame(f"a change of the book of {raw_symbol} on neither side: {side!r:.40}")
        level = [(text(price), text(size))] if price != "0" else []
        bids, asks = (level, []) if side == "buy" else ([], level)
        return (BookDelta(raw_symbol=raw_symbol, bids=bids, asks=asks, sequence=d.sequence, ts_event=at),)

    def whole(self, raw_symbol: str, at: int | None) -> BookSnapshot:
        d = self.data
        depth = self.topic.partition(":")[0].partition("Depth")[2]
        if not depth or (d.asks is None and d.bids is None):
            raise BadFrame(f"neither a change nor levels of the book of {raw_symbol}")
        return BookSnapshot(
            raw_symbol=raw_symbol,
            bids=levels(d.bids or []),
            asks=best_first(levels(d.asks or [])),
            depth=int(depth),
            sequence=d.sequence,
            reason="periodic",
            ts_event=at,
        )


def best_first(asks: Levels) -> Levels:
    """Offers in rising order: of futures they once came the other way round."""
    return asks[::-1] if asks and float(asks[0][0]) > float(asks[-1][0]) else asks


class BestWire(Struct, gc=False):
    asks: list[str] | None  # price, size
    bids: list[str] | None
    timestamp: int | None = None


class BestFrame(Struct, tag_field="subject", tag="level1", gc=False):
    topic: str
    data: BestWire

    def records(self) -> tuple[Record, ...]:
        d = self.data
        bid, bid_size = d.bids or (None, None)
        ask, ask_size = d.asks or (None, None)
        return (
            Bbo(
                raw_symbol=about(self.topic),
                bid_price=bid,
                bid_size=bid_size,
                ask_price=ask,
                ask_size=ask_size,
                ts_event=None if d.timestamp is None else stamp(d.timestamp),
            ),
        )


class TickerWire(Struct, gc=False):
    """The best prices, as spot's ticker spells them; the last trade, which it has too, comes as a trade."""

    bestBid: str | None
    bestBidSize: str | None
    bestAsk: str | None
    bestAskSize: str | None
    sequence: str | None = None
    time: int | None = None

    def record(self, raw_symbol: str) -> Bbo:
        return bbo(
            raw_symbol,
            self.bestBid,
            self.bestBidSize,
            self.bestAsk,
            self.bestAskSize,
            sequence=None if self.sequence is None else int(self.sequence),
            ts_event=None if self.time is None else stamp(self.time),
        )


class TickerFrame(Struct, tag_field="subject", tag="trade.ticker", gc=False):
    topic: str
    data: TickerWire

    def records(self) -> tuple[Record, ...]:
        return (self.data.record(about(self.topic)),)


class FuturesBestWire(Struct, gc=False):
    symbol: str
    bestBidPrice: Text
    bestBidSize: Text
    bestAskPrice: Text
    bestAskSize: Text
    sequence: int | None = None
    ts: int | None = None


class FuturesBestFrame(Struct, tag_field="subject", tag="tickerV2", gc=False):
    data: FuturesBestWire

    def records(self) -> tuple[Record, ...]:
        d = self.data
        return (
            bbo(
                d.symbol,
                d.bestBidPrice,
                d.bestBidSize,
                d.bestAskPrice,
                d.bestAskSize,
                sequence=d.sequence,
                ts_event=None if d.ts is None else stamp(d.ts),
            ),
        )


class OldFuturesBestFrame(FuturesBestFrame, tag_field="subject", tag="ticker", gc=False):
    """The ticker before version 2, with the last trade besides."""
