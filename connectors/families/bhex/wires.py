"""The messages of the BHEX protocol (Bluehelix) in its own spelling, and the records that they make.

https://hashkeyglobal-apidoc.readme.io/reference/websocket-v1
Sizes of contracts, whose names alone have a hyphen, count contracts.
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import BookSnapshot, Candle, MarkPrice, Record, SizeUnit, Ticker, Trade
from aggregator.wire import Text, end_of, interval_s, levels, ms, nonzero, optional, text


def is_contract(symbol: str) -> bool:
    return "-" in symbol


def unit(symbol: str) -> SizeUnit:
    return "contract" if is_contract(symbol) else "base"


class Params(Struct, frozen=True, gc=False):
    klineType: str = ""
    realtimeInterval: str = ""
    symbol: str = ""


class TradeRow(Struct, gc=False):
    v: str  # its id, which says nothing of those between
    t: int
    p: str
    q: str
    m: bool

    def record(self, symbol: str, sent: int, *, is_buy: bool) -> Record:
        """Give the trade; `is_buy` is what `m` says where the taker bought."""
        return Trade(
            raw_symbol=symbol,
            id=self.v,
            price=text(self.p),
            size=text(self.q),
            size_unit=unit(symbol),
            side="buy" if self.m is is_buy else "sell",
            ts_event=ms(self.t),
            ts_sent=ms(sent) or None,
        )


class DepthRow(Struct, gc=False):
    t: int
    b: list[list[Text]]
    a: list[list[Text]]

    def record(self, symbol: str, sent: int) -> Record:
        return BookSnapshot(
            raw_symbol=symbol,
            bids=levels(self.b),
            asks=levels(self.a),
            depth=200,
            reason="periodic",
            ts_event=ms(self.t),
            ts_sent=ms(sent) or None,
        )


class StatisticsRow(Struct, gc=False):
    t: int
    c: str | None = None
    h: str | None = None
    l: str | None = None  # noqa: E741 - the wire's name
    o: str | None = None
    v: str | None = None  # contracts, where the symbol is one
    qv: str | None = None  # the quote asset, in either case

    def record(self, symbol: str, sent: int, window: str) -> Record:
        ticker = Ticker(
            raw_symbol=symbol,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            quote_volume=optional(self.qv),
            window_s=interval_s(window) if window else None,
            ts_event=ms(self.t),
            ts_sent=ms(sent) or None,
        )
        if is_contract(symbol):
            ticker.contract_volume = optional(self.v)
        else:
            ticker.base_volume = optional(self.v)
        return ticker


class BarRow(Struct, gc=False):
    t: int  # when it began
    c: str
    h: str
    l: str  # noqa: E741 - the wire's name
    o: str
    v: str

    def record(self, symbol: str, sent: int, interval: str) -> Record:
        start = ms(self.t)
        candle = Candle(
            raw_symbol=symbol,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            ts_sent=ms(sent) or None,
        )
        if is_contract(symbol):
            candle.contract_volume = text(self.v)
        else:
            candle.base_volume = text(self.v)
        return candle


class MarkRow(Struct, gc=False):
    price: str | None
    time: int | str
    symbolId: str = ""

    def records(self, symbol: str, sent: int) -> Iterable[Record]:
        if price := nonzero(self.price):
            name = self.symbolId or symbol
            yield MarkPrice(raw_symbol=name, price=price, ts_event=ms(self.time), ts_sent=ms(sent) or None)
