"""Bithumb's first generation, on its older address (`pubwss.bithumb.com`): the documentation tells of it no more.

https://apidocs.bithumb.com/reference
Markets are base and quote there (`BTC_KRW`), clocks are those of Korea.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Struct, field
from msgspec.json import Decoder

from aggregator.exchange import Event
from aggregator.records import BookDelta, BookSnapshot, Levels, Record, Ticker, Trade
from aggregator.wire import Text, from_iso, is_zero, levels, nonzero, number, optional, text, us

DEPTH = 30  # levels a side of a whole book
WINDOWS = {"30M": 1800, "1H": 3600, "12H": 43_200, "24H": 86_400}  # `MID` is since midnight


class Transaction(Struct, gc=False):
    symbol: str
    buySellGb: Literal["1", "2"]  # the taker sold, or bought
    contPrice: str
    contQty: str
    contDtm: str

    def record(self) -> Trade:
        return Trade(
            raw_symbol=market(self.symbol),
            price=text(self.contPrice),
            size=text(self.contQty),
            side="buy" if self.buySellGb == "2" else "sell",
            ts_event=from_iso(f"{self.contDtm}+09:00"),
        )


class Transactions(Struct):
    rows: list[Transaction] = field(name="list")

    def records(self) -> Iterable[Record]:
        return [trade.record() for trade in self.rows]


class Change(Struct, gc=False):
    symbol: str
    orderType: Literal["ask", "bid"]
    price: str
    quantity: str


class Changes(Struct):
    rows: list[Change] = field(name="list")
    datetime: Text = field()  # microseconds

    def records(self) -> Iterable[Record]:
        at, deltas = us(self.datetime), dict[str, BookDelta]()
        for change in self.rows:
            name = market(change.symbol)
            delta = deltas.setdefault(name, BookDelta(raw_symbol=name, bids=[], asks=[], ts_event=at))
            side: Levels = delta.bids if change.orderType == "bid" else delta.asks
            side.append((text(change.price), text(change.quantity)))
        return deltas.values()


class Whole(Struct):
    symbol: str
    datetime: Text  # microseconds
    bids: list[list[str]]
    asks: list[list[str]]

    def records(self) -> Iterable[Record]:
        bids, asks = ([row for row in levels(side) if not is_zero(row[0])] for side in (self.bids, self.asks))
        name, at = market(self.symbol), us(self.datetime)
        return (BookSnapshot(raw_symbol=name, bids=bids, asks=asks, depth=DEPTH, reason="periodic", ts_event=at),)


class Statistics(Struct):
    symbol: str
    tickType: str
    date: str
    time: str
    openPrice: str | None = None
    closePrice: str | None = None
    lowPrice: str | None = None
    highPrice: str | None = None
    value: str | None = None  # in the quote asset
    volume: str | None = None

    def records(self) -> Iterable[Record]:
        day, clock = self.date, self.time
        return (
            Ticker(
                raw_symbol=market(self.symbol),
                last=nonzero(self.closePrice),
                open=nonzero(self.openPrice),
                high=nonzero(self.highPrice),
                low=nonzero(self.lowPrice),
                base_volume=optional(self.volume),
                quote_volume=optional(self.value),
                window_s=WINDOWS.get(self.tickType),
                ts_event=from_iso(f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}+09:00"),
            ),
        )


class Deals(Struct, tag_field="type", tag="transaction"):
    content: Transactions


class Depth(Struct, tag_field="type", tag="orderbookdepth"):
    content: Changes


class Book(Struct, tag_field="type", tag="orderbooksnapshot"):
    content: Whole


class Tick(Struct, tag_field="type", tag="ticker"):
    content: Statistics


decode: Callable[[bytes], Deals | Depth | Book | Tick] = Decoder(Deals | Depth | Book | Tick, float_hook=number).decode


def market(symbol: str) -> str:
    """A market of the first generation as the second names it."""
    base, _, quote = symbol.partition("_")
    return f"{quote}-{base}"


def parse(frame: bytes) -> Iterable[Event]:
    return decode(frame).content.records()
