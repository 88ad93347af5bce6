"""Mudrex: the prices of its perpetuals in USDT, which are Bybit's. It has no public books and no trades.

https://docs.trade.mudrex.com/docs/websocket-streams
https://docs.trade.mudrex.com/docs/get-asset-listing
Prices are public; which markets there are is told only to who shows the key of an account. All markets are one topic
of the socket, whose request names them. The candle of a second is that of the running minute, so it is left out.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import Exchange, Heartbeat, Keys, Limits, Stream, Subscribe, Subscription
from aggregator.records import Channel
from aggregator.wire import encode
from connectors.mudrex.frames import TICKER, parse
from connectors.mudrex.history import HISTORY
from connectors.mudrex.listing import API, LISTING, trouble

WS = "wss://trade.mudrex.com/fapi/v1/price/ws/linear"
PRICES: dict[Channel, str] = {"ticker": TICKER, "mark_price": TICKER}
CANDLES: dict[Channel, str] = {"candles": "kline"}


def prices(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        names = list(dict.fromkeys(s.raw_symbol.lower() for s in wanted))
        yield encode({"id": id, "method": method, "params": [TICKER], "assets": names})

    return ask


def candles(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        names = [f"kline@{s.interval}@{s.raw_symbol.lower()}" for s in wanted]
        yield encode({"id": id, "method": method, "params": names})

    return ask


# Only frames of ours count: without one in 40 seconds the exchange closes the connection.
BEAT = Heartbeat(every=20, frame=b'{"id":0,"method":"LIST_SUBSCRIPTIONS"}')

EXCHANGE = Exchange(
    id="mudrex",
    docs="https://docs.trade.mudrex.com/docs/websocket-streams",
    checked="2026-09, live probes of its socket by others; 2026-11, its documentation for the list",
    trouble=trouble,
    limits=Limits(weights={API: ((300, 60),)}, connects=(10, 60)),
    keys=Keys(fields={"secret": "API secret"}, page="https://docs.trade.mudrex.com/docs/overview"),
    listing=LISTING,
    history=HISTORY,
    feeds=(
        Stream(
            name="prices",
            url=WS,
            channels=PRICES,
            topic=lambda s: s.raw_symbol,
            subscribe=prices("SUBSCRIBE"),
            unsubscribe=prices("UNSUBSCRIBE"),
            parse=parse,
            heartbeat=BEAT,
            per_connection=2000,
            batch=2000,
        ),
        Stream(
            name="candles",
            url=WS,
            channels=CANDLES,
            subscribe=candles("SUBSCRIBE"),
            unsubscribe=candles("UNSUBSCRIBE"),
            parse=parse,
            heartbeat=BEAT,
            per_connection=15,
            batch=1,  # a request is refused whole
        ),
    ),
    notes=(
        "Its prices are those of Bybit, marks up to four seconds late: it has no book, no trades and no index.",
        "Without the secret of an account nothing is listed, so that nothing can be followed.",
        "Neither last prices nor marks have a time. A candle comes once, when its minute is over.",
        "A market that it does not know is accepted, and stays silent.",
        "Funding is in the list alone, in a unit that is not said: it is not told.",
    ),
)
