"""BtcTurk, spot.

https://docs.btcturk.com/docs/websocket-feed/models/
Frames are arrays of a model's number and the model. Of the channel `obdiff` the documentation promises the changes
alone; live probes by others (2026-09) found the whole book before them, and no number missing. A pair or a channel that
does not exist is confirmed like any other, and then silent.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import Exchange, Limits, Listing, Request, Stream, Subscribe, Subscription
from aggregator.records import Channel
from aggregator.refusals import coded
from aggregator.sequence import contiguous
from aggregator.wire import at, encode
from connectors.btcturk.frames import RESOLUTIONS, parse
from connectors.btcturk.listing import read_pair

API = "https://api.btcturk.com/api/v2"
CHANNELS: dict[Channel, str] = {
    "trades": "trade",
    "book": "obdiff",
    "bbo": "ticker",
    "ticker": "ticker",
    "candles": "tradeview",
}


def event_of(s: Subscription) -> str:
    return f"{s.raw_symbol}_{RESOLUTIONS.get(s.interval, s.interval)}" if s.channel == "candles" else s.raw_symbol


def topic(s: Subscription) -> str:
    return f"{CHANNELS[s.channel]}:{event_of(s)}"


def asking(*, join: bool) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for s in wanted:
            yield encode([151, {"type": 151, "channel": CHANNELS[s.channel], "event": event_of(s), "join": join}])

    return ask


EXCHANGE = Exchange(
    id="btcturk",
    docs="https://docs.btcturk.com/docs/websocket-feed/models/",
    checked="2026-09, live probes by others",
    trouble=coded("code", "message", fine=("0",), busy=("429",)),
    notes=(
        "A pair that does not exist is confirmed, and then silent.",
        "The book is told about every 0.8 seconds, with 100 levels a side, without a time.",
        "Tickers have no time, and mostly repeat the one before; their daily change is left out, for it is to the ask.",
        "The documentation does not say whose the side of a trade is; by REST the same trades have that of the taker.",
        "A candle is told while it runs; nothing says that it is final.",
    ),
    limits=Limits(connects=(15, 60)),
    listing=Listing((Request(f"{API}/server/exchangeinfo"),), at("data", "symbols"), read_pair),
    feeds=(
        Stream(
            url="wss://ws-feed-pro.btcturk.com/",
            channels=CHANNELS,
            topic=topic,
            subscribe=asking(join=True),
            unsubscribe=asking(join=False),
            parse=parse,
            sequence={"book": contiguous},
            depth=100,
            per_connection=1000,
            batch=100,
            pace=0.01,
            patience=3600,  # a pair may be that quiet, and a line that is dead shows by its pings
        ),
    ),
)
