"""Bullish: spot, perpetuals, dated futures and options.

https://docs.exchange.bullish.com
Its documentation promises changes of books, and each frame holds a whole one (probes of its test network, 2026-09).
"""

from collections.abc import Callable, Iterable, Sequence

from aggregator.exchange import Exchange, Heartbeat, Limits, Stream, Subscribe, Subscription
from aggregator.records import Channel, Instrument
from aggregator.refusals import coded
from aggregator.wire import encode
from connectors.bullish.frames import parse
from connectors.bullish.listing import LISTING, REST
from connectors.bullish.wires import DEPTH

WS = "wss://api.exchange.bullish.com/trading-api/v1"
BOOKS: dict[Channel, str] = {"book": "l2Orderbook", "bbo": "l1Orderbook"}
TRADES: dict[Channel, str] = {"trades": "anonymousTrades"}
TICKS: dict[Channel, str] = {"ticker": "tick"}
CONTRACTS: dict[Channel, str] = {**TICKS, "mark_price": "tick", "open_interest": "tick"}
PERPETUALS: dict[Channel, str] = {**CONTRACTS, "funding": "tick"}
OPTIONS: dict[Channel, str] = {**CONTRACTS, "options": "tick"}
INDICES: dict[Channel, str] = {"index_price": "indexPrice"}
PING = b'{"jsonrpc":"2.0","type":"command","method":"keepalivePing","params":{},"id":"0"}'
HAS_INDEX = {"perpetual", "future", "option"}


def stream(name: str, path: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool]) -> Stream:
    word = "assetSymbol" if channels is INDICES else "symbol"

    def topic(s: Subscription) -> tuple[str, str]:
        return channels[s.channel], s.raw_symbol

    def asking(method: str) -> Subscribe:
        def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
            for kind, symbol in dict.fromkeys(map(topic, wanted)):
                params = {"topic": kind, word: symbol}
                yield encode({"jsonrpc": "2.0", "type": "command", "method": method, "params": params, "id": str(id)})

        return ask

    return Stream(
        name=name,
        url=WS + path,
        channels=channels,
        serves=serves,
        named={"index_price": lambda instrument: instrument.index} if channels is INDICES else {},
        topic=topic,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        parse=parse,
        heartbeat=Heartbeat(every=20, frame=PING),  # it closes after a minute without a word
        depth=DEPTH if "book" in channels else None,
        batch=1,  # a request names one topic, and an answer nothing but its number
        patience=60,  # a ping is answered when there is nothing else to say
    )


def kinds(*wanted: str) -> Callable[[Instrument], bool]:
    return lambda instrument: instrument.kind in wanted


EXCHANGE = Exchange(
    id="bullish",
    docs="https://docs.exchange.bullish.com",
    checked="2026-09, live probes of its test network by others; 2026-11, its documentation",
    trouble=coded("errorCode", "message", busy=("96000",)),
    limits=Limits(weights={REST: ((50, 1), (500, 10))}, connections=100),
    listing=LISTING,
    feeds=(
        stream("books", "/market-data/orderbook", BOOKS, kinds("spot", *HAS_INDEX)),
        stream("trades", "/market-data/trades", TRADES, kinds("spot", *HAS_INDEX)),
        stream("perpetuals", "/market-data/tick", PERPETUALS, kinds("perpetual")),
        stream("futures", "/market-data/tick", CONTRACTS, kinds("future")),
        stream("options", "/market-data/tick", OPTIONS, kinds("option")),
        stream("spot", "/market-data/tick", TICKS, kinds("spot")),
        stream("indices", "/index-data", INDICES, kinds(*HAS_INDEX)),
    ),
    notes=(
        "A book is whole each time; its number (`sequence`) grows by no fixed step.",
        "The side of a trade that is told as the maker's is turned. Trades agreed outside of the book are `block`.",
        "Funding is exchanged each full hour.",
        "An index is of an asset in US dollars, told under each contract of that asset.",
        "Some countries are answered by HTTP 403 on every path.",
        "Candles come by REST alone, for times that must be named: they are left out.",
    ),
)
