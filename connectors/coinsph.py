"""Coins.ph, spot: Binance's protocol, but no frame is wrapped in the name of its stream.

https://docs.coins.ph/web-socket-streams/
"""

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Request
from aggregator.records import HOUR_S, MS_NS
from aggregator.sequence import Rule, contiguous, ordered
from aggregator.wire import at, encode
from connectors.families.binance import stream
from connectors.families.binance.rest import read_symbol, snapshot, trouble

REST = "https://api.pro.coins.ph/openapi"
# Numbers are counted over the whole exchange: the first change may begin far behind a whole book, and nothing is lost.
LATE_START = Rule("late start", ordered.joins, contiguous.follows)

EXCHANGE = Exchange(
    id="coinsph",
    docs="https://docs.coins.ph/web-socket-streams/",
    checked="2026-09, live probes by others: of books and best prices; 2026-11, its documentation of the stream",
    trouble=trouble,
    limits=Limits(lifetime=24 * HOUR_S, weights={REST: ((120, 60),)}),
    listing=Listing((Request(f"{REST}/v1/exchangeInfo"),), at("symbols"), read_symbol),
    feeds=(
        stream(
            "main",
            "wss://wsapi.pro.coins.ph/openapi/quote/stream",
            snapshot(f"{REST}/quote/v1", depth=200, weight=1),
            book=LATE_START,
            heartbeat=Heartbeat(every=120, frame=lambda now: encode({"ping": now // MS_NS})),  # at least every 300 s
            patience=100,  # the exchange pings every 30 s
        ),
    ),
    notes=(
        "A buyer who was the maker means that the taker sold, as documented; ccxt 4.5.90 reads it the other way round.",
        "A market that is paused or unknown is confirmed like any other, and then silent.",
        "Whole books are had of 200 levels a side, at 120 requests a minute for all that is asked by REST.",
        "Ids of trades are not consecutive, so that missed trades cannot be told.",
    ),
)
