"""HitBTC.

https://api.hitbtc.com/
"""

from connectors.families import hitbtc

EXCHANGE = hitbtc.exchange(
    "hitbtc",
    host="api.hitbtc.com",
    docs="https://api.hitbtc.com/",
    checked="2026-09, live probes by others",
)
