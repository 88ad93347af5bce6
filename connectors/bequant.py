"""Bequant.

https://api.bequant.io/
"""

from connectors.families import hitbtc

EXCHANGE = hitbtc.exchange("bequant", host="api.bequant.io", docs="https://api.bequant.io/")
