"""KuCoin futures.

https://www.kucoin.com/docs-new/3470081w0
"""

from connectors.families import kucoin
from connectors.families.kucoin.rest import contracts, interest

API = "https://api-futures.kucoin.com"

EXCHANGE = kucoin.exchange(
    "kucoinfutures",
    docs="https://www.kucoin.com/docs-new/3470081w0",
    api=API,
    channels=kucoin.FUTURES,
    book="/api/v1/level2/snapshot?symbol=",
    depth=1000,
    listing=contracts(API),
    polls=(interest(API),),
    checked="2026-09, live probes by others",
    notes=("A snapshot has 1000 levels a side, the changes then go as deep as the book.",),
)
