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
    depth=None,
    listing=contracts(API),
    polls=(interest(API),),
    notes=(
        "A settled funding rate is told twice, when settlement begins and when it has ended.",
        "Candles have no volume: what the exchange sends counts contracts.",
    ),
)
