"""The protocol of BHEX (Bluehelix), which several exchanges run as their own: version 1 of its socket.

https://hashkeyglobal-apidoc.readme.io/reference/websocket-v1
One socket serves pairs and contracts. Nothing is confirmed: the first frame of a topic is the answer.
"""

from collections.abc import Iterable, Mapping, Sequence

from aggregator.exchange import Heartbeat, Stream, Subscribe, Subscription
from aggregator.records import MS_NS, Channel
from aggregator.wire import encode, symbols_by
from connectors.families.bhex.frames import parse

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


def stream(url: str) -> Stream:
    return Stream(
        url=url,
        channels={**CHANNELS, **MARKS},
        subscribe=asking("sub"),
        unsubscribe=asking("cancel"),
        parse=parse,
        heartbeat=Heartbeat(every=10, frame=ping),
        depth=200,
        patience=35,  # each ping is answered
        acknowledges=False,
    )
