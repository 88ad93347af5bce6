"""Bequant.

https://api.bequant.io/
"""

from connectors.families import hitbtc

EXCHANGE = hitbtc.exchange(
    "bequant",
    host="api.bequant.io",
    docs="https://api.bequant.io/",
    checked="ccxt 4.5.90 and recordings of 2021: nothing was seen live since",
)
