"""Coinmate, spot: whole books, trades and statistics, by version 2 of its stream.

https://coinmate.docs.apiary.io/
Its documentation of February 2026 does not say how the answer to a pair that there is not looks: an error names
nothing, so topics are asked for one by one. Version 1, where an address names its market and no frame does, is spoken
still: captures of it are read.
"""

from collections.abc import Sequence

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Poll, Request, Snapshot, Stream, Subscription
from aggregator.wire import at
from connectors.coinmate.frames import CHANNELS, PATHS, PING, ask, parser, parser_of_one, topic
from connectors.coinmate.rest import API, read_pair, read_quotations, read_whole, trouble

SOCKET = "wss://coinmate.io/api/websocket"
WHOLE = Snapshot(
    request=lambda pair: Request(f"{API}/orderBook?currencyPair={pair}&groupByPriceLimit=True"),
    parse=read_whole,
    in_band=True,
)


def address(wanted: Sequence[Subscription]) -> str:
    return f"{SOCKET}/channel/" + "".join(f"{PATHS[s.channel]}/{s.raw_symbol}" for s in wanted[:1])


EXCHANGE = Exchange(
    id="coinmate",
    docs="https://coinmate.docs.apiary.io/",
    checked="2026-11, its documentation of February 2026 and clients; nothing was seen live",
    trouble=trouble,
    notes=(
        "The book comes whole each time, without a time or a number; its depth is not documented.",
        "Trades have no id: those of the first message are from before, and what the message before held is left out.",
        "The side of a trade is the taker's, as the documentation says of a user's own; of others it does not say.",
        "The open of its statistics is that of the day, not of 24 hours, and is left out.",
        "The best prices are asked for, and have no sizes. It has no candles.",
        "The listing has no states.",
        "Captures of version 1 of its stream are read; no frame of it names its market.",
    ),
    limits=Limits(weights={API: ((100, 60),)}),
    listing=Listing((Request(f"{API}/tradingPairs"),), at("data"), read_pair),
    feeds=(
        Stream(
            url=SOCKET,
            channels=CHANNELS,
            topic=topic,
            subscribe=ask("subscribe"),
            unsubscribe=ask("unsubscribe"),
            parser=parser,
            heartbeat=Heartbeat(20, PING),
            snapshot=WHOLE,
            batch=1,
        ),
        Stream(
            name="version_1",
            url=address,
            until="2026-02-20",  # the day of the documentation that this goes by; both versions stand in it
            channels=CHANNELS,
            parser=parser_of_one,
            snapshot=WHOLE,
            one_market=True,
            acknowledges=False,
        ),
        Poll(
            name="bbo",
            channels=("bbo",),
            every=10,
            request=lambda _: Request(f"{API}/tickerAll"),
            parse=read_quotations,
            many=True,
        ),
    ),
)
