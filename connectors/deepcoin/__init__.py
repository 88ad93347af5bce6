"""Deepcoin: spot pairs, and perpetual contracts in USDT and in coins, by the first version of its protocol.

https://www.deepcoin.com/docs/publicWS/public
https://www.deepcoin.com/docs/publicWS/LevelIncrementalMarketData
The name of a book ends with the step of its prices, spelled as in the list of instruments. Books are not numbered, and
now and then a change is dropped where a connection carries many; a request that is repeated brings a whole book.
"""

from collections.abc import Callable, Iterable, Sequence

from aggregator.exchange import Exchange, Heartbeat, Limits, Older, Stream, Subscription
from aggregator.records import Channel, Instrument
from aggregator.refusals import coded
from aggregator.wire import encode
from connectors.deepcoin.frames import BOOK, DEPTH, TOPICS, parser, topic
from connectors.deepcoin.history import HISTORY
from connectors.deepcoin.listing import API, LISTING, book_name, wire_name

WS = "wss://stream.deepcoin.com/streamlet/trade/public/{}?platform=api"
BOTH: dict[Channel, str] = {channel: TOPICS[channel] for channel in ("trades", "ticker", "bbo", "candles")}
CONTRACTS: dict[Channel, str] = {
    **BOTH,
    **{channel: TOPICS[channel] for channel in ("funding", "mark_price", "index_price", "liquidations")},
}


def subscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    for s in wanted:
        number, name = topic(s)
        action = {"Action": "1", "FilterValue": name, "LocalNo": id, "ResumeNo": -1, "TopicID": number}
        if not name:
            action = {"Action": "1", "LocalNo": id, "TopicID": number}
        yield encode({"SendTopicAction": action})


def leave(_: Sequence[Subscription], __: int) -> Iterable[bytes]:
    """Say nothing: no request to leave is taken, and one that is repeated brings a whole book and no second stream."""
    return ()


def stream(name: str, path: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool]) -> Stream:
    is_book = channels is BOOK
    return Stream(
        name=name,
        url=WS.format(path),
        compression="offered",
        channels=channels,
        serves=serves,
        named=dict.fromkeys(channels, book_name if is_book else wire_name),
        topic=topic,
        subscribe=subscribe,
        unsubscribe=leave,
        parser=parser,
        heartbeat=Heartbeat(every=10, frame=b"ping"),
        depth=DEPTH if is_book else None,
        per_connection=35 if is_book else 200,
        batch=1,  # a list is confirmed, and its first name alone is served
        patience=25,  # a ping is answered when there is nothing else to say
    )


EXCHANGE = Exchange(
    id="deepcoin",
    older=(
        Older(
            channels=("trades", "book", "ticker", "candles", "mark_price", "index_price", "funding", "open_interest")
        ),
    ),
    docs="https://www.deepcoin.com/docs",
    checked="2026-09, live probes of contracts by others; 2026-11, its documentation and DeepCoin.Net for the rest",
    trouble=coded("code", "msg", fine=("0",), busy=("429",)),
    limits=Limits(weights={API: ((10, 1), (600, 60))}, connections=10),
    listing=LISTING,
    history=HISTORY,
    feeds=(
        stream("spot-books", "spot", BOOK, lambda i: i.kind == "spot"),
        stream("spot", "spot", BOTH, lambda i: i.kind == "spot"),
        stream("contract-books", "swap", BOOK, lambda i: i.kind == "perpetual"),
        stream("contracts", "swap", CONTRACTS, lambda i: i.kind == "perpetual"),
    ),
    notes=(
        f"Books have {DEPTH} levels a side and no numbers: a change that is lost is seen where the book crosses alone.",
        "Sizes of contracts count contracts. Liquidations are of all contracts, and not said to be all of them.",
        "Best prices come with the ticker, without sizes, and so do marks, indices and funding.",
        "The ticker is of the day; its volumes are told of contracts, those of coins in contracts alone.",
        "Candles are of one minute alone. Trades have times in whole seconds.",
        "What is not wanted any more comes on until the connection ends: no request to leave is taken.",
    ),
)
