"""OKX, version 5, as the exchange speaks it; see `connectors/families/okx.py`."""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import Levels
from aggregator.simulation import Change, Deal, Heard, Market, Said, Simulation
from aggregator.wire import encode, is_zero

CHANNELS = {"trades", "books", "bbo-tbt", "tickers", "candle1m"}


class Arg(Struct):
    channel: str
    instId: str = ""


class Asked(Struct):
    op: str
    args: list[Arg] = []
    id: str | None = None


decode = Decoder(Asked).decode


def name(market: Market) -> str:
    return f"{market.base}-{market.quote}"


def hear(frame: bytes, markets: Mapping[str, Market], now: int) -> Heard:
    if frame == b"ping":
        return Heard([b"pong"])
    asked = decode(frame)
    replies, topics, first = [], [], []
    for arg in asked.args:
        wire = {"channel": arg.channel, "instId": arg.instId}
        if arg.instId not in markets or arg.channel not in CHANNELS:
            text = f"Wrong URL or channel:{arg.channel},instId:{arg.instId} doesn't exist. Please use the correct URL."
            replies.append(encode({"event": "error", "code": "60018", "msg": text, "connId": "a4d3ae55", "arg": wire}))
            continue
        replies.append(encode({"event": asked.op, "arg": wire, "connId": "a4d3ae55"}))
        topics.append(f"{arg.channel}:{arg.instId}")
        if arg.channel == "books" and asked.op == "subscribe":
            market = markets[arg.instId]
            first.append(_books(market, "snapshot", *market.levels(400), market.update, -1, now))
    if asked.op == "unsubscribe":
        return Heard(replies, unsubscribe=topics)
    return Heard(replies, subscribe=topics, first=first)


def say(event: Change | Deal | None, market: Market, wanted: set[str], now: int) -> Iterable[Said]:
    inst = name(market)
    at = str(now // 10**6)
    if isinstance(event, Deal):
        row = {
            "instId": inst,
            "tradeId": str(event.id),
            "px": event.price,
            "sz": event.size,
            "side": event.side,
            "ts": str(event.ts // 10**6),
            "count": "1",
            "source": "0",
            "seqId": market.update,
        }
        yield _said("trades", "trades", inst, [row], (event.id, event.id), detectable=False)
    elif isinstance(event, Change):
        yield _books(market, "update", event.bids, event.asks, event.last, event.previous, now)
    else:
        (bid, bid_size), (ask, ask_size) = market.best()
        best = {
            "asks": [[ask, ask_size, "0", "1"]],
            "bids": [[bid, bid_size, "0", "1"]],
            "ts": at,
            "seqId": market.update,
        }
        yield _said("bbo-tbt", "bbo", inst, [best], None, detectable=False)
        if f"tickers:{inst}" in wanted:
            yield _said("tickers", "ticker", inst, [_ticker(market, at)], None, detectable=False)
        if f"candle1m:{inst}" in wanted and market.bar is not None:
            bar = market.bar
            volume = f"{bar.volume:.8f}"
            row_ = [str(bar.start // 10**6), bar.open, bar.high, bar.low, bar.close, volume, volume, volume, "0"]
            yield _said("candle1m", "candles", inst, [row_], None, detectable=False)


def _said(
    wire: str, channel: str, inst: str, data: object, numbers: tuple[int, int] | None, *, detectable: bool = True
) -> Said:
    frame = encode({"arg": {"channel": wire, "instId": inst}, "data": data})
    return Said(f"{wire}:{inst}", channel, inst, frame, numbers, detectable)  # type: ignore[arg-type]


def _books(market: Market, action: str, bids: Levels, asks: Levels, sequence: int, previous: int, now: int) -> Said:
    inst = name(market)
    row = {
        "asks": _rows(asks),
        "bids": _rows(bids),
        "ts": str(now // 10**6),
        "checksum": 0,
        "seqId": sequence,
        "prevSeqId": previous,
    }
    frame = encode({"arg": {"channel": "books", "instId": inst}, "action": action, "data": [row]})
    return Said(f"books:{inst}", "book", inst, frame, (previous + 1, sequence) if previous >= 0 else None)


def _rows(levels: Levels) -> list[list[str]]:
    return [[price, "0", "0", "0"] if is_zero(size) else [price, size, "0", "1"] for price, size in levels]


def _ticker(market: Market, at: str) -> dict[str, str]:
    (bid, bid_size), (ask, ask_size) = market.best()
    volume = f"{market.volume:.4f}"
    return {
        "instType": "SPOT",
        "instId": name(market),
        "last": market.last,
        "lastSz": bid_size,
        "askPx": ask,
        "askSz": ask_size,
        "bidPx": bid,
        "bidSz": bid_size,
        "open24h": market.last,
        "high24h": market.last,
        "low24h": market.last,
        "sodUtc0": market.last,
        "sodUtc8": market.last,
        "volCcy24h": volume,
        "vol24h": volume,
        "ts": at,
    }


def answer(path: str, query: Mapping[str, str], markets: Mapping[str, Market], now: int) -> tuple[int, bytes]:
    if path.endswith("/public/instruments"):
        rows = [_listed(market) for market in markets.values()] if query.get("instType") == "SPOT" else []
        return 200, encode({"code": "0", "data": rows, "msg": ""})
    if path.endswith("/public/underlying"):
        return 200, encode({"code": "0", "data": [[]], "msg": ""})  # there are no options
    market = markets.get(query.get("instId", ""))
    if path.endswith("/market/books") and market is not None:
        bids, asks = ([[*level, "0", "1"] for level in side] for side in market.levels(int(query.get("sz", "1"))))
        book = {"asks": asks, "bids": bids, "ts": str(now // 10**6), "seqId": market.update}
        return 200, encode({"code": "0", "data": [book], "msg": ""})
    return 404, encode({"code": "404", "msg": "Not Found"})


def _listed(market: Market) -> dict[str, str]:
    return {
        "instType": "SPOT",
        "instId": name(market),
        "uly": "",
        "instFamily": "",
        "baseCcy": market.base,
        "quoteCcy": market.quote,
        "settleCcy": "",
        "ctVal": "",
        "ctMult": "",
        "ctValCcy": "",
        "ctType": "",
        "optType": "",
        "stk": "",
        "listTime": "1606468572000",
        "expTime": "",
        "tickSz": market.price(1),
        "lotSz": market.size(1),
        "minSz": market.size(1),
        "maxLmtSz": "9999999999",
        "maxMktSz": "1000000",
        "state": "live",
    }


SIMULATION = Simulation(
    hosts=("wss://ws.okx.com", "https://www.okx.com"),
    markets=(
        ("BTC", "USDT", 67120.1, (1, 8)),
        ("ETH", "USDT", 2611.11, (2, 6)),
        ("SOL", "USDT", 151.02, (2, 6)),
        ("XRP", "USDT", 0.5313, (4, 6)),
    ),
    name=name,
    hear=hear,
    say=say,
    answer=answer,
    idle=b"pong",
    farewell=b'{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade."}',
)
