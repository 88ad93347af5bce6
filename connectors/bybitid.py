"""Bybit Indonesia.

https://bybit-exchange.github.io/docs/v5/guide
"""

from connectors.families import bybit

EXCHANGE = bybit.exchange(
    "bybitid",
    host="bybit.id",
    checked="2026-11, its documentation and ccxt 4.5.90: no message was seen",
    notes=("Elsewhere than in Indonesia its requests may be refused with HTTP 403.",),
)
