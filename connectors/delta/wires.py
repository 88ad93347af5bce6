"""The short names of Delta Exchange's stream: trades, books, prices, tickers, funding, and its status.

https://docs.delta.exchange/#websocket-feed
https://github.com/delta-exchange/slate-global (source/includes/_websocket_api.md, May 2026)
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.exchange import Event
from aggregator.records import (
    DAY_S,
    Funding,
    IndexPrice,
    MarketState,
    MarkPrice,
    OpenInterest,
    Side,
    SizeUnit,
    Status,
    Ticker,
    Trade,
)
from aggregator.wire import Text, fraction, nonzero, optional, text, us

MARK = "MARK:"
STATES: dict[str, MarketState] = {"live": "trading", "maintenance": "maintenance"}
SIDES: dict[str, Side] = {"t": "buy", "m": "sell"}  # by the role of the buyer: the taker, or the maker


class TradeWire(Struct, gc=False):
    sy: str
    p: Text
    s: Text
    t: int
    r: str = ""
    ts: int | None = None

    def events(self) -> Iterable[Event]:
        yield Trade(
            raw_symbol=self.sy,
            price=text(self.p),
            size=text(self.s),
            size_unit=unit_of(self.sy),
            side=SIDES.get(self.r),
            ts_event=us(self.t),
            ts_sent=None if self.ts is None else us(self.ts),
        )


class TickerRow(Struct, gc=False):
    s: str = ""
    ohlc: tuple[Text, Text, Text, Text] | None = None
    oi: list[Text] | None = None  # contracts, and how many US dollars it has changed by


class TickerWire(Struct, gc=False):
    sy: str
    d: list[TickerRow] = []
    ts: int | None = None

    def events(self) -> Iterable[Event]:
        sent = None if self.ts is None else us(self.ts)
        for row in self.d:
            name = row.s or self.sy  # `sy` may be a whole chain of options, by the documentation
            if row.ohlc is not None:
                first, high, low, last = map(nonzero, row.ohlc)
                yield Ticker(raw_symbol=name, open=first, high=high, low=low, last=last, window_s=DAY_S, ts_sent=sent)
            size = optional(row.oi[0]) if row.oi and unit_of(name) == "contract" else None
            if size is not None:
                yield OpenInterest(raw_symbol=name, size=size, size_unit="contract", ts_sent=sent)


class MarkWire(Struct, gc=False):
    sy: str
    p: Text
    ts: int | None = None

    def events(self) -> Iterable[Event]:
        when = None if self.ts is None else us(self.ts)
        price = optional(self.p)
        if price is not None:
            yield MarkPrice(raw_symbol=self.sy.removeprefix(MARK), price=price, ts_event=when)


class IndexWire(Struct, gc=False):
    sy: str  # `.DEXBTUSDT`
    p: Text
    ts: int | None = None  # it is null, mostly

    def events(self) -> Iterable[Event]:
        when = None if self.ts is None else us(self.ts)
        price = nonzero(self.p)
        if price is not None:
            yield IndexPrice(raw_symbol=self.sy, index=self.sy, price=price, ts_event=when)


class FundingWire(Struct, gc=False):
    """In per cent of an interval."""

    sy: str
    fr: Text
    fi: int | None = None  # seconds
    nfr: int | None = None
    ts: int | None = None  # when it was computed: each minute

    def events(self) -> Iterable[Event]:
        rate = fraction(self.fr)
        if rate is not None:
            yield Funding(
                raw_symbol=self.sy,
                rate=rate,
                interval_s=self.fi,
                ts_next=us(self.nfr) if self.nfr else None,
                ts_event=None if self.ts is None else us(self.ts),
            )


class StatusWire(Struct):
    status: str
    event: str = ""
    timestamp: int | None = None

    def events(self) -> Iterable[Event]:
        state = STATES.get(self.status, "unknown")
        reason = self.event or (None if state == "trading" else self.status)
        yield Status(state=state, reason=reason, ts_event=None if self.timestamp is None else us(self.timestamp))


def unit_of(raw_symbol: str) -> SizeUnit:
    """Spot markets (`BTC_USDT`) count coins, all others (`BTCUSDT_31Dec`, `C-BTC-90000-310125`) contracts."""
    _, mark, quote = raw_symbol.partition("_")
    return "base" if mark and quote.isalpha() and quote.isupper() else "contract"
