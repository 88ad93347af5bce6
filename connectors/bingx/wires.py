"""The messages of BingX in its own spelling, and the records that they make.

https://bingx-api.github.io/docs-v3/
Best prices, tickers and mark prices of contracts settled in coins are those of April 2026 in
https://github.com/BingX-API/api-ai-skills/blob/main/skills/cswap-ws-market/api-reference.md
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    Bbo,
    BookDelta,
    BookSnapshot,
    Level,
    Levels,
    MarkPrice,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, levels, ms, nonzero, optional, text


def is_inverse(symbol: str) -> bool:
    """Tell whether it is a contract settled in coins."""
    return symbol.endswith("-USD")


class TradeRow(Struct, gc=False):
    """Spot, and contracts settled in coins, send one by itself; its numbers and its truth value may be texts."""

    p: str
    q: str
    T: int
    m: bool  # the buyer was the maker, so the taker sold
    t: str | None = None
    E: int | None = None

    def record(self, symbol: str) -> Record:
        return Trade(
            raw_symbol=symbol,
            id=self.t,
            price=text(self.p),
            size=text(self.q),
            size_unit="contract" if is_inverse(symbol) else "base",
            side="sell" if self.m else "buy",
            ts_event=ms(self.T),
            ts_sent=None if self.E is None else ms(self.E),
        )


def best_first(asks: Levels) -> Levels:
    """Asks of whole books come worst first; that is looked at, because the documentation does not say it."""
    return asks[::-1] if len(asks) > 1 and is_above(asks[0][0], asks[-1][0]) else asks


def is_above(price: str, other: str) -> bool:
    """Compare two prices as they are spelled: by the digits before the point, and then by all of them."""
    whole, other_whole = len(price.partition(".")[0]), len(other.partition(".")[0])
    return (whole, price) > (other_whole, other)


class BookWire(Struct, gc=False):
    bids: list[list[Text]]
    asks: list[list[Text]]
    action: str = ""  # contracts say `all` once, then `update`
    lastUpdateId: int | None = None
    time: int | None = None

    def record(self, symbol: str, sent: int | None) -> Record:
        at = None if self.time is None else ms(self.time)
        bids, asks = levels(self.bids), levels(self.asks)
        if self.action == "update":
            return BookDelta(raw_symbol=symbol, bids=bids, asks=asks, sequence=self.lastUpdateId, ts_event=at)
        is_stream = self.action == "all"
        return BookSnapshot(
            raw_symbol=symbol,
            bids=bids,
            asks=best_first(asks),
            depth=None if is_stream else max(len(bids), len(asks)) or None,
            reason="initial" if is_stream else "periodic",
            sequence=self.lastUpdateId,
            ts_event=at,
            ts_sent=None if sent is None else ms(sent),
        )


class CoinLevel(Struct, gc=False):
    p: str
    v: str  # in contracts; `a` is what they are in coins

    def level(self) -> Level:
        return text(self.p), text(self.v)


class CoinBookWire(Struct, gc=False):
    bids: list[CoinLevel]
    asks: list[CoinLevel]
    timestamp: int

    def record(self, symbol: str) -> Record:
        return BookSnapshot(
            raw_symbol=symbol,
            bids=[row.level() for row in self.bids],
            asks=best_first([row.level() for row in self.asks]),
            depth=max(len(self.bids), len(self.asks)) or None,
            reason="periodic",
            ts_event=ms(self.timestamp),
        )


class BestWire(Struct, gc=False):
    b: Text
    B: Text
    a: Text
    A: Text
    E: int | None = None  # contracts settled in coins are documented without it
    T: int | None = None
    u: int | None = None

    def record(self, symbol: str) -> Bbo:
        return bbo(
            symbol,
            self.b,
            self.B,
            self.a,
            self.A,
            sequence=self.u,
            ts_event=None if self.T is None else ms(self.T),
            ts_sent=None if self.E is None else ms(self.E),
        )


class TickerWire(Struct, gc=False):
    """Numbers are texts of contracts, and JSON numbers on spot; some are not documented where coins settle."""

    c: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    v: Text  # contracts, where they settle in coins
    E: int | None = None
    o: Text = None
    q: Text = None
    m: Text = None  # coins, where they settle in coins (ccxt 4.5.90)
    p: Text = None

    def record(self, symbol: str) -> Record:
        in_coins = is_inverse(symbol)
        return Ticker(
            raw_symbol=symbol,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            base_volume=optional(self.m if in_coins else self.v),
            quote_volume=optional(self.q),
            contract_volume=optional(self.v) if in_coins else None,
            change=optional(self.p),
            window_s=DAY_S,
            ts_sent=None if self.E is None else ms(self.E),
        )


class MarkWire(Struct, gc=False):
    p: Text
    E: int | None = None
    T: int | None = None  # contracts settled in coins have it in place of `E`

    def records(self, symbol: str) -> Iterable[Record]:
        if price := nonzero(self.p):
            at, sent = (None if time is None else ms(time) for time in (self.T, self.E))
            yield MarkPrice(raw_symbol=symbol, price=price, ts_event=at, ts_sent=sent)
