"""Requests by REST and reading their answers: the pairs, whole books, the best prices and candles."""

from collections.abc import Iterable

from msgspec import Raw

from aggregator.exchange import Request
from aggregator.records import BookSnapshot, Instrument, Record
from aggregator.wire import bbo, candle, encode, latest, levels, nonzero, optional, seconds
from connectors.indodax.wires import (
    decode_candles,
    decode_depth,
    decode_increment,
    decode_increments,
    decode_pair,
    decode_quotations,
)

INTERVAL, LATEST_S = "1m", 300  # candles of so many seconds are asked for each time


def ask_candles(raw_symbol: str) -> Request:
    url = f"https://indodax.com/tradingview/history_v2?symbol={raw_symbol.upper()}&tf=1"
    return Request(url, timed=latest(LATEST_S))


def read_candles(raw_symbol: str, body: bytes) -> Iterable[Record]:
    for c in sorted(decode_candles(body), key=lambda row: row.time):
        yield candle(raw_symbol, INTERVAL, seconds(c.time), (c.open, c.high, c.low, c.close))


def read_depth(raw_symbol: str, body: bytes) -> BookSnapshot:
    d = decode_depth(body)
    return BookSnapshot(raw_symbol=raw_symbol, bids=levels(d.buy), asks=levels(d.sell))


def read_quotations(_: str, body: bytes) -> Iterable[Record]:
    for name, q in decode_quotations(body).tickers.items():
        yield bbo(name.replace("_", ""), nonzero(q.buy), None, nonzero(q.sell), None, ts_sent=seconds(q.server_time))


def read_pair(row: Raw) -> Instrument:
    p = decode_pair(row)
    return Instrument(
        raw_symbol=p.id,
        base=(p.traded_currency_unit or p.traded_currency).upper(),
        quote=p.base_currency.upper(),
        min_size=optional(p.trade_min_traded_currency),
        min_notional=optional(p.trade_min_base_currency),
        state="halt" if p.is_maintenance or p.is_market_suspended else "trading",
    )


def increments(body: bytes) -> Iterable[Raw]:
    """Give the increments of prices as rows of a name and a number."""
    return [Raw(encode(pair)) for pair in decode_increments(body).increments.items()]


def read_increment(row: Raw) -> Instrument:
    i = decode_increment(row)
    return Instrument(raw_symbol=i.pair.replace("_", ""), tick_size=nonzero(i.step))
