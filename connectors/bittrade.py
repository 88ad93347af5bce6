"""BitTrade, spot in Japan, in the protocol of HTX.

https://api-doc.bittrade.co.jp
The documentation does not name the topic of the book, `mbp.150`; probes of September 2026 and ccxt 4.5.90 do. A whole
book is of a moment within the span of a change, so the first that follows begins before it.
"""

from aggregator.exchange import Exchange, Limits, Listing, Request
from aggregator.sequence import spanning
from aggregator.wire import at
from connectors.families.htx import stream
from connectors.families.htx.history import candles, trades
from connectors.families.htx.listing import read_instrument, trouble
from connectors.families.htx.wires import SPOT, SPOT_BOOK

HOST = "api-cloud.bittrade.co.jp"
REST = f"https://{HOST}"

EXCHANGE = Exchange(
    id="bittrade",
    docs="https://api-doc.bittrade.co.jp",
    checked="2026-09, live probes of its books by others; 2026-11, ccxt 4.5.90 for the rest",
    trouble=trouble,
    limits=Limits(weights={REST: ((10, 1),)}),
    listing=Listing((Request(f"{REST}/v1/common/symbols"),), at("data"), read_instrument),
    history=(
        trades(f"{REST}/market/history/trade?symbol", lambda _: True),
        candles(f"{REST}/market/history/kline?symbol", lambda _: True, is_spot=True),
    ),
    feeds=(stream("spot", (HOST,), "ws", {**SPOT, **SPOT_BOOK}, lambda _: True, spanning),),
    notes=(
        "Books have 150 levels a side.",
        "Some markets have a book and no trading by API (28 of 45 in September 2026): they are `trading` here.",
    ),
)
