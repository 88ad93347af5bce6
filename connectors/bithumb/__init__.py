"""Bithumb, generation 2 of its interface; frames of the first are read as well.

https://apidocs.bithumb.com/reference
"""

from aggregator.exchange import Limits
from connectors.bithumb import legacy
from connectors.families import upbit

EXCHANGE = upbit.exchange(
    "bithumb",
    docs="https://apidocs.bithumb.com/reference",
    stream="wss://ws-api.bithumb.com/websocket/v1",
    markets="https://api.bithumb.com/v1/market/all?isDetails=true",
    limits=Limits(weights={"https://api.bithumb.com/v1": ((150, 1),)}, connects=(10, 1)),
    depth=15,  # 30 until 2026
    has_candles=False,
    checked="2026-09, live probes by others",
    notes=("Sizes have four decimals: a level whose size is rounded to nothing is left out, be it the best one.",),
    older=legacy.parse,
)
