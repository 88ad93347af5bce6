"""Upbit, of South Korea; its houses in Singapore, Indonesia and Thailand have hosts and markets of their own.

https://docs.upbit.com/kr/reference/websocket-guide
"""

from aggregator.exchange import Limits
from connectors.families import upbit

EXCHANGE = upbit.exchange(
    "upbit",
    docs="https://docs.upbit.com/kr/reference/websocket-guide",
    stream="wss://api.upbit.com/websocket/v1",
    markets="https://api.upbit.com/v1/market/all?is_details=true",
    limits=Limits(weights={"https://api.upbit.com/v1": ((10, 1),)}, connects=(5, 1)),
    depth=30,
    has_candles=True,
    checked="2026-09, live probes by others",
)
