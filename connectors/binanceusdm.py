"""Binance USDⓈ-M futures: linear, settled in USDT, USDC or another quote asset.

https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
"""

from connectors.families.binance import futures

EXCHANGE = futures.exchange(
    "binanceusdm",
    docs="https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info",
    checked="2026-09, live probes by others",
    ws="wss://fstream.binance.com",
    rest="https://fapi.binance.com/fapi/v1",
)
