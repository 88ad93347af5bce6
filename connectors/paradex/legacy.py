"""The JSON of Paradex before 21 September 2026, as captures hold it; since then a socket without SBE is refused.

https://docs.paradex.trade/ws/web-socket-channels
Times are milliseconds. A book is told by what is inserted, updated and deleted.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Event
from aggregator.records import (
    DAY_S,
    HOUR_S,
    MS_NS,
    BookDelta,
    BookSnapshot,
    Funding,
    IndexPrice,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Ticker,
    Trade,
)
from aggregator.wire import Text, as_written, bbo, nonzero, optional, sides, text
from connectors.paradex.wires import DEPTH


class TradeWire(Struct, gc=False):
    id: str
    market: str
    side: Literal["BUY", "SELL"]  # the taker's
    size: Text
    price: Text
    created_at: int
    trade_type: str = "FILL"

    def records(self) -> Iterable[Event]:
        is_forced, at = self.trade_type == "LIQUIDATION", self.created_at * MS_NS
        price, size = text(self.price), text(self.size)
        yield Trade(
            raw_symbol=self.market,
            id=self.id,
            price=price,
            size=size,
            side="buy" if self.side == "BUY" else "sell",
            kind="liquidation" if is_forced else "block" if self.trade_type == "BLOCK_TRADE" else "trade",
            ts_event=at,
        )
        if is_forced:
            yield Liquidation(
                raw_symbol=self.market, id=self.id, price=price, price_kind="trade", size=size, ts_event=at
            )


class BestWire(Struct, gc=False):
    market: str
    bid: Text = None
    bid_size: Text = None
    ask: Text = None
    ask_size: Text = None
    seq_no: int | None = None
    last_updated_at: int = 0

    def records(self) -> Iterable[Event]:
        told = (self.bid, self.bid_size, self.ask, self.ask_size)
        at = self.last_updated_at * MS_NS or None
        yield bbo(self.market, *told, ts_event=at, sequence=self.seq_no)


class ChangeWire(Struct, gc=False):
    side: str
    price: Text
    size: Text = "0"


class BookWire(Struct, gc=False):
    market: str
    seq_no: int
    last_updated_at: int
    update_type: Literal["s", "d"]
    inserts: list[ChangeWire] = []
    updates: list[ChangeWire] = []
    deletes: list[ChangeWire] = []

    def records(self) -> Iterable[Event]:
        bids, asks = self._sides()
        at = self.last_updated_at * MS_NS
        if self.update_type == "d":
            yield BookDelta(raw_symbol=self.market, bids=bids, asks=asks, sequence=self.seq_no, ts_event=at)
            return
        yield BookSnapshot(
            raw_symbol=self.market,
            bids=bids,
            asks=asks,
            depth=DEPTH,
            reason="periodic",
            sequence=self.seq_no,
            ts_event=at,
        )

    def _sides(self) -> tuple[Levels, Levels]:
        there = [(row.side, text(row.price), text(row.size)) for row in (*self.inserts, *self.updates)]
        return sides([*there, *((row.side, text(row.price), "0") for row in self.deletes)], bid="BUY")


class FiguresWire(Struct, gc=False):
    symbol: str
    created_at: int
    mark_price: Text = None
    underlying_price: Text = None
    last_traded_price: Text = None
    volume_24h: Text = None  # in US dollars
    open_interest: Text = None

    def records(self) -> Iterable[Event]:
        name, at = self.symbol, self.created_at * MS_NS
        last, volume = nonzero(self.last_traded_price), optional(self.volume_24h)
        yield Ticker(raw_symbol=name, last=last, quote_volume=volume, window_s=DAY_S, ts_event=at)
        for kind, price in ((MarkPrice, nonzero(self.mark_price)), (IndexPrice, nonzero(self.underlying_price))):
            if price is not None:
                yield kind(raw_symbol=name, price=price, ts_event=at)
        if (size := optional(self.open_interest)) is not None:
            yield OpenInterest(raw_symbol=name, size=size, ts_event=at)


class FundingWire(Struct, gc=False):
    market: str
    funding_rate: Text
    created_at: int
    funding_period_hours: int = 0

    def records(self) -> Iterable[Event]:
        if (rate := optional(self.funding_rate)) is not None:
            interval, at = self.funding_period_hours * HOUR_S or None, self.created_at * MS_NS
            yield Funding(raw_symbol=self.market, rate=rate, interval_s=interval, ts_event=at)


Wire = TradeWire | BestWire | BookWire | FiguresWire | FundingWire
READERS: dict[str, Callable[[bytes], Wire]] = {
    "trades": Decoder(TradeWire, float_hook=as_written).decode,
    "bbo": Decoder(BestWire, float_hook=as_written).decode,
    "order_book": Decoder(BookWire, float_hook=as_written).decode,
    "markets_summary": Decoder(FiguresWire, float_hook=as_written).decode,
    "funding_data": Decoder(FundingWire, float_hook=as_written).decode,
}


def read_data(channel: str, data: bytes) -> Iterable[Event]:
    """The records of data; a channel of no interest gives none."""
    decode = READERS.get(channel.partition(".")[0])
    return () if decode is None else [*decode(data).records()]
