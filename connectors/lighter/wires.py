"""The messages of Lighter in its own spelling, and the records that they make.

https://apidocs.lighter.xyz/docs/websocket-reference
Markets go by their number. A rate of funding is told in per cent of an hour, and open interest in US dollars.
"""

from collections.abc import Iterable

from msgspec import Struct, field

from aggregator.exchange import Event
from aggregator.records import (
    HOUR_S,
    MS_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, end_of, nonzero, number, optional, text

FORCED = {"liquidation", "deleverage"}


class TradeWire(Struct, gc=False):
    trade_id: int
    market_id: int
    price: Text
    size: Text
    is_maker_ask: bool  # true: the taker bought
    timestamp: int  # in milliseconds
    usd_amount: Text = None
    type: str = "trade"

    def records(self) -> Iterable[Trade | Liquidation]:
        name, at = str(self.market_id), self.timestamp * MS_NS
        yield Trade(
            raw_symbol=name,
            id=str(self.trade_id),
            price=text(self.price),
            size=text(self.size),
            side="buy" if self.is_maker_ask else "sell",
            quote_size=optional(self.usd_amount),
            kind="liquidation" if self.type in FORCED else "trade",
            ts_event=at,
        )
        if self.type in FORCED:
            is_order = self.type == "liquidation"  # it takes; of a deleveraging nothing says which side was bankrupt
            yield Liquidation(
                raw_symbol=name,
                id=str(self.trade_id),
                side=("buy" if self.is_maker_ask else "sell") if is_order else None,
                position=("short" if self.is_maker_ask else "long") if is_order else None,
                price=text(self.price),
                price_kind="trade",
                size=text(self.size),
                quote_size=optional(self.usd_amount),
                ts_event=at,
            )


Trades = list[TradeWire] | dict[str, list[TradeWire]] | None


def each(trades: Trades) -> list[TradeWire]:
    """The trades of a frame, however they are told."""
    if isinstance(trades, dict):
        return [trade for some in trades.values() for trade in some]
    return trades or []


class LevelWire(Struct, gc=False):
    price: Text
    size: Text


class BookWire(Struct, gc=False):
    bids: list[LevelWire] | None = None  # a side without a level may be null, as in its answers by REST
    asks: list[LevelWire] | None = None
    nonce: int | None = None
    begin_nonce: int | None = None  # the number before; without it nothing can be judged

    def delta(self, name: str, at: int | None, sent: int | None) -> BookDelta:
        known = self.begin_nonce is not None
        return BookDelta(
            raw_symbol=name,
            bids=levels(self.bids),
            asks=levels(self.asks),
            sequence=self.nonce if known else None,
            sequence_prev=self.begin_nonce,
            ts_event=at,
            ts_sent=sent,
        )

    def whole(self, name: str, at: int | None, sent: int | None) -> BookSnapshot:
        bids, asks = levels(self.bids), levels(self.asks)
        return BookSnapshot(raw_symbol=name, bids=bids, asks=asks, sequence=self.nonce, ts_event=at, ts_sent=sent)


def levels(rows: list[LevelWire] | None) -> Levels:
    return [(text(row.price), text(row.size)) for row in rows or ()]


class SideWire(Struct, gc=False):
    """One side of the best prices: where it is empty, its fields are empty or left out."""

    price: Text = None
    size: Text = None


class BestWire(Struct, gc=False):
    a: SideWire | None = None
    b: SideWire | None = None

    def record(self, name: str, at: int | None, sent: int | None) -> Bbo:
        bid, ask = self.b, self.a
        sides = (bid and bid.price, bid and bid.size, ask and ask.price, ask and ask.size)
        return bbo(name, *sides, ts_event=at, ts_sent=sent)


class BarWire(Struct, gc=False):
    t: int
    o: Text
    h: Text
    c: Text
    v: Text
    low: Text = field(name="l")
    quote: Text = field(name="V", default=None)

    def record(self, name: str, interval: str) -> Candle:
        start = self.t * MS_NS
        return Candle(
            raw_symbol=name,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.o),
            high=text(self.h),
            low=text(self.low),
            close=text(self.c),
            base_volume=optional(self.v),
            quote_volume=optional(self.quote),
        )


class FiguresWire(Struct, gc=False):
    """The figures of a market; spot has neither a mark price, nor open interest, nor funding."""

    market_id: int
    index_price: Text = None
    mark_price: Text = None
    last_trade_price: Text = None
    open_interest: Text = None
    current_funding_rate: Text = None  # the running hour's, in per cent as the next
    funding_rate: Text = None  # the last one that was exchanged
    funding_timestamp: int | None = None  # when that was
    daily_base_token_volume: Text = None
    daily_quote_token_volume: Text = None
    daily_price_low: Text = None
    daily_price_high: Text = None

    def records(self, sent: int | None) -> Iterable[Event]:
        name = str(self.market_id)
        yield Ticker(
            raw_symbol=name,
            last=nonzero(self.last_trade_price),
            high=nonzero(self.daily_price_high),
            low=nonzero(self.daily_price_low),
            base_volume=optional(self.daily_base_token_volume),
            quote_volume=optional(self.daily_quote_token_volume),
            ts_sent=sent,
        )
        if (mark := nonzero(self.mark_price)) is not None:
            yield MarkPrice(raw_symbol=name, price=mark, ts_sent=sent)
        if (index := nonzero(self.index_price)) is not None:
            yield IndexPrice(raw_symbol=name, price=index, ts_sent=sent)
        if (value := optional(self.open_interest)) is not None:
            yield OpenInterest(raw_symbol=name, size=value, size_unit="quote", quote_value=value, ts_sent=sent)
        if (rate := fraction(self.current_funding_rate)) is not None:
            yield Funding(raw_symbol=name, rate=rate, interval_s=HOUR_S, ts_sent=sent)
        rate, when = fraction(self.funding_rate), self.funding_timestamp
        if rate is not None and when:
            yield Funding(
                raw_symbol=name, rate=rate, kind="settled", interval_s=HOUR_S, ts_next=when * MS_NS, ts_sent=sent
            )


def fraction(percentage: Text) -> str | None:
    """The fraction that a percentage is."""
    found = optional(percentage)
    return None if found is None else number(f"{found}e-2")
