"""Futures of the Binance protocol: linear ones (USDⓈ-M) and inverse ones (COIN-M).

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Important-WebSocket-Change-Notice
Since April 2026 books and best prices of linear futures come over `/public`, all else over `/market`; the address
without a path accepts every subscription and stays silent. That of inverse ones has no paths.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from aggregator.exchange import Exchange, Limits, Stream, Subscribe, Subscription, every_instrument
from aggregator.records import HOUR_S, Channel, Instrument
from aggregator.sequence import Rule, contiguous, linked
from aggregator.wire import encode
from connectors.families.binance import history
from connectors.families.binance.futures_frames import parser
from connectors.families.binance.futures_rest import backfill, listing, open_interest, snapshot
from connectors.families.binance.rest import trouble

PUBLIC: Mapping[Channel, str] = {
    "book": "depth@100ms",
    "bbo": "bookTicker",
}
MARKET: Mapping[Channel, str] = {
    "trades": "aggTrade",
    "ticker": "ticker",
    "candles": "kline_",
    "funding": "markPrice@1s",
    "mark_price": "markPrice@1s",
    "index_price": "markPrice@1s",
    "liquidations": "forceOrder",
    "status": "!contractInfo",  # one stream of all contracts
}
NOTES = (
    "A trade is what one side took at one price within 100 ms.",
    "Trades of the insurance fund and of auto-deleveraging are not told.",
    "Of liquidations only the last of each second is told by contract; price and size are of what was filled.",
    "The funding rate is that of the running interval, exchanged at `ts_next`.",
    "How long that is is said of contracts whose interval, cap or floor was adjusted once; of others it is null.",
    "Orders for retail price improvement (RPI) are in trades, but not in books.",
)
LINEAR_NOTES = ("Sizes are of the base asset.",)
INVERSE_NOTES = (
    "Sizes count contracts; volumes are of the base asset, and what they are in the quote asset is not said.",
)


def topic(s: Subscription) -> str:
    if s.channel == "status":
        return MARKET["status"]
    name = PUBLIC.get(s.channel) or MARKET[s.channel]
    return f"{s.raw_symbol.lower()}@{name}{s.interval if s.channel == 'candles' else ''}"


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield encode({"method": method, "params": list(dict.fromkeys(map(topic, wanted))), "id": id})

    return ask


def stream(
    name: str,
    url: str,
    rest: str,
    channels: Mapping[Channel, str],
    *,
    inverse: bool = False,
    book: Rule = linked,
    serves: Callable[[Instrument], bool] = every_instrument,
    per_connection: int = 1024,
    pace: float = 0.15,  # ten incoming messages a second are allowed, pongs among them
    patience: float = 200,  # the exchange pings every three minutes
) -> Stream:
    """Declare an address and which channels it carries; whole books and past trades come by REST."""
    has_book, has_trades = "book" in channels, "trades" in channels
    rules: dict[Channel, Rule] = {"book": book, "trades": contiguous}
    return Stream(
        name=name,
        url=url,
        channels=channels,
        serves=serves,
        subscribe=asking("SUBSCRIBE"),
        unsubscribe=asking("UNSUBSCRIBE"),
        parse=parser(inverse=inverse),
        snapshot=snapshot(rest) if has_book else None,
        sequence={channel: rule for channel, rule in rules.items() if channel in channels},
        backfill=backfill(rest, inverse=inverse) if has_trades else None,
        per_connection=per_connection,
        batch=100,
        pace=pace,
        patience=patience,
    )


def exchange(id: str, *, docs: str, checked: str, ws: str, rest: str, inverse: bool = False) -> Exchange:
    """Declare an exchange of linear futures, whose streams come over two paths, or of inverse ones."""
    feeds = (
        (stream("main", f"{ws}/stream", rest, {**PUBLIC, **MARKET}, inverse=True, per_connection=200),)
        if inverse
        else (
            stream("public", f"{ws}/public/stream", rest, PUBLIC),
            stream("market", f"{ws}/market/stream", rest, MARKET),
        )
    )
    return Exchange(
        id=id,
        docs=docs,
        checked=checked,
        trouble=trouble,
        limits=Limits(
            lifetime=24 * HOUR_S,
            weights={rest: ((2400, 60),), f"{rest}/fundingInfo": ((500, 300),)},
            connects=(300, 300),
        ),
        listing=listing(rest),
        feeds=(*feeds, open_interest(rest, inverse=inverse)),
        history=history.futures(rest, inverse=inverse),
        notes=(*(INVERSE_NOTES if inverse else LINEAR_NOTES), *NOTES),
    )
