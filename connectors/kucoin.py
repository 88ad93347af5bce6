"""KuCoin spot.

https://www.kucoin.com/docs-new/3470063w0
"""

from connectors.families import kucoin
from connectors.families.kucoin.rest import symbols

API = "https://api.kucoin.com"

EXCHANGE = kucoin.exchange(
    "kucoin",
    docs="https://www.kucoin.com/docs-new/3470063w0",
    api=API,
    channels=kucoin.SPOT,
    book="/api/v1/market/orderbook/level2_100?symbol=",
    depth=100,
    listing=symbols(API),
    checked="2026-09, live probes by others",
    notes=(
        "The whole book needs a key: a snapshot has 100 levels a side, the changes then go as deep as the book.",
        "Captures of the unified address (`x-push-…`) are read too; nothing is asked of it.",
    ),
)
