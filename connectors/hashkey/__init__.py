"""HashKey Global: spot pairs and perpetual contracts, in the protocol of BHEX (Bluehelix).

https://hashkeyglobal-apidoc.readme.io/reference/websocket-v1
One socket serves pairs and contracts, and confirms nothing: the first frame of a topic is the answer. Best prices are
on version 2 of it.
"""

from collections.abc import Iterable, Mapping, Sequence

from aggregator.exchange import Exchange, Heartbeat, Limits, Stream, Subscribe, Subscription
from aggregator.records import HOUR_S, MS_NS, Channel
from aggregator.refusals import BANNED, coded
from aggregator.wire import encode, symbols_by
from connectors.families.bhex.listing import listing
from connectors.hashkey.best_frames import asking as asking_best
from connectors.hashkey.best_frames import parse as parse_best
from connectors.hashkey.best_frames import parse_data
from connectors.hashkey.rest import FUNDING, INDEX, REST, SUFFIX

WS = "wss://stream-glb.hashkey.com/quote/ws"
CHANNELS: Mapping[Channel, str] = {
    "trades": "trade",
    "book": "depth",
    "ticker": "realtimes",
    "candles": "kline_",
}
MARKS: Mapping[Channel, str] = {"mark_price": "markPrice"}


def ping(now: int) -> bytes:
    return encode({"ping": now // MS_NS})


def word(s: Subscription) -> str:
    return CHANNELS[s.channel] + s.interval if s.channel == "candles" else {**CHANNELS, **MARKS}[s.channel]


def asking(event: str) -> Subscribe:
    """One frame for each topic, with all of its symbols."""

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for topic, symbols in symbols_by(word, wanted).items():
            yield encode(
                {"symbol": ",".join(symbols), "topic": topic, "event": event, "params": {"binary": False}, "id": id}
            )

    return ask


EXCHANGE = Exchange(
    id="hashkey",
    docs="https://hashkeyglobal-apidoc.readme.io",
    checked="2026-09, live probes by others",
    trouble=coded("code", "msg", fine=("0", "200"), busy=("-1003",), until=BANNED),
    limits=Limits(weights={REST: ((600, 60),)}),
    listing=listing(REST, suffix=SUFFIX, interval_s=8 * HOUR_S),
    feeds=(
        Stream(
            url=f"{WS}/v1",
            channels={**CHANNELS, **MARKS},
            subscribe=asking("sub"),
            unsubscribe=asking("cancel"),
            parse=parse_data,
            heartbeat=Heartbeat(every=10, frame=ping),
            depth=200,
            patience=35,  # each ping is answered
            acknowledges=False,
        ),
        Stream(
            name="best",
            url=f"{WS}/v2",
            channels={"bbo": "bbo"},
            topic=lambda s: ("bbo", s.raw_symbol),
            subscribe=asking_best("sub"),
            unsubscribe=asking_best("cancel"),
            parse=parse_best,
            heartbeat=Heartbeat(every=10, frame=ping),  # without, it closes after half a minute
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
