"""HashKey Global: spot pairs and perpetual contracts, in BHEX's protocol. Best prices are on version 2 of its socket.

https://hashkeyglobal-apidoc.readme.io
"""

from aggregator.exchange import Exchange, Heartbeat, Limits, Stream
from aggregator.refusals import coded
from connectors.families import bhex
from connectors.hashkey.frames import asking, parse
from connectors.hashkey.rest import FUNDING, INDEX, LISTING, REST

WS = "wss://stream-glb.hashkey.com/quote/ws"

EXCHANGE = Exchange(
    id="hashkey",
    docs="https://hashkeyglobal-apidoc.readme.io",
    checked="2026-09, live probes by others",
    trouble=coded("code", "msg", fine=("0", "200"), busy=("-1003",)),
    limits=Limits(weights={REST: ((600, 60),)}),
    listing=LISTING,
    feeds=(
        bhex.stream(f"{WS}/v1"),
        Stream(
            name="best",
            url=f"{WS}/v2",
            channels={"bbo": "bbo"},
            topic=lambda s: ("bbo", s.raw_symbol),
            subscribe=asking("sub"),
            unsubscribe=asking("cancel"),
            parse=parse,
            heartbeat=Heartbeat(every=10, frame=bhex.ping),  # without, it closes after half a minute
            patience=35,
        ),
        FUNDING,
        INDEX,
    ),
    notes=(
        "Sizes of contracts count contracts; their turnover is not told, because nobody says what it counts.",
        "Each frame of a book holds it whole, up to 200 levels a side, about three times a second.",
        "The funding rate is that of the running interval of eight hours, exchanged at `ts_next`.",
        "A market that is delisted is served in silence.",
    ),
)
