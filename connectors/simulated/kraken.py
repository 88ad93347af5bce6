"""Kraken, WebSocket version 2, as the exchange speaks it; see `connectors/kraken.py`.

Numbers are JSON numbers with all their decimals, so frames are put together as text. A book topic is of one depth
(`book.100:BTC/USD`), and what lies beyond that depth is not spoken of.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from zlib import crc32

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import Levels
from aggregator.simulation import Change, Deal, Heard, Market, Said, Simulation
from aggregator.wire import encode, is_zero

DEPTHS = {10, 25, 100, 500, 1000}
REST_CODES = {"BTC": "XBT", "DOGE": "XDG"}
CHANNELS = {"trade", "book", "ticker", "ohlc"}


class Params(Struct):
    channel: str = ""
    symbol: list[str] = []
    depth: int = 10
    interval: int = 1


class Asked(Struct):
    method: str
    req_id: int | None = None
    params: Params | None = None


decode = Decoder(Asked).decode


def name(market: Market) -> str:
    return f"{market.base}/{market.quote}"


def iso(ts: int) -> str:
    return f"{datetime.fromtimestamp(ts // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{ts // 1000 % 10**6:06d}Z"


def hear(frame: bytes, markets: Mapping[str, Market], now: int) -> Heard:
    asked = decode(frame)
    if asked.method == "ping":
        return Heard([encode({"method": "pong", "req_id": asked.req_id, "time_in": iso(now), "time_out": iso(now)})])
    params = asked.params or Params()
    replies, topics, first = [], [], []
    for symbol in params.symbol:
        about: dict[str, object] = {
            "method": asked.method,
            "req_id": asked.req_id,
            "time_in": iso(now),
            "time_out": iso(now),
        }
        if symbol not in markets or params.channel not in CHANNELS or params.depth not in DEPTHS:
            error = f"Currency pair not supported {symbol}"
            replies.append(encode(about | {"error": error, "success": False, "symbol": symbol}))
            continue
        topic = f"book.{params.depth}:{symbol}" if params.channel == "book" else f"{params.channel}:{symbol}"
        result = {"channel": params.channel, "symbol": symbol, "snapshot": True}
        replies.append(encode(about | {"result": result, "success": True}))
        topics.append(topic)
        if params.channel == "book":
            first.append(_book(topic, markets[symbol], now, "snapshot", *markets[symbol].levels(params.depth)))
    if asked.method == "unsubscribe":
        return Heard(replies, unsubscribe=topics)
    return Heard(replies, subscribe=topics, first=first)


def say(event: Change | Deal | None, market: Market, wanted: set[str], now: int) -> Iterable[Said]:
    symbol = name(market)
    if isinstance(event, Deal):
        text = (
            f'{{"channel":"trade","type":"update","data":[{{"symbol":"{symbol}","side":"{event.side}","price":{event.price},'
            f'"qty":{event.size},"ord_type":"market","trade_id":{event.id},"timestamp":"{iso(event.ts)}"}}]}}'
        )
        yield Said(f"trade:{symbol}", "trades", symbol, text.encode(), (event.id, event.id))
    elif isinstance(event, Change):
        for topic in [topic for topic in wanted if topic.startswith("book.") and topic.endswith(f":{symbol}")]:
            bids, asks = _within(market, event, int(topic[5:].partition(":")[0]))
            if bids or asks:
                yield _book(topic, market, now, "update", bids, asks, (event.first, event.last))
    else:
        if f"ticker:{symbol}" in wanted:
            yield Said(f"ticker:{symbol}", "ticker", symbol, _ticker(market, now), None, detectable=False)
        if f"ohlc:{symbol}" in wanted and market.bar is not None:
            yield Said(f"ohlc:{symbol}", "candles", symbol, _ohlc(market, now), None, detectable=False)


def _within(market: Market, change: Change, depth: int) -> tuple[Levels, Levels]:
    """The change as a subscriber of limited depth hears it: also the levels that come in as others go."""
    return (
        _side(change.bids, market.bids, sorted(market.bids, reverse=True), depth, market.price, market.size),
        _side(change.asks, market.asks, sorted(market.asks), depth, market.price, market.size),
    )


def _side(
    changed: Levels,
    book: Mapping[int, int],
    best_first: list[int],
    depth: int,
    price: Callable[[int], str],
    size: Callable[[int], str],
) -> Levels:
    if not changed:
        return []
    inside = {price(ticks): size(book[ticks]) for ticks in best_first[:depth]}
    gone = [(p, s) for p, s in changed if p not in inside and is_zero(s)]
    edge = list(inside)[-len(gone) :] if gone else []
    heard = dict([(p, s) for p, s in changed if p in inside] + [(p, inside[p]) for p in edge])
    return gone + list(heard.items())


def _book(
    topic: str, market: Market, now: int, kind: str, bids: Levels, asks: Levels, numbers: tuple[int, int] | None = None
) -> Said:
    symbol = name(market)
    text = (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}","bids":[{_levels(bids)}],'
        f'"asks":[{_levels(asks)}],"checksum":{_checksum(market)},"timestamp":"{iso(now)}"}}]}}'
    )
    return Said(topic, "book", symbol, text.encode(), numbers)


def _levels(levels: Levels) -> str:
    return ",".join(f'{{"price":{price},"qty":{size}}}' for price, size in levels)


def _checksum(market: Market) -> int:
    bids, asks = market.levels(10)
    return crc32("".join(text.replace(".", "").lstrip("0") for level in asks + bids for text in level).encode())


def _ticker(market: Market, now: int) -> bytes:
    (bid, bid_size), (ask, ask_size) = market.best()
    return (
        f'{{"channel":"ticker","type":"update","data":[{{"symbol":"{name(market)}","bid":{bid},"bid_qty":{bid_size},'
        f'"ask":{ask},"ask_qty":{ask_size},"last":{market.last},"volume":{market.volume:.8f},"vwap":{market.last},'
        f'"low":{market.last},"high":{market.last},"change":0.0,"change_pct":0.0,"timestamp":"{iso(now)}"}}]}}'
    ).encode()


def _ohlc(market: Market, now: int) -> bytes:
    bar = market.bar
    assert bar is not None  # noqa: S101 - the caller has looked
    return (
        f'{{"channel":"ohlc","type":"update","timestamp":"{iso(now)}","data":[{{"symbol":"{name(market)}",'
        f'"open":{bar.open},"high":{bar.high},"low":{bar.low},"close":{bar.close},"trades":{bar.trades},'
        f'"volume":{bar.volume:.8f},"vwap":{bar.close},"interval_begin":"{iso(bar.start)}","interval":1,'
        f'"timestamp":"{iso(bar.start + 60_000_000_000)}"}}]}}'
    ).encode()


def answer(path: str, query: Mapping[str, str], markets: Mapping[str, Market], __: int) -> tuple[int, bytes]:
    if path.endswith("/AssetPairs"):
        pairs = {market.base + market.quote: _listed(market) for market in markets.values()}
        return 200, encode({"error": [], "result": pairs})
    market = next((m for m in markets.values() if _pair(m) == query.get("pair")), None)
    if path.endswith("/Trades") and market is not None:
        since = int(query.get("since", "0"))
        deals = [_past(deal) for deal in market.past if deal.ts > since]
        last = str(market.past[-1].ts if market.past else since)
        return 200, encode({"error": [], "result": {_pair(market): deals, "last": last}})
    return 404, encode({"error": ["EGeneral:Unknown method"]})


def _pair(market: Market) -> str:
    """A market's name of REST."""
    return REST_CODES.get(market.base, market.base) + market.quote


