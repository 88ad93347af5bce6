"""Hyperliquid: perpetuals, those of its builders, and spot, on a chain of its own.

https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket
A subscription to a coin that is not listed, or one that is spelled in other capitals, closes the socket without a word
(live probes of September 2026). Whole books come: by default 20 levels a side every five seconds (the
documentation's half a second is older than July 2026), `fast` ones of five levels twice a second.
"""

from collections.abc import Callable, Iterable, Sequence

from aggregator.exchange import Exchange, Heartbeat, Limits, Stream, Subscribe, Subscription
from aggregator.records import Channel, Instrument
from aggregator.wire import encode
from connectors.hyperliquid.frames import CHANNELS, OF_CONTRACTS, parse, topic
from connectors.hyperliquid.history import HISTORY
from connectors.hyperliquid.listing import INFO, LISTING


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for kind, coin, interval in dict.fromkeys(map(topic, wanted)):
            subscription: dict[str, object] = {"type": kind, "coin": coin}
            if interval:
                subscription["interval"] = interval
            if kind == "l2Book":
                subscription["fast"] = True
            yield encode({"method": method, "subscription": subscription})

    return ask


def stream(name: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool]) -> Stream:
    return Stream(
        name=name,
        url="wss://api.hyperliquid.xyz/ws",
        channels=channels,
        serves=serves,
        topic=topic,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        parse=parse,
        tells_past=("trades",),
        heartbeat=Heartbeat(every=30, frame=b'{"method":"ping"}'),
        per_connection=100,  # an address may have a thousand topics, and ten connections
        pace=0.05,
        hangs_up=True,
        patience=70,  # a ping is answered even when nothing else is to be said
    )


EXCHANGE = Exchange(
    id="hyperliquid",
    docs="https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket",
    checked="2026-09, live probes by others; 2026-11, ccxt 4.5.90",
    limits=Limits(weights={INFO: ((1200, 60),)}, connects=(30, 60), connections=10, requests=(2000, 60)),
    listing=LISTING,
    history=HISTORY,
    feeds=(
        stream("main", CHANNELS, lambda i: i.kind == "perpetual"),
        stream("spot", {c: name for c, name in CHANNELS.items() if c not in OF_CONTRACTS}, lambda i: i.kind == "spot"),
    ),
    notes=(
        "A book is whole each time: five levels a side, twice a second. Its numbers and a checksum do not exist.",
        "The id of a trade is the exchange's number of it (`tid`), unique together with time and symbol.",
        "Funding is exchanged each hour; the rate is a fraction of the running hour.",
        "An index price is the oracle's. What is told of a coin once a second (ticker, prices, funding) has no time.",
        "Liquidations have no public channel. The state of a market is known from the listing alone.",
        "A price has five significant figures at most, so that its step may be larger than the listing's.",
        "Outcome markets (`#10`) are left out. `k` before a name stands for a thousand (`kPEPE`).",
    ),
)
