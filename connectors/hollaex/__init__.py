"""HollaEx, spot.

https://apidocs.hollaex.com/#websocket
The server's own source (https://github.com/hollaex/hollaex-kit, April 2026) says more than the documentation: nothing
confirms a topic but its first message; an error names no topic and ends the request that it is in, so that each topic
has a request of its own. Prices of single coins (`price`) are of no market, and are left out.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import (
    Exchange,
    Heartbeat,
    Limits,
    Listing,
    Poll,
    Request,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import Channel
from aggregator.refusals import coded
from aggregator.wire import encode
from connectors.hollaex.rest import read_pair, read_tickers, rows
from connectors.hollaex.wires import parse

API = "https://api.hollaex.com/v2"
CHANNELS: dict[Channel, str] = {"trades": "trade", "book": "orderbook"}


def topic(s: Subscription) -> str:
    return f"{CHANNELS[s.channel]}:{s.raw_symbol}"


def ask(operation: str) -> Subscribe:
    def frames(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for s in wanted:
            yield encode({"op": operation, "args": [topic(s)]})

    return frames


EXCHANGE = Exchange(
    id="hollaex",
    docs="https://apidocs.hollaex.com",
    checked="2026-11, its documentation and its server's source; nobody probed its live wire",
    notes=(
        "A book is sent whole at each change, twenty levels a side, without a number.",
        "Trades have no id; their side is called the taker's by convention, and its documentation does not say.",
        "Tickers are polled, and are of 24 hours. Candles are had by REST alone, and are not followed.",
    ),
    trouble=coded("message"),
    limits=Limits(weights={API: ((2, 1),)}),
    listing=Listing((Request(f"{API}/constants"),), rows, read_pair),
    feeds=(
        Stream(
            url="wss://api.hollaex.com/stream",
            channels=CHANNELS,
            topic=topic,
            subscribe=ask("subscribe"),
            unsubscribe=ask("unsubscribe"),
            parse=parse,
            heartbeat=Heartbeat(25, encode({"op": "ping"})),
            batch=1,
            pace=0.2,  # twenty messages in three seconds are what its server takes
            acknowledges=False,
        ),
        Poll(
            name="tickers",
            channels=("ticker",),
            every=30,
            request=lambda _: Request(f"{API}/tickers"),
            parse=read_tickers,
            many=True,
        ),
    ),
)
