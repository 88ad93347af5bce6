"""The messages that only futures of the Binance protocol have, and the records that they make.

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from collections.abc import Iterable
from typing import Literal, final

from msgspec import Struct

from aggregator.records import (
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    Levels,
    Liquidation,
    MarketState,
    MarkPrice,
    Record,
    Status,
    Ticker,
    Trade,
)
from aggregator.wire import is_zero, nonzero, text
from connectors.families.binance.wires import (
    AggregateWire,
    DepthWire,
    KlineWire,
    MiniTickerWire,
    TaggedBestWire,
    TickerWire,
    stamp,
)

LINEAR, INVERSE = (
    1,
    2,
)  # `st`: of which of the two exchanges a symbol is, as both may come over either socket since 2026
OFF_BOOK = {"INSURANCE_FUND", "ADL", "NA"}  # the fund's, an auto-deleveraging, and (at price 0) nothing at all
STATES: dict[str, MarketState] = {
    "PENDING_TRADING": "pre_open",
    "TRADING": "trading",
    "TRADING_HALT": "halt",  # this and the next since 2026
    "TRADING_CANCEL_ONLY": "cancel_only",
    "PRE_DELIVERING": "settling",
    "DELIVERING": "settling",
    "DELIVERED": "delisted",
    "PRE_SETTLE": "settling",
    "SETTLING": "settling",
    "CLOSE": "delisted",
}


@final
class MarketTradeWire(Struct, tag_field="e", tag="trade", gc=False):
    """A single trade: not documented for futures, but sent to who asks."""

    s: str
    t: int
    p: str
    q: str
    T: int
    E: int
    m: bool  # the buyer was the maker, so the taker sold
    X: str = "MARKET"

    def records(self) -> Iterable[Record]:
        if self.X in OFF_BOOK:
            return ()
        trade = Trade(
            raw_symbol=self.s,
            id=str(self.t),
            price=self.p,
            size=self.q,
            side="sell" if self.m else "buy",
            ts_event=stamp(self.T),
            ts_sent=stamp(self.E),
        )
        return (trade,)


@final
class MarkPriceWire(Struct, tag_field="e", tag="markPriceUpdate", gc=False):
    """Mark price, index price and funding rate; `P`, an estimate of the price of settlement, is no rate."""

    s: str
    p: str
    E: int
    i: str | None = None
    r: str | None = None  # the rate of the running interval; "" of what pays no funding
    T: int = 0  # when that is exchanged; 0 likewise

    def records(self) -> Iterable[Record]:
        sent = stamp(self.E)
        out: list[Record] = []
        if mark := nonzero(self.p):
            out.append(MarkPrice(raw_symbol=self.s, price=mark, ts_sent=sent))
        if index := nonzero(self.i):
            out.append(IndexPrice(raw_symbol=self.s, price=index, ts_sent=sent))
        if self.r and self.T:
            out.append(Funding(raw_symbol=self.s, rate=text(self.r), ts_next=stamp(self.T), ts_sent=sent))
        return out


class ForcedOrder(Struct, gc=False):
    s: str
    S: Literal["BUY", "SELL"]  # the forced order's own side
    q: str  # the size of the order
    p: str
    ap: str  # average price of what was filled, "0" where nothing was
    X: str
    z: str  # filled so far
    T: int


class ForceOrderWire(Struct, tag_field="e", tag="forceOrder", gc=False):
    E: int
    o: ForcedOrder

    def record(self) -> Record:
        o = self.o
        is_filled = not is_zero(o.ap)
        return Liquidation(
            raw_symbol=o.s,
            side="buy" if o.S == "BUY" else "sell",
            position="short" if o.S == "BUY" else "long",
            price=o.ap if is_filled else o.p,
            price_kind="average" if is_filled else "order",
            size=o.z if is_filled else o.q,
            status=o.X,
            sampled=True,  # the last of each second
            ts_event=stamp(o.T),
            ts_sent=stamp(self.E),
        )


@final
class ContractWire(Struct, tag_field="e", tag="contractInfo"):
    """Sent when a contract is listed, settled or changed; in one stream for all."""

    s: str
    E: int
    cs: str
    st: int | None = None

    def record(self) -> Record:
        return Status(raw_symbol=self.s, state=STATES.get(self.cs, "unknown"), reason=self.cs, ts_sent=stamp(self.E))


Single = AggregateWire | DepthWire | TaggedBestWire | KlineWire | TickerWire | MiniTickerWire | ForceOrderWire
COUNTED = (Trade, Liquidation)
SUMMED = (Candle, Ticker)


def partial(d: DepthWire) -> Record:
    """A partial book, which only its stream's name tells from changes."""
    return BookSnapshot(
        raw_symbol=d.s,
        bids=d.b,
        asks=d.a,
        depth=max(len(d.b), len(d.a)) or None,
        sequence=d.u,
        reason="periodic",
        ts_event=None if d.T is None else stamp(d.T),
        ts_sent=stamp(d.E),
    )


class PartialWire(Struct):
    """A partial book whose sides have longer names than those of changes (Aster, spot)."""

    s: str
    E: int
    u: int
    bids: Levels
    asks: Levels
    T: int | None = None

    def record(self) -> Record:
        return partial(DepthWire(E=self.E, T=self.T, s=self.s, u=self.u, b=self.bids, a=self.asks))


def of_contracts(record: Record) -> None:
    """Make a record that of an inverse contract, whose sizes count contracts.

    Volumes come as contracts and as what they are worth in the base asset, where a linear one has base and quote.
    """
    if isinstance(record, COUNTED):
        record.size_unit = "contract"
    elif isinstance(record, SUMMED):
        record.contract_volume, record.base_volume, record.quote_volume = record.base_volume, record.quote_volume, None
