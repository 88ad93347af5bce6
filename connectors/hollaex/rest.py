"""Answers by REST, the listing among them."""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import DAY_S, Instrument, Record, Ticker
from aggregator.wire import Text, as_written, from_iso, nonzero, optional


class TickerWire(Struct):
    """Figures of 24 hours, as the exchange's own client says of them (hollaex-node-lib, `getTickers`)."""

    time: str | None = None
    open: Text = None
    high: Text = None
    low: Text = None
    last: Text = None
    volume: Text = None

    def record(self, symbol: str) -> Ticker:
        return Ticker(
            raw_symbol=symbol,
            last=nonzero(self.last),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.volume),
            window_s=DAY_S,
            ts_event=None if self.time is None else from_iso(self.time),
        )


class PairWire(Struct):
    name: str
    pair_base: str
    pair_2: str
    active: bool = True
    increment_price: Text = None
    increment_size: Text = None
    min_size: Text = None
    max_size: Text = None


class Constants(Struct):
    pairs: dict[str, Raw]


decode_tickers = Decoder(dict[str, TickerWire], float_hook=as_written).decode
decode_constants = Decoder(Constants).decode
decode_pair = Decoder(PairWire, float_hook=as_written).decode


def rows(body: bytes) -> list[Raw]:
    return list(decode_constants(body).pairs.values())


def read_tickers(_: str, body: bytes) -> Iterable[Record]:
    return [ticker.record(symbol) for symbol, ticker in decode_tickers(body).items()]


def read_pair(row: Raw) -> Instrument:
    p = decode_pair(row)
    return Instrument(
        raw_symbol=p.name,
        base=p.pair_base.upper(),
        quote=p.pair_2.upper(),
        tick_size=optional(p.increment_price),
        lot_size=optional(p.increment_size),
        min_size=optional(p.min_size),
        max_size=optional(p.max_size),
        state="trading" if p.active else "halt",
    )
