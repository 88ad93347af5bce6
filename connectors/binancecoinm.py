"""Binance COIN-M futures: inverse, settled in the base asset, perpetual and quarterly.

https://developers.binance.com/docs/derivatives/coin-margined-futures/general-info
"""

from connectors.families.binance import futures

EXCHANGE = futures.exchange(
    "binancecoinm",
    docs="https://developers.binance.com/docs/derivatives/coin-margined-futures/general-info",
    checked="2026-09, live probes by others",
    ws="wss://dstream.binance.com",
    rest="https://dapi.binance.com/dapi/v1",
    inverse=True,
)
