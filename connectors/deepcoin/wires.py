"""The messages of Deepcoin in its own spelling, and the records that they make.

https://www.deepcoin.com/docs/publicWS/LevelIncrementalMarketData
A pair is spelled with a slash, a contract without. The documentation calls `tt` the time of trading and `mt` that of
the market. `E` is documented as the rate before, and is the one that is exchanged next (2026-09).
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from aggregator.records import (
    MS_NS,
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    Levels,
    Liquidation,
    MarkPrice,
    Record,
    Side,
    SizeUnit,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, candle, nonzero, optional, seconds, text

DEPTH = 60
SIDES: Mapping[str, Side] = {"0": "buy", "1": "sell"}  # the taker's, as ccxt 4.5.90 and DeepCoin.Net read it


def unit_of(name: str) -> SizeUnit:
    return "base" if "/" in name else "contract"


def is_inverse(name: str) -> bool:
    return name.endswith("USD") and "/" not in name


class TradeRow(Struct, gc=False):
    TradeID: str
    I: str  # noqa: E741 - the wire's name
    D: Literal["0", "1"]
    P: Text
    V: Text
    T: int

    def record(self, sent: int | None) -> Trade:
        return Trade(
            raw_symbol=self.I,
            id=self.TradeID,
            price=text(self.P),
            size=text(self.V),
            side=SIDES[self.D],
            size_unit=unit_of(self.I),
            ts_event=self.T * SECOND_NS,
            ts_sent=None if sent is None else sent * MS_NS,
        )


class ForcedRow(Struct, gc=False):
    """A liquidation, of which the forced order has the direction; what its price is of is not said."""

    I: str  # noqa: E741 - the wire's name
    D: Literal["0", "1"]
    P: Text
    V: Text
    T: int

    def record(self) -> Liquidation:
        return Liquidation(
            raw_symbol=self.I,
            side=SIDES[self.D],
            position="short" if self.D == "0" else "long",
            price=nonzero(self.P),
            size=text(self.V),
            size_unit=unit_of(self.I),
            ts_event=self.T * SECOND_NS,
        )


class Change(Struct, gc=False):
    I: str  # noqa: E741 - the wire's name
    D: Literal["0", "1"]
    P: Text
    V: Text


class ChangeRow(Struct, gc=False):
    d: Change


class BookFrame(Struct, gc=False):
    """A whole book, which may come unasked too, or changes of it, in no order; 0 removes a level."""

    t: Literal["f", "i"]
    r: list[ChangeRow]
    tt: int | None = None
    mt: int | None = None

    def events(self, names: Mapping[str, str]) -> Iterable[Record]:
        if not self.r:
            return ()
        name = self.r[0].d.I
        bids: Levels = []
        asks: Levels = []
        for row in self.r:
            (bids if row.d.D == "0" else asks).append((text(row.d.P), text(row.d.V)))
        symbol = names.get(name, name)
        at = None if self.tt is None else self.tt * MS_NS
        sent = None if self.mt is None else self.mt * MS_NS
        if self.t == "i":
            return (BookDelta(raw_symbol=symbol, bids=bids, asks=asks, ts_event=at, ts_sent=sent),)
        return (BookSnapshot(raw_symbol=symbol, bids=bids, asks=asks, depth=DEPTH, ts_event=at, ts_sent=sent),)


class DayRow(Struct, gc=False):
    """The figures of a market today; marks, indices and funding are 0 of a pair, or stand still."""

    I: str  # noqa: E741 - the wire's name
    U: int
    N: Text = None
    O: Text = None  # noqa: E741 - the wire's name
    H: Text = None
    L: Text = None
    V: Text = None
    T: Text = None
    M: Text = None
    D: Text = None
    E: Text = None
    PF: int | None = None
    BP1: Text = None
    AP1: Text = None

    def records(self, sent_ms: int | None) -> Iterable[Record]:
        at, sent = self.U * MS_NS, None if sent_ms is None else sent_ms * MS_NS
        is_contract = unit_of(self.I) == "contract"
        yield Ticker(
            raw_symbol=self.I,
            last=nonzero(self.N),
            open=nonzero(self.O),
            high=nonzero(self.H),
            low=nonzero(self.L),
            quote_volume=optional(self.T) if is_contract and not is_inverse(self.I) else None,
            contract_volume=optional(self.V) if is_contract else None,
            ts_event=at,
            ts_sent=sent,
        )
        yield bbo(self.I, self.BP1, None, self.AP1, None, ts_event=at, ts_sent=sent)
        if not is_contract:
            return
        if mark := nonzero(self.M):
            yield MarkPrice(raw_symbol=self.I, price=mark, ts_event=at, ts_sent=sent)
        if index := nonzero(self.D):
            yield IndexPrice(raw_symbol=self.I, price=index, ts_event=at, ts_sent=sent)
        if self.PF and (rate := optional(self.E)) is not None:
            yield Funding(raw_symbol=self.I, rate=rate, ts_next=self.PF * SECOND_NS, ts_event=at, ts_sent=sent)


class BarRow(Struct, gc=False):
    I: str  # noqa: E741 - the wire's name
    P: str
    B: int
    O: Text  # noqa: E741 - the wire's name
    H: Text
    L: Text
    C: Text
    V: Text = None
    M: Text = None

    def record(self, sent: int | None) -> Candle:
        is_contract = unit_of(self.I) == "contract"
        volume = optional(self.V)
        made = candle(
            self.I,
            self.P,
            seconds(self.B),
            (self.O, self.H, self.L, self.C),
            base=None if is_contract else volume,
            quote=None if is_inverse(self.I) else optional(self.M),
        )
        made.contract_volume = volume if is_contract else None
        made.ts_sent = None if sent is None else sent * MS_NS
        return made
