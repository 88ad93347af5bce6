"""Kraken Futures.

https://docs.kraken.com/exchange/api-reference/futures-websocket
Both addresses of today end on 2027-03-01; the socket that follows is Kraken's unified one, of the family of its spot.
"""

from aggregator.exchange import Exchange, Limits, Stream
from aggregator.sequence import contiguous
from connectors.families.kraken import unified_frames
from connectors.krakenfutures.frames import CHANNELS, asking, parse
from connectors.krakenfutures.history import history
from connectors.krakenfutures.listing import listing, trouble

API = "https://futures.kraken.com/derivatives/api/v3"
END = "2027-03-01"  # API and socket end then: https://docs.kraken.com/exchange/api-reference/futures-rest says

EXCHANGE = Exchange(
    id="krakenfutures",
    docs="https://docs.kraken.com/exchange/api-reference/futures-websocket",
    checked="2026-09, live probes by others; 2026-11, its documentation",
    announced=(
        f"REST v3 and the WebSocket end on {END}; from then on trades, book and ticker come from `uws.kraken.com`.",
    ),
    notes=(
        "What the address that follows has of bbo, funding, open interest, liquidations, mark and index is not known.",
        "No REST listing is announced to follow: from then on the instruments that were last kept on disk are used.",
        "bbo, funding, open interest, mark and index price come with the ticker, at most once a second.",
        "Funding rates are fractions per hour.",
    ),
    limits=Limits(weights={API: ((500, 10),)}, connects=(100, 60), connections=100),
    trouble=trouble,
    listing=listing(API),
    history=history(API),
    feeds=(
        Stream(
            url="wss://futures.kraken.com/ws/v1",
            until=END,
            channels=CHANNELS,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parse=parse,
            sequence={"book": contiguous, "trades": contiguous},
            per_connection=1000,
            pace=0.02,  # a hundred requests a second are allowed
            patience=60,  # the heartbeat is heard every second
        ),
        unified_frames.stream("wss://uws.kraken.com/v2/public", END),
    ),
)
