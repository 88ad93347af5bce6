"""Frames of CoinEx's version 1: `params` without names, in the protocol of ViaBTC.

https://viabtc.github.io/coinex_api_en_doc/spot/
Candles name no interval, and those of contracts no market: they are left out.
"""

from collections.abc import Iterable

from msgspec import Raw, Struct, structs
from msgspec.json import Decoder

from aggregator.exchange import Event
from aggregator.records import MS_NS, BookDelta, BookSnapshot, Funding, OpenInterest, Record, Ticker
from aggregator.wire import as_written, levels, nonzero, optional
from connectors.archive.coinex.shared_frames import prices, unit
from connectors.families.viabtc.dotted_wires import TradeRow


class Sides(Struct, gc=False):
    asks: list[list[str]] = []  # left out where nothing of it has changed
    bids: list[list[str]] = []
    time: int | None = None  # milliseconds
    checksum: int | None = None

    def record(self, symbol: str, *, whole: bool) -> BookSnapshot | BookDelta:
        kind = BookSnapshot if whole else BookDelta
        return kind(
            raw_symbol=symbol,
            bids=levels(self.bids),
            asks=levels(self.asks),
            checksum=self.checksum,
            ts_event=None if self.time is None else self.time * MS_NS,
        )


class State(Struct, gc=False):
    """Statistics of a market; contracts have the fields from `position_amount` on."""

    last: str
    open: str
    high: str
    low: str
    volume: str
    deal: str
    period: int
    position_amount: str | None = None
    sign_price: str | None = None
    index_price: str | None = None
    funding_rate_last: str | None = None
    funding_rate_next: str | None = None
    funding_rate_predict: str | None = None

    def records(self, symbol: str) -> Iterable[Record]:
        base, quote = (self.deal, self.volume) if unit(symbol) == "quote" else (self.volume, self.deal)
        yield Ticker(
            raw_symbol=symbol,
            last=nonzero(self.last),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=base,
            quote_volume=quote,
            window_s=self.period,
        )
        yield from prices(symbol, self.sign_price, self.index_price)
        if (size := optional(self.position_amount)) is not None:
            yield OpenInterest(raw_symbol=symbol, size=size, size_unit=unit(symbol))
        if (rate := optional(self.funding_rate_last)) is not None:
            yield Funding(raw_symbol=symbol, rate=rate, kind="settled")
        if (rate := optional(self.funding_rate_next)) is not None:
            yield Funding(raw_symbol=symbol, rate=rate)
        if (rate := optional(self.funding_rate_predict)) is not None:
            yield Funding(raw_symbol=symbol, rate=rate, kind="predicted")


decode_trades = Decoder(tuple[str, list[TradeRow]], float_hook=as_written).decode
decode_depth = Decoder(tuple[bool, Sides, str]).decode
decode_states = Decoder(list[dict[str, State]]).decode


def events(method: str, params: Raw) -> Iterable[Event]:
    match method:
        case "deals.update":
            symbol, rows = decode_trades(params)
            return [structs.replace(row.record(symbol), size_unit=unit(symbol)) for row in reversed(rows)]
        case "depth.update":
            is_whole, sides, symbol = decode_depth(params)
            return (sides.record(symbol, whole=is_whole),)
        case "state.update":
            states = decode_states(params)
            return [record for row in states for symbol, state in row.items() for record in state.records(symbol)]
    return ()
