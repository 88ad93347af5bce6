"""Candles by REST: their request names the time until which they are wanted."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Request
from aggregator.records import Record
from aggregator.wire import candle, latest, ms

API = "https://api.bitopro.com/v3"
INTERVAL, LATEST_S = "1m", 300  # candles of so many seconds are asked for each time


class CandleRow(Struct, gc=False):
    timestamp: int  # ms
    open: str
    high: str
    low: str
    close: str
    volume: str  # in the base


class Candles(Struct):
    data: list[CandleRow]


decode_candles = Decoder(Candles).decode


def ask_candles(raw_symbol: str) -> Request:
    return Request(f"{API}/trading-history/{raw_symbol}?resolution={INTERVAL}", timed=latest(LATEST_S))


def read_candles(raw_symbol: str, body: bytes) -> Iterable[Record]:
    for c in sorted(decode_candles(body).data, key=lambda row: row.timestamp):
        yield candle(raw_symbol, INTERVAL, ms(c.timestamp), (c.open, c.high, c.low, c.close), base=c.volume)
