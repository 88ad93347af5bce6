"""Bybit EU: spot alone, in euros and USDC.

https://bybit-exchange.github.io/docs/v5/guide
ccxt names addresses of contracts as well, which are those of Bybit with another host, and offers none of them.
"""

from connectors.families import bybit

EXCHANGE = bybit.exchange(
    "bybiteu",
    host="bybit.eu",
    categories=("spot",),
    checked="2026-11, its documentation and ccxt 4.5.90: no message was seen",
)
