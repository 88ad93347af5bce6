"""Binance spot as the exchange speaks it; see `connectors/families/binance`."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import MINUTE_NS
from aggregator.simulation import Change, Deal, Heard, Market, Said, Simulation
from aggregator.wire import encode

KINDS = {"trade", "aggTrade", "depth@100ms", "depth", "bookTicker", "ticker", "kline_1m"}


class Asked(Struct):
    method: str
    id: int | str | None = None
    params: list[str] = []


decode = Decoder(Asked).decode


def name(market: Market) -> str:
    return market.base + market.quote


def hear(frame: bytes, markets: Mapping[str, Market], _: int) -> Heard:
    asked = decode(frame)
    known = {raw_symbol.lower() for raw_symbol in markets}
    for topic in asked.params:
        symbol, _at, kind = topic.partition("@")
        if symbol not in known or kind not in KINDS:
            return Heard([encode({"id": asked.id, "error": {"code": 2, "msg": f"Invalid request: {topic}"}})])
    reply = [encode({"result": None, "id": asked.id})]
    if asked.method == "UNSUBSCRIBE":
        return Heard(reply, unsubscribe=asked.params)
    return Heard(reply, subscribe=asked.params)


def say(event: Change | Deal | None, market: Market, wanted: set[str], now: int) -> Iterable[Said]:
    symbol = name(market)
    low = symbol.lower()
    at = now // 1000
    if isinstance(event, Deal):
        data = {
            "e": "trade",
            "E": at,
            "s": symbol,
            "t": event.id,
            "p": event.price,
            "q": event.size,
            "T": event.ts // 1000,
            "m": event.side == "sell",
            "M": True,
        }
        yield _said(f"{low}@trade", "trades", symbol, data, (event.id, event.id))
    elif isinstance(event, Change):
        data = {
            "e": "depthUpdate",
            "E": at,
            "s": symbol,
            "U": event.first,
            "u": event.last,
            "b": event.bids,
            "a": event.asks,
        }
        yield _said(f"{low}@depth@100ms", "book", symbol, data, (event.first, event.last))
    else:
        (bid, bid_size), (ask, ask_size) = market.best()
        best = {"u": market.update, "s": symbol, "b": bid, "B": bid_size, "a": ask, "A": ask_size}
        yield Said(f"{low}@bookTicker", "bbo", symbol, _combined(f"{low}@bookTicker", best), detectable=False)
        if f"{low}@ticker" in wanted:
            yield Said(
                f"{low}@ticker", "ticker", symbol, _combined(f"{low}@ticker", _ticker(market, at)), detectable=False
            )
        if market.bar is not None and f"{low}@kline_1m" in wanted:
            yield Said(
                f"{low}@kline_1m", "candles", symbol, _combined(f"{low}@kline_1m", _kline(market, at)), detectable=False
            )


def _said(topic: str, channel: str, symbol: str, data: object, numbers: tuple[int, int]) -> Said:
    return Said(topic, channel, symbol, _combined(topic, data), numbers)  # type: ignore[arg-type]


def _combined(stream: str, data: object) -> bytes:
    return encode({"stream": stream, "data": data})


def _ticker(market: Market, at: int) -> dict[str, object]:
    (bid, bid_size), (ask, ask_size) = market.best()
    volume = f"{market.volume:.8f}"
    return {
        "e": "24hrTicker",
        "E": at,
        "s": name(market),
        "p": "0.00000000",
        "P": "0.000",
        "w": market.last,
        "x": market.last,
        "c": market.last,
        "Q": bid_size,
        "b": bid,
        "B": bid_size,
        "a": ask,
        "A": ask_size,
        "o": market.last,
        "h": market.last,
        "l": market.last,
        "v": volume,
        "q": volume,
        "O": at - 86_400_000_000,
        "C": at,
        "F": 500_001,
        "L": market.trade_id,
        "n": market.trade_id - 500_000,
    }


def _kline(market: Market, at: int) -> dict[str, object]:
    bar = market.bar
    assert bar is not None  # noqa: S101 - the caller has looked
    start = bar.start // 1000
    volume = f"{bar.volume:.8f}"
    k = {
        "t": start,
        "T": start + MINUTE_NS // 1000 - 1,
        "s": name(market),
        "i": "1m",
        "f": market.trade_id - bar.trades + 1,
        "L": market.trade_id,
        "o": bar.open,
        "c": bar.close,
        "h": bar.high,
        "l": bar.low,
        "v": volume,
        "n": bar.trades,
        "x": False,
        "q": volume,
        "V": volume,
        "Q": volume,
        "B": "0",
    }
    return {"e": "kline", "E": at, "s": name(market), "k": k}


def answer(path: str, query: Mapping[str, str], markets: Mapping[str, Market], now: int) -> tuple[int, bytes]:
    if path.endswith("/exchangeInfo"):
        return 200, encode(
            {"timezone": "UTC", "serverTime": now // 10**6, "symbols": [_listed(m) for m in markets.values()]}
        )
    market = markets.get(query.get("symbol", ""))
    if market is None:
        return 400, encode({"code": -1121, "msg": "Invalid symbol."})
    if path.endswith("/depth"):
        bids, asks = market.levels(int(query.get("limit", "100")))
        return 200, encode({"lastUpdateId": market.update, "bids": bids, "asks": asks})
    if path.endswith("/historicalTrades"):
        first = int(query.get("fromId", "0"))
        return 200, encode([_past(deal) for deal in market.past if deal.id >= first])
    return 404, encode({"code": -1, "msg": "not simulated"})


def _past(deal: Deal) -> dict[str, object]:
    return {
        "id": deal.id,
        "price": deal.price,
        "qty": deal.size,
        "quoteQty": str(Decimal(deal.price) * Decimal(deal.size)),
        "time": deal.ts // 10**6,
        "isBuyerMaker": deal.side == "sell",
        "isBestMatch": True,
    }


def _listed(market: Market) -> dict[str, object]:
    return {
        "symbol": name(market),
        "status": "TRADING",
        "baseAsset": market.base,
        "quoteAsset": market.quote,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": market.price(1)},
            {"filterType": "LOT_SIZE", "minQty": market.size(1), "maxQty": "9000.0", "stepSize": market.size(1)},
        ],
    }


SIMULATION = Simulation(
    hosts=("wss://stream.binance.com:9443", "https://api.binance.com"),
    markets=(
        ("BTC", "USDT", 67123.45, (2, 5)),
        ("ETH", "USDT", 2611.3, (2, 4)),
        ("SOL", "USDT", 151.07, (2, 3)),
        ("XRP", "USDT", 0.5312, (4, 1)),
    ),
    name=name,
    hear=hear,
    say=say,
    answer=answer,
    idle=b'{"result":null,"id":0}',
    farewell=b'{"e":"serverShutdown","E":1770123456789}',
)
