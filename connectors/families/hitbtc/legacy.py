"""Version 2 of the HitBTC protocol, which recordings of 2017 to 2021 speak; nothing is subscribed to in it any more.

https://github.com/hitbtc-com/hitbtc-api/blob/master/APIv2.md
"""

from collections.abc import Iterable

from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Decoder

from aggregator.records import DAY_S, BookDelta, BookSnapshot, Candle, Flags, Levels, Record, Side, Ticker, Trade
from aggregator.wire import from_iso, nonzero
from connectors.families.hitbtc.wires import INTERVALS, SNAPSHOT, filled, length_of


class Row(Struct):
    price: str
    size: str


class BookParams(Struct):
    symbol: str
    sequence: int
    ask: list[Row]
    bid: list[Row]
    timestamp: str | None = None


class SnapshotWire(Struct, tag_field="method", tag="snapshotOrderbook"):
    params: BookParams

    def records(self) -> Iterable[Record]:
        p = self.params
        bids, asks = filled(levels(p.bid)), filled(levels(p.ask))
        at = from_iso(p.timestamp) if p.timestamp else None
        return (BookSnapshot(raw_symbol=p.symbol, bids=bids, asks=asks, sequence=p.sequence, ts_event=at),)


class Update(Struct, tag_field="method", tag="updateOrderbook"):
    params: BookParams

    def records(self) -> Iterable[Record]:
        p = self.params
        bids, asks = levels(p.bid), levels(p.ask)
        at = from_iso(p.timestamp) if p.timestamp else None
        return (BookDelta(raw_symbol=p.symbol, bids=bids, asks=asks, sequence=p.sequence, ts_event=at),)


def levels(rows: list[Row]) -> Levels:
    return [(row.price, row.size) for row in rows]


class Dealt(Struct):
    id: int
    price: str
    quantity: str
    side: Side  # the taker's
    timestamp: str


class TradeParams(Struct):
    symbol: str
    data: list[Dealt]

    def records(self, flags: Flags | UnsetType) -> Iterable[Record]:
        for t in self.data:
            yield Trade(
                raw_symbol=self.symbol,
                id=str(t.id),
                price=t.price,
                size=t.quantity,
                side=t.side,
                ts_event=from_iso(t.timestamp),
                flags=flags,
            )


class OldTrades(Struct, tag_field="method", tag="snapshotTrades"):
    params: TradeParams

    def records(self) -> Iterable[Record]:
        return self.params.records(SNAPSHOT)


class NewTrades(Struct, tag_field="method", tag="updateTrades"):
    params: TradeParams

    def records(self) -> Iterable[Record]:
        return self.params.records(UNSET)


class Bar(Struct):
    timestamp: str
    open: str
    close: str
    min: str
    max: str
    volume: str
    volumeQuote: str


class BarParams(Struct):
    symbol: str
    period: str
    data: list[Bar]

    def records(self, flags: Flags | UnsetType) -> Iterable[Record]:
        length = length_of(self.period)
        for bar in self.data:
            at = from_iso(bar.timestamp)
            yield Candle(
                raw_symbol=self.symbol,
                interval=INTERVALS.get(self.period, self.period),
                ts_open=at,
                ts_close=None if length is None else at + length,
                open=bar.open,
                high=bar.max,
                low=bar.min,
                close=bar.close,
                base_volume=bar.volume,
                quote_volume=bar.volumeQuote,
                flags=flags,
            )


class OldBars(Struct, tag_field="method", tag="snapshotCandles"):
    params: BarParams

    def records(self) -> Iterable[Record]:
        return self.params.records(SNAPSHOT)


class NewBars(Struct, tag_field="method", tag="updateCandles"):
    params: BarParams

    def records(self) -> Iterable[Record]:
        return self.params.records(UNSET)


class TickerParams(Struct):
    symbol: str
    timestamp: str
    last: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    volume: str | None = None
    volumeQuote: str | None = None


class TickerFrame(Struct, tag_field="method", tag="ticker"):
    params: TickerParams

    def records(self) -> Iterable[Record]:
        p = self.params
        yield Ticker(
            raw_symbol=p.symbol,
            last=nonzero(p.last),
            open=nonzero(p.open),
            high=nonzero(p.high),
            low=nonzero(p.low),
            base_volume=p.volume,
            quote_volume=p.volumeQuote,
            window_s=DAY_S,
            ts_event=from_iso(p.timestamp),
        )


METHODS = {
    "snapshotOrderbook",
    "updateOrderbook",
    "snapshotTrades",
    "updateTrades",
    "snapshotCandles",
    "updateCandles",
    "ticker",
}
decode = Decoder(SnapshotWire | Update | OldTrades | NewTrades | OldBars | NewBars | TickerFrame).decode
