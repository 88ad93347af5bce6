"""Binance spot.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from connectors.families import binance

EXCHANGE = binance.exchange(
    "binance",
    docs="https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams",
    checked="2026-09, live probes by others",
    url="wss://stream.binance.com:9443/stream?timeUnit=MICROSECOND",
    rest="https://api.binance.com/api/v3",
)
