"""Mode Trade, a broker of Orderly: the book is Orderly's, which all its brokers share.

https://orderly.network/docs/build-on-omnichain/websocket-api/introduction
"""

from connectors.families.woo import orderly

EXCHANGE = orderly.exchange(
    "modetrade",
    checked="2026-11, ccxt 4.5.90: nothing but the name differs from WOOFi Pro",
    notes=("Its records are those of `woofipro`, with other names: the two share one book.",),
)