def _past(deal: Deal) -> list[object]:
    time = Raw(f"{deal.ts // 10**9}.{deal.ts % 10**9:09d}".encode())
    return [deal.price, deal.size, time, deal.side[0], "m", "", deal.id]


def _listed(market: Market) -> dict[str, object]:
    return {
        "altname": market.base + market.quote,
        "wsname": name(market),
        "aclass_base": "currency",
        "base": market.base,
        "aclass_quote": "currency",
        "quote": market.quote,
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": market.price_decimals,
        "lot_decimals": market.size_decimals,
        "lot_multiplier": 1,
        "ordermin": market.size(1),
        "costmin": "0.5",
        "tick_size": market.price(1),
        "status": "online",
    }


STATUS = {"system": "online", "api_version": "v2", "connection_id": 1, "version": "2.0.10"}
SIMULATION = Simulation(
    hosts=("wss://ws.kraken.com", "https://api.kraken.com"),
    markets=(
        ("BTC", "USD", 67110.1, (1, 8)),
        ("ETH", "USD", 2611.02, (2, 8)),
        ("SOL", "USD", 151.08, (2, 8)),
        ("XRP", "USD", 0.53112, (5, 8)),
    ),
    name=name,
    hear=hear,
    say=say,
    answer=answer,
    greeting=(encode({"channel": "status", "type": "update", "data": [STATUS]}),),
    idle=b'{"channel":"heartbeat"}',
)
