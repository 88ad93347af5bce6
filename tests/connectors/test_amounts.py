"""Contracts told in base or quote amounts: each derivative exchange's own frames, and what their volumes are worth."""

import json
from collections.abc import Mapping

import pytest

from aggregator.capture.line import CaptureLine
from aggregator.capture.replay import ParseOnly, Replay
from aggregator.catalog.registry import load_exchange
from aggregator.records import Candle, Instrument, OpenInterest, Record, Ticker

Amounts = dict[type[Record], tuple[str | None, str | None]]  # in the base and in the quote asset

MEXC_TICKER = {
    "channel": "push.ticker",
    "symbol": "ETH_USDT",
    "data": {"symbol": "ETH_USDT", "lastPrice": 3000.5, "volume24": 3000, "holdVol": 2000, "timestamp": 1784000000000},
}
MEXC_BAR = {
    "channel": "push.kline",
    "symbol": "ETH_USDT",
    "data": {"symbol": "ETH_USDT", "interval": "Min1", "t": 1784000000, "o": 1, "h": 1, "l": 1, "c": 1, "q": 1000},
}
KUCOIN_BAR = {
    "topic": "/contractMarket/limitCandle:XBTUSDTM_1min",
    "type": "message",
    "subject": "candle.stick",
    "data": {"symbol": "XBTUSDTM", "candles": ["1731898200", "9.6", "9.6", "9.6", "9.6", "21.0", "21"]},
}
KUCOIN_MARK = {
    "T": "mark-price.FUTURES",
    "P": "1790000000151398133",
    "d": {"s": "XBTUSDTM", "ts": 1790000000151, "oi": "5000"},
}
GATE_BAR = {
    "time": 1784000000,
    "channel": "futures.candlesticks",
    "event": "update",
    "result": [{"t": 1784000000, "v": 7, "c": "1", "h": "1", "l": "1", "o": "1", "n": "1m_BTC_USDT"}],
}
GATE_TICKER = {
    "time": 1784000000,
    "channel": "futures.tickers",
    "event": "update",
    "result": [{"contract": "BTC_USDT", "last": "1", "volume_24h": "40", "total_size": "30"}],
}
PHEMEX_BAR = {
    "symbol": "BTCUSD",
    "type": "incremental",
    "kline": [[1784000000, 60, 1, 1, 1, 1, 1, 350, 1]],
}
PHEMEX_TICKER = {
    "market24h": {"symbol": "BTCUSD", "open": 1, "high": 1, "low": 1, "close": 1, "volume": 12, "openInterest": 9},
    "timestamp": 1784000000000000000,
}
COINM_BAR = {
    "e": "kline",
    "E": 1784000000000,
    "s": "BTCUSD_PERP",
    "k": {
        "t": 1784000000000,
        "T": 1784000059999,
        "i": "1m",
        "o": "50000",
        "h": "50000",
        "l": "50000",
        "c": "50000",
        "v": "21",
        "q": "0.042",
        "n": 3,
        "x": False,
    },
}
OKX_BAR = {
    "arg": {"channel": "candle1m", "instId": "ETH-USD-SWAP"},
    "data": [["1784000000000", "4000", "4000", "4000", "4000", "80", "0.2", "800.5", "1"]],
}
POLONIEX_BAR = {
    "channel": "candles_minute_1",
    "data": [["BTC_USDT_PERP", "1", "1", "1", "1", "666126.2", "5998", 3, 1784000000000, 1784000059999, 1784000001000]],
}

CASES: dict[str, tuple[str, str, Mapping[str, object], bool, str, Amounts]] = {
    "mexc, a ticker": ("mexc", "ETH_USDT", MEXC_TICKER, True, "0.01", {Ticker: ("30.00", None)}),
    "mexc, its open interest": ("mexc", "ETH_USDT", MEXC_TICKER, True, "0.01", {OpenInterest: ("20.00", None)}),
    "mexc, a candle": ("mexc", "ETH_USDT", MEXC_BAR, True, "0.01", {Candle: ("10.00", None)}),
    "kucoin, a candle": ("kucoinfutures", "XBTUSDTM", KUCOIN_BAR, True, "0.001", {Candle: ("0.021", None)}),
    "kucoin, open interest": ("kucoinfutures", "XBTUSDTM", KUCOIN_MARK, True, "0.001", {OpenInterest: ("5.000", None)}),
    "gate, a candle without `a`": ("gate", "BTC_USDT", GATE_BAR, True, "0.0001", {Candle: ("0.0007", None)}),
    "gate, a ticker": (
        "gate",
        "BTC_USDT",
        GATE_TICKER,
        True,
        "0.0001",
        {Ticker: ("0.0040", None), OpenInterest: ("0.0030", None)},
    ),
    "phemex, an inverse candle": ("phemex", "BTCUSD", PHEMEX_BAR, False, "1", {Candle: (None, "350")}),
    "phemex, an inverse ticker": (
        "phemex",
        "BTCUSD",
        PHEMEX_TICKER,
        False,
        "1",
        {Ticker: (None, "12"), OpenInterest: (None, "9")},
    ),
    "binance, an inverse candle": ("binancecoinm", "BTCUSD_PERP", COINM_BAR, False, "100", {Candle: ("0.042", "2100")}),
    "okx, what it tells itself stands": ("okx", "ETH-USD-SWAP", OKX_BAR, False, "10", {Candle: ("0.2", "800.5")}),
    "poloniex, a candle": (
        "poloniex",
        "BTC_USDT_PERP",
        POLONIEX_BAR,
        True,
        "0.001",
        {Candle: ("5.998", "666126.2")},
    ),
}


def amounts(record: Record) -> tuple[str | None, str | None] | None:
    if isinstance(record, Candle | Ticker):
        return record.base_volume, record.quote_volume
    return (record.base_size, record.quote_value) if isinstance(record, OpenInterest) else None


@pytest.mark.parametrize("reader", [ParseOnly, Replay])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contracts_are_told_in_amounts(
    reader: type[ParseOnly | Replay], case: tuple[str, str, Mapping[str, object], bool, str, Amounts]
) -> None:
    id, raw_symbol, frame, linear, contract_size, right = case
    exchange = load_exchange(id)
    assert exchange is not None
    contract = Instrument(
        raw_symbol=raw_symbol,
        kind="perpetual",
        base="BTC",
        quote="USDT" if linear else "USD",
        settle="USDT" if linear else "BTC",
        linear=linear,
        contract_size=contract_size,
    )
    line = CaptureLine(ts="1784000001", dir="in", raw=json.dumps(frame))
    said = {type(record): amounts(record) for record in reader(exchange, [contract], stream=None).feed(line)}
    assert {kind: said[kind] for kind in right} == right


def test_without_a_contract_size_contracts_are_told_alone() -> None:
    exchange = load_exchange("mexc")
    assert exchange is not None
    line = CaptureLine(ts="1784000001", dir="in", raw=json.dumps(MEXC_BAR))
    (candle,) = Replay(exchange, []).feed(line)
    assert isinstance(candle, Candle)
    assert (candle.contract_volume, candle.base_volume, candle.quote_volume) == ("1000", None, None)
