"""Kraken Futures.

https://docs.kraken.com/exchange/api-reference/futures-websocket
"""

from aggregator.exchange import Exchange, Limits, Stream
from aggregator.sequence import contiguous
from connectors.families.krakenfutures import CHANNELS, asking, parse
from connectors.families.krakenfutures.listing import listing

API = "https://futures.kraken.com/derivatives/api/v3"

EXCHANGE = Exchange(
    id="krakenfutures",
    docs="https://docs.kraken.com/exchange/api-reference/futures-websocket",
    notes=(
        "bbo, funding, open interest, mark and index price come with the ticker, at most once a second.",
        "Funding rates are fractions per hour.",
    ),
    limits=Limits(weights={API: ((500, 10),)}, connects=(100, 60)),
    listing=listing(API),
    feeds=(
        Stream(
            url="wss://futures.kraken.com/ws/v1",
            channels=CHANNELS,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parse=parse,
            sequence={"book": contiguous, "trades": contiguous},
            per_connection=1000,
            pace=0.02,  # a hundred requests a second are allowed
            patience=60,  # the heartbeat is heard every second
        ),
    ),
)
