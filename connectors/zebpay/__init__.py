"""ZebPay: perpetuals in USDT and rupees, by Socket.IO; pairs by polling.

https://github.com/zebpay/zebpay-api-references
The socket is that of its web page, which the documentation does not name. Its perpetuals relay those of Binance: prices
are moved a few steps away, those in rupees multiplied. A name that it does not know stays silent.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import Exchange, Limits, Listing, Request, Stream, Subscribe, Subscription
from aggregator.records import Channel
from aggregator.refusals import coded
from aggregator.wire import at
from connectors.families.socketio import emit, packets
from connectors.zebpay import rest
from connectors.zebpay.frames import DEPTH, read
from connectors.zebpay.history import HISTORY
from connectors.zebpay.listing import CYCLES, read_market

CHANNELS: dict[Channel, str] = {
    "trades": "aggTrade",
    "book": f"depth{DEPTH}",
    "ticker": "ticker",
    "mark_price": "markPrice",
    "index_price": "markPrice",
    "funding": "markPrice",
}


def topic(s: Subscription) -> str:
    return f"{s.raw_symbol.lower()}@{CHANNELS[s.channel]}"


def asking(event: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        yield emit(event, {"params": list(map(topic, wanted))})

    return ask


EXCHANGE = Exchange(
    id="zebpay",
    docs="https://github.com/zebpay/zebpay-api-references",
    checked="2026-09, live probes of perpetuals by others; 2026-11, its documentation for pairs",
    trouble=coded("statusCode", "statusDescription", fine=("200",), busy=("429",)),
    limits=Limits(weights={rest.FUTURES: ((180, 60),), rest.SPOT: ((1200, 60),)}),
    listing=Listing(
        (Request(f"{rest.FUTURES}/market/markets"), Request(f"{rest.SPOT}/ex/exchangeInfo")),
        at("data", "symbols"),
        read_market,
        details=(CYCLES,),
    ),
    history=HISTORY,
    feeds=(
        Stream(
            name="perpetuals",
            url="wss://futuresws.zebpay.com/socket.io/?EIO=4&transport=websocket",
            channels=CHANNELS,
            serves=lambda i: i.kind == "perpetual",
            topic=topic,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parse=packets(read),
            greets=True,
            depth=DEPTH,
            per_connection=400,
            batch=200,
            acknowledges=False,
        ),
        *rest.POLLS,
    ),
    notes=(
        "Its perpetuals are those of Binance, with prices a few steps away: it is no market of its own.",
        f"A book of a perpetual is whole each time, of {DEPTH} levels a side, twice a second.",
        "Sizes of perpetuals are of the base asset, so one contract is one of it.",
        "What it does not know, or trades no more, stays silent: nothing is confirmed or refused.",
        "Of pairs, and of the candles of perpetuals, nothing is streamed. Candles are of one minute alone.",
        "Books of pairs have times in whole seconds.",
    ),
)
