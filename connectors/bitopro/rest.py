"""Candles by REST: their request names the time until which they are wanted."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Request
from aggregator.records import Candle, Record
from aggregator.wire import end_of, latest, ms

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
    for c in sorted(decode_candles(body).data, key=lambda candle: candle.timestamp):
        opened = ms(c.timestamp)
        yield Candle(
            raw_symbol=raw_symbol,
            interval=INTERVAL,
            ts_open=opened,
            ts_close=end_of(INTERVAL, opened),
            open=c.open,
            high=c.high,
            low=c.low,
            close=c.close,
            base_volume=c.volume,
        )
