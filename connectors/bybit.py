"""Bybit.

https://bybit-exchange.github.io/docs/v5/ws/connect
"""

from connectors.families import bybit

EXCHANGE = bybit.exchange("bybit", host="bybit.com", checked="2026-09, live probes by others")
