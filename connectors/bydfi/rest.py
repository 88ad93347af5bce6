"""Pairs of BYDFi, by REST as MEXC's are.

https://www.mexc.com/api-docs/spot-v3/market-data-endpoints
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Poll, Request
from aggregator.records import DAY_S, BookSnapshot, Instrument, Record, Ticker
from aggregator.wire import Text, bbo, candle, levels, ms, nonzero, number, optional

API = "https://api.bydfi.com/api"
SPOT, CONTRACT = f"{API}/v3", f"{API}/v1/contract"
DEPTH = 100


class DepthWire(Struct):
    bids: list[list[Text]]
    asks: list[list[Text]]
    lastUpdateId: int
    timestamp: int | None = None


class DayWire(Struct):
    symbol: str
    lastPrice: Text = None
    openPrice: Text = None
    highPrice: Text = None
    lowPrice: Text = None
    volume: Text = None
    quoteVolume: Text = None
    priceChange: Text = None
    bidPrice: Text = None
    bidQty: Text = None
    askPrice: Text = None
    askQty: Text = None
    closeTime: int | None = None

    def records(self) -> Iterable[Record]:
        at = None if self.closeTime is None else ms(self.closeTime)
        yield Ticker(
            raw_symbol=self.symbol,
            last=nonzero(self.lastPrice),
            open=nonzero(self.openPrice),
            high=nonzero(self.highPrice),
            low=nonzero(self.lowPrice),
            base_volume=optional(self.volume),
            quote_volume=optional(self.quoteVolume),
            change=optional(self.priceChange),
            window_s=DAY_S,
            ts_event=at,
        )
        yield bbo(self.symbol, self.bidPrice, self.bidQty, self.askPrice, self.askQty, ts_event=at)


class Bar(Struct, array_like=True):
    start: int
    open: Text
    high: Text
    low: Text
    close: Text
    volume: Text
    end: int
    turnover: Text


decode_depth = Decoder(DepthWire).decode
decode_days = Decoder(list[DayWire] | DayWire, float_hook=number).decode
decode_bars = Decoder(list[Bar], float_hook=number).decode


def is_pair(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def read_depth(raw_symbol: str, body: bytes) -> Iterable[Record]:
    said = decode_depth(body)
    return (
        BookSnapshot(
            raw_symbol=raw_symbol,
            bids=levels(said.bids),
            asks=levels(said.asks),
            depth=DEPTH,
            reason="periodic",
            sequence=said.lastUpdateId,
            ts_event=None if said.timestamp is None else ms(said.timestamp),
        ),
    )


def read_days(_: str, body: bytes) -> Iterable[Record]:
    said = decode_days(body)
    days = said if isinstance(said, list) else (said,)  # a single one comes alone
    return [record for day in days for record in day.records()]


def read_bars(raw_symbol: str, body: bytes) -> Iterable[Record]:
    for bar in decode_bars(body):
        prices = bar.open, bar.high, bar.low, bar.close
        yield candle(raw_symbol, "1m", ms(bar.start), prices, base=bar.volume, quote=bar.turnover)


BOOK = Poll(
    name="book",
    channels=("book",),
    every=10,
    request=lambda name: Request(f"{SPOT}/depth?symbol={name}&limit={DEPTH}"),
    parse=read_depth,
    serves=is_pair,
)
DAYS = Poll(
    name="days",
    channels=("ticker", "bbo"),
    every=10,
    request=lambda _: Request(f"{SPOT}/ticker/24hr"),
    parse=read_days,
    many=True,
    serves=is_pair,
)
CANDLES = Poll(
    name="candles",
    channels=("candles",),
    every=60,
    request=lambda name: Request(f"{SPOT}/klines?symbol={name}&interval=1m&limit=3"),
    parse=read_bars,
    serves=is_pair,
)
