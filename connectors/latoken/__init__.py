"""LATOKEN, spot: STOMP.

https://api.latoken.com/doc/ws/
A topic is named by the ids of two currencies, and its first message confirms it; nothing else does, and a name that
there is not gets an empty one. The numbers of a topic's messages begin anew with its subscription. The id of that may
not come back on one connection, and by it alone the topic can be left: no topic is left, and a book that has lost its
thread needs a new connection (2026-09, live probes by others).
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import (
    Details,
    Exchange,
    Heartbeat,
    Limits,
    Listing,
    Poll,
    Request,
    Stream,
    Subscription,
)
from aggregator.records import Channel
from aggregator.refusals import coded
from aggregator.sequence import contiguous
from connectors.latoken.frames import parse
from connectors.latoken.rest import API, read_best, read_market, read_pair, rows
from connectors.latoken.wires import BEAT, written

CHANNELS: dict[Channel, str] = {"trades": "trade", "book": "book", "ticker": "ticker"}
CONNECT = written("CONNECT", accept_version="1.1,1.2", heart_beat="5000,5000", host="api.latoken.com")


def topic(s: Subscription) -> str:
    return f"/v1/{CHANNELS[s.channel]}/{s.raw_symbol}"


def subscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    for place, s in enumerate(wanted):
        yield written("SUBSCRIBE", id=f"{id}.{place}", destination=topic(s), ack="auto")


EXCHANGE = Exchange(
    id="latoken",
    docs="https://api.latoken.com",
    checked="2026-09, live probes by others",
    notes=(
        "A market's raw symbol is the ids of its two currencies, which is how its stream knows it.",
        "A whole book holds 100 levels a side; levels beyond come when they change.",
        "Best prices are polled each minute; the stream has none. A ticker has neither high nor low.",
        "Rates (`/v1/rate`) are of no known formula, and are left out.",
        "Candles are had by REST alone, and are not followed.",
        "A pair that is not active is not listed.",
    ),
    trouble=coded("error", "message", busy=("TOO_MANY_REQUESTS",)),
    limits=Limits(weights={"https://api.latoken.com": ((1, 1),)}),
    listing=Listing(
        (Request(f"{API}/ticker"),), rows, read_market, details=(Details(Request(f"{API}/pair"), rows, read_pair),)
    ),
    feeds=(
        Stream(
            url="wss://api.latoken.com/stomp",
            channels=CHANNELS,
            topic=topic,
            login=CONNECT,
            greets=True,
            subscribe=subscribe,
            parse=parse,
            heartbeat=Heartbeat(5, BEAT),
            sequence={"book": contiguous},
            compression="offered",
            per_connection=100,
            batch=1,
            pace=0.02,
            patience=20,
        ),
        Poll(
            name="tickers",
            channels=("bbo",),
            every=60,
            request=lambda _: Request(f"{API}/ticker"),
            parse=read_best,
            many=True,
        ),
    ),
)
