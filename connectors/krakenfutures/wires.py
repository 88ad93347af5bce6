"""The messages of Kraken's futures in their own spelling, and the records that they make.

https://docs.kraken.com/exchange/api-reference/futures-websocket
Sizes count contracts: of linear ones a unit of the base asset each, of inverse ones a dollar.
"""

from collections.abc import Iterable

from msgspec import UNSET, Struct, UnsetType

from aggregator.records import (
    DAY_S,
    HOUR_S,
    MS_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Flags,
    Funding,
    IndexPrice,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Record,
    Side,
    Ticker,
    Trade,
)
from aggregator.wire import Text, is_zero, ms, nonzero, optional, text

LINEAR = ("PF_", "FF_", "PV_", "FV_")  # how the names of linear contracts begin


class TradeWire(Struct, gc=False):
    product_id: str
    side: Side  # the taker's
    price: Text
    qty: Text
    time: int
    type: str = "fill"  # or liquidation, termination, assignment, block
    seq: int | None = None  # counts the trades of one product
    uid: str | None = None

    def records(self, flags: Flags | UnsetType = UNSET) -> list[Record]:
        at, price, size = self.time * MS_NS, text(self.price), text(self.qty)
        said: list[Record] = [
            Trade(
                raw_symbol=self.product_id,
                id=self.uid,
                price=price,
                size=size,
                side=self.side,
                size_unit="contract",
                kind="liquidation" if self.type == "liquidation" else "block" if self.type == "block" else "trade",
                sequence=self.seq,
                ts_event=at,
                flags=flags,
            )
        ]
        if self.type == "liquidation":
            said.append(
                Liquidation(
                    raw_symbol=self.product_id,
                    id=self.uid,
                    side=self.side,
                    position="long" if self.side == "sell" else "short",
                    price=price,
                    price_kind="trade",
                    size=size,
                    size_unit="contract",
                    ts_event=at,
                    flags=flags,
                )
            )
        return said


class TradeFrame(TradeWire, tag_field="feed", tag="trade", gc=False):
    """One trade."""


class TradesFrame(Struct, tag_field="feed", tag="trade_snapshot", gc=False):
    """The last hundred trades before the subscription, newest first."""

    trades: list[TradeWire]

    def records(self) -> list[Record]:
        return [record for trade in reversed(self.trades) for record in trade.records(("snapshot",))]


class BookFrame(Struct, tag_field="feed", tag="book", gc=False):
    product_id: str
    side: Side
    seq: int
    price: Text
    qty: Text
    timestamp: int | None = None

    def records(self) -> tuple[Record, ...]:
        size = text(self.qty)
        level = [(text(self.price), "0" if size.startswith("-") else size)]
        bids, asks = (level, []) if self.side == "buy" else ([], level)
        at = None if self.timestamp is None else self.timestamp * MS_NS
        return (BookDelta(raw_symbol=self.product_id, bids=bids, asks=asks, sequence=self.seq, ts_event=at),)


class LevelWire(Struct, gc=False):
    price: Text
    qty: Text


class BooksFrame(Struct, tag_field="feed", tag="book_snapshot", gc=False):
    product_id: str
    seq: int
    bids: list[LevelWire]
    asks: list[LevelWire]
    timestamp: int | None = None

    def records(self) -> tuple[Record, ...]:
        return (
            BookSnapshot(
                raw_symbol=self.product_id,
                bids=levels(self.bids),
                asks=levels(self.asks),
                sequence=self.seq,
                ts_event=None if self.timestamp is None else self.timestamp * MS_NS,
            ),
        )


def levels(side: list[LevelWire]) -> Levels:
    """Without the levels of nothing that a whole book may have."""
    rows = [(text(level.price), text(level.qty)) for level in side]
    return [row for row in rows if is_something(row[1])]


def is_something(digits: str) -> bool:
    return not digits.startswith("-") and not is_zero(digits)


def side_of(price: Text, size: Text = None) -> tuple[str | None, str | None]:
    """One side of the best prices; a price of nothing stands for an empty one."""
    best = optional(price)
    return (best, optional(size)) if best is not None and is_something(best) else (None, None)


class BestFrame(Struct, tag_field="feed", tag="ticker_lite", gc=False):
    """The best prices without their sizes and time."""

    product_id: str
    bid: Text = None
    ask: Text = None

    def records(self) -> list[Record]:
        return [Bbo(raw_symbol=self.product_id, bid_price=side_of(self.bid)[0], ask_price=side_of(self.ask)[0])]


class TickerFrame(Struct, tag_field="feed", tag="ticker", gc=False):
    product_id: str
    time: int
    bid: Text = None
    ask: Text = None
    bid_size: Text = None
    ask_size: Text = None
    last: Text = None
    open: Text = None
    high: Text = None
    low: Text = None
    volume: Text = None  # contracts
    volumeQuote: Text = None
    index: Text = None
    markPrice: Text = None
    openInterest: Text = None
    tag: str = ""
    funding_rate: Text = None  # dollars a contract
    funding_rate_prediction: Text = None
    relative_funding_rate: Text = None  # the same as a fraction; a rate of zero is left out
    relative_funding_rate_prediction: Text = None
    next_funding_rate_time: Text = None

    def records(self) -> list[Record]:
        raw_symbol, sent = self.product_id, self.time * MS_NS
        mark, index, interest = nonzero(self.markPrice), nonzero(self.index), optional(self.openInterest)
        said: list[Record] = [self.statistics(sent), self.best(sent)]
        if mark is not None:
            said.append(MarkPrice(raw_symbol=raw_symbol, price=mark, ts_sent=sent))
        if index is not None:
            said.append(IndexPrice(raw_symbol=raw_symbol, price=index, ts_sent=sent))
        if interest is not None:
            said.append(OpenInterest(raw_symbol=raw_symbol, size=interest, size_unit="contract", ts_sent=sent))
        if self.tag == "perpetual" and self.next_funding_rate_time:
            said += self.fundings(sent)
        return said

    def statistics(self, sent: int) -> Ticker:
        """`change`, which it has too, is in percent."""
        return Ticker(
            raw_symbol=self.product_id,
            last=nonzero(self.last),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.volume) if self.product_id.startswith(LINEAR) else None,
            quote_volume=optional(self.volumeQuote),
            contract_volume=optional(self.volume),
            window_s=DAY_S,
            ts_sent=sent,
        )

    def best(self, sent: int) -> Bbo:
        bid_price, bid_size = side_of(self.bid, self.bid_size)
        ask_price, ask_size = side_of(self.ask, self.ask_size)
        return Bbo(
            raw_symbol=self.product_id,
            bid_price=bid_price,
            bid_size=bid_size,
            ask_price=ask_price,
            ask_size=ask_size,
            ts_sent=sent,
        )

    def fundings(self, sent: int) -> Iterable[Funding]:
        """The rate that holds, and the one expected after it."""
        rate = fraction(self.relative_funding_rate, self.funding_rate)
        if rate is not None:
            yield Funding(
                raw_symbol=self.product_id,
                rate=rate,
                interval_s=HOUR_S,
                ts_next=ms(self.next_funding_rate_time),
                ts_sent=sent,
            )
        expected = fraction(self.relative_funding_rate_prediction, self.funding_rate_prediction)
        if expected is not None:
            yield Funding(raw_symbol=self.product_id, rate=expected, kind="predicted", interval_s=HOUR_S, ts_sent=sent)


def fraction(relative: Text, absolute: Text) -> str | None:
    """A rate as a fraction: zero where both are left out; unknown where only the one in dollars is said."""
    return optional(relative) or ("0" if absolute is None else None)
