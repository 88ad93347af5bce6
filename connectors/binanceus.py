"""Binance.US, spot: another matching engine and other markets than Binance, the same wire, in milliseconds.

https://docs.binance.us
"""

from connectors.families import binance

EXCHANGE = binance.exchange(
    "binanceus",
    docs="https://docs.binance.us",
    checked="2026-09, live probes by others",
    url="wss://stream.binance.us:9443/stream",
    rest="https://api.binance.us/api/v3",
    lookup=False,  # looking up old trades needs a key here
)
