"""The past of Hyperliquid by REST: candles, of which the latest five thousand are there. It has no trades of the past.

https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint#candle-snapshot
The oldest comes first, and both ends of a range are within it. An answer costs 20, and one more for each 60 candles.
"""

from collections.abc import Iterable

from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import MS_NS, Candle
from aggregator.wire import encode, number
from connectors.hyperliquid.listing import INFO
from connectors.hyperliquid.wires import BarWire

MOST, DEEPEST = 500, 5000
WEIGHT = 20 + -(-MOST // 60)
INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "3d", "1w")

decode_bars = Decoder(list[BarWire], float_hook=number).decode


def candles(page: Page) -> Request:
    between = {"startTime": page.start // MS_NS, "endTime": (page.end - 1) // MS_NS}
    asked = {"type": "candleSnapshot", "req": {"coin": page.raw_symbol, "interval": page.interval, **between}}
    return Request(INFO, method="POST", body=encode(asked), weight=WEIGHT, headers={"Content-Type": "application/json"})


def read_candles(_: Page, body: bytes) -> Iterable[Candle]:
    return [bar.record() for bar in decode_bars(body)]


HISTORY = (
    PastPages(channel="candles", request=candles, parse=read_candles, most=MOST, deepest=DEEPEST, intervals=INTERVALS),
)
