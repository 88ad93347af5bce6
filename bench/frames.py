"""Captures made on the spot, in the exchanges' own formats of today: seeded, so that every run has the same frames."""

import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

from msgspec import Struct

from aggregator.records import Instrument
from bench.market import PAIRS, Change, Ladder, Pair

START = 1_760_000_000_000_000  # microseconds since the epoch: when every capture begins
KINDS = ("trade", "ticker", "book", "depth10", "depth100", "depth1000", "mixed")
LEVELS = {"depth10": 10, "depth100": 100, "depth1000": 1000}
FRAMES = {"depth100": 1000, "depth1000": 200}  # what is long is fewer
SHARES = {"trade": 35, "ticker": 30, "book": 35}  # of a mixed capture


class Capture(Struct, frozen=True):
    """Frames of one connection.

    opening: frames that come first and are not measured: whole books sent in band
    snapshots: raw symbol -> the REST answer that holds the whole book
    """

    exchange: str
    kind: str
    frames: list[bytes]
    opening: list[bytes]
    snapshots: dict[str, bytes]
    instruments: dict[str, Instrument]


class Moment:
    """The time of the next frame, and its random numbers."""

    def __init__(self, random: Random) -> None:
        """Begin at START."""
        self.random = random
        self.us = START

    def pass_by(self) -> None:
        """Let a little time go by."""
        self.us += self.random.randrange(20_000)

    @property
    def ms(self) -> int:
        """Milliseconds since the epoch."""
        return self.us // 1000

    @property
    def iso(self) -> str:
        """As `2025-10-09T08:53:20.001234Z`."""
        return datetime.fromtimestamp(self.us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{self.us % 10**6:06d}Z"


class Wire:
    """How one exchange writes what happens; `levels` are those a side that its book stream keeps."""

    depth: int | None = None

    def __init__(self, moment: Moment) -> None:
        """Count from the same numbers in every capture."""
        self.moment = moment
        self.numbers: dict[str, int] = {}

    def raw_symbol(self, pair: Pair) -> str:
        raise NotImplementedError

    def trade(self, pair: Pair, price: int, size: int) -> object:
        raise NotImplementedError

    def ticker(self, pair: Pair, bid: int, ask: int, size: int) -> object:
        raise NotImplementedError

    def delta(self, ladder: Ladder, bids: Change, asks: Change) -> object:
        raise NotImplementedError

    def opening(self, ladder: Ladder) -> object | None:
        """The whole book as a frame, where it comes in band."""
        return None

    def snapshot(self, ladder: Ladder) -> object | None:
        """The whole book as a REST answer, where it comes so."""
        return None

    def pack(self, message: object) -> bytes:
        """A message as the bytes that travel."""
        return (message if isinstance(message, str) else json.dumps(message, separators=(",", ":"))).encode()

    def next(self, name: str, step: int = 1) -> int:
        """A number that grows, one count for each name."""
        number = self.numbers[name] = self.numbers.get(name, 1_000_000_000) + step
        return number

    @property
    def buys(self) -> bool:
        """Heads or tails."""
        return self.moment.random.random() < 0.5


class Binance(Wire):
    def raw_symbol(self, pair: Pair) -> str:
        return f"{pair.base}{pair.quote}T"

    def _combined(self, pair: Pair, stream: str, data: dict[str, object]) -> object:
        return {"stream": f"{self.raw_symbol(pair).lower()}@{stream}", "data": data}

    def trade(self, pair: Pair, price: int, size: int) -> object:
        symbol, us = self.raw_symbol(pair), self.moment.us
        data: dict[str, object] = {"e": "trade", "E": us, "s": symbol, "t": self.next(f"trade {symbol}")}
        data |= {"p": eight(pair.price(price)), "q": eight(pair.size(size)), "T": us - 900, "m": self.buys, "M": True}
        return self._combined(pair, "trade", data)

    def ticker(self, pair: Pair, bid: int, ask: int, size: int) -> object:
        data: dict[str, object] = {"u": self.next("update"), "s": self.raw_symbol(pair), "b": eight(pair.price(bid))}
        data |= {"B": eight(pair.size(size)), "a": eight(pair.price(ask)), "A": eight(pair.size(size + 7))}
        return self._combined(pair, "bookTicker", data)

    def delta(self, ladder: Ladder, bids: Change, asks: Change) -> object:
        symbol = self.raw_symbol(ladder.pair)
        first = self.next(symbol)
        last = self.next(symbol, len(bids) + len(asks) - 1)
        data: dict[str, object] = {"e": "depthUpdate", "E": self.moment.us, "s": symbol, "U": first, "u": last}
        data |= {"b": rows(ladder.pair, bids, eight), "a": rows(ladder.pair, asks, eight)}
        return self._combined(ladder.pair, "depth@100ms", data)

    def snapshot(self, ladder: Ladder) -> object:
        bids, asks = ladder.whole()
        last = self.next(self.raw_symbol(ladder.pair), 0)
        return {
            "lastUpdateId": last,
            "bids": rows(ladder.pair, bids, eight),
            "asks": rows(ladder.pair, asks, eight),
        }


class CoinbaseExchange(Wire):
    def raw_symbol(self, pair: Pair) -> str:
        return f"{pair.base}-{pair.quote}"

    def trade(self, pair: Pair, price: int, size: int) -> object:
        symbol = self.raw_symbol(pair)
        return {
            "type": "match",
            "trade_id": self.next(f"trade {symbol}"),
            "maker_order_id": "7e0c9b1e-5c33-4f6c-9c58-0f6d1a3fb8a1",
            "taker_order_id": "2d9f0f35-90d4-4a0b-8f0e-6f6f3b8f9c11",
            "side": "buy" if self.buys else "sell",
            "size": pair.size(size),
            "price": pair.price(price),
            "product_id": symbol,
            "sequence": self.next(symbol),
            "time": self.moment.iso,
        }

    def ticker(self, pair: Pair, bid: int, ask: int, size: int) -> object:
        symbol = self.raw_symbol(pair)
        return {
            "type": "ticker",
            "sequence": self.next(symbol),
            "product_id": symbol,
            "price": pair.price(ask),
            "open_24h": pair.price(pair.start),
            "volume_24h": "9651.09281234",
            "low_24h": pair.price(pair.start - 900),
            "high_24h": pair.price(pair.start + 900),
            "volume_30d": "293948.83428120",
            "best_bid": pair.price(bid),
            "best_bid_size": pair.size(size),
            "best_ask": pair.price(ask),
            "best_ask_size": pair.size(size + 7),
            "side": "buy" if self.buys else "sell",
            "time": self.moment.iso,
            "trade_id": self.next(f"trade {symbol}", 0),
            "last_size": pair.size(size),
        }

    def delta(self, ladder: Ladder, bids: Change, asks: Change) -> object:
        pair = ladder.pair
        changes = [["buy", *row] for row in rows(pair, bids)] + [["sell", *row] for row in rows(pair, asks)]
        return {
            "type": "l2update",
            "product_id": self.raw_symbol(pair),
            "changes": changes,
            "time": self.moment.iso,
        }

    def opening(self, ladder: Ladder) -> object:
        bids, asks = ladder.whole()
        return {
            "type": "snapshot",
            "product_id": self.raw_symbol(ladder.pair),
            "asks": rows(ladder.pair, asks),
            "bids": rows(ladder.pair, bids),
            "time": self.moment.iso,
        }


class Kraken(Wire):
    """Prices and sizes are JSON numbers, so the text is written by hand; the checksum is over the ten best levels."""

    depth = 100

    def raw_symbol(self, pair: Pair) -> str:
        return f"{pair.base}/{pair.quote}"

    def _message(self, channel: str, type: str, item: str) -> str:
        return f'{{"channel":"{channel}","type":"{type}","data":[{item}]}}'

    def trade(self, pair: Pair, price: int, size: int) -> object:
        symbol = self.raw_symbol(pair)
        item = (
            f'{{"symbol":"{symbol}","side":"{"buy" if self.buys else "sell"}","price":{pair.price(price)},'
            f'"qty":{pair.size(size)},"ord_type":"market","trade_id":{self.next(f"trade {symbol}")},'
            f'"timestamp":"{self.moment.iso}"}}'
        )
        return self._message("trade", "update", item)

    def ticker(self, pair: Pair, bid: int, ask: int, size: int) -> object:
        item = (
            f'{{"symbol":"{self.raw_symbol(pair)}","bid":{pair.price(bid)},"bid_qty":{pair.size(size)},'
            f'"ask":{pair.price(ask)},"ask_qty":{pair.size(size + 7)},"last":{pair.price(ask)},"volume":873.99355531,'
            f'"vwap":{pair.price(pair.start)},"low":{pair.price(pair.start - 900)},"high":{pair.price(ask + 900)},'
            f'"change":-458.2,"change_pct":-0.7,"timestamp":"{self.moment.iso}"}}'
        )
        return self._message("ticker", "update", item)

    def delta(self, ladder: Ladder, bids: Change, asks: Change) -> object:
        return self._book("update", ladder, bids, asks)

    def opening(self, ladder: Ladder) -> object:
        return self._book("snapshot", ladder, *ladder.whole())

    def _book(self, type: str, ladder: Ladder, bids: Change, asks: Change) -> str:
        pair = ladder.pair
        sides = [
            ",".join(f'{{"price":{pair.price(price)},"qty":{pair.size(size)}}}' for price, size in side)
            for side in (bids, asks)
        ]
        item = (
            f'{{"symbol":"{self.raw_symbol(pair)}","bids":[{sides[0]}],"asks":[{sides[1]}],'
            f'"checksum":{self._checksum(ladder)},"timestamp":"{self.moment.iso}"}}'
        )
        return self._message("book", type, item)

    def _checksum(self, ladder: Ladder) -> int:
        bids, asks = ladder.whole()
        pair = ladder.pair
        digits = "".join(
            text.replace(".", "").lstrip("0")
            for price, size in asks[:10] + bids[:10]
            for text in (pair.price(price), pair.size(size))
        )
        return zlib.crc32(digits.encode())


class Okx(Wire):
    depth = 400

    def raw_symbol(self, pair: Pair) -> str:
        return f"{pair.base}-{pair.quote}T"

    def _push(self, pair: Pair, channel: str, item: object, **more: str) -> object:
        return {"arg": {"channel": channel, "instId": self.raw_symbol(pair)}, **more, "data": [item]}

    def trade(self, pair: Pair, price: int, size: int) -> object:
        symbol = self.raw_symbol(pair)
        number = self.next(f"trade {symbol}")
        item = {"instId": symbol, "tradeId": str(number), "px": pair.price(price), "sz": pair.size(size)}
        item |= {"side": "buy" if self.buys else "sell", "ts": str(self.moment.ms), "count": "1", "source": "0"}
        return self._push(pair, "trades", item | {"seqId": self.next(symbol)})

    def ticker(self, pair: Pair, bid: int, ask: int, size: int) -> object:
        item = {"instType": "SPOT", "instId": self.raw_symbol(pair), "last": pair.price(ask), "lastSz": pair.size(size)}
        item |= {"askPx": pair.price(ask), "askSz": pair.size(size + 7)}
        item |= {"bidPx": pair.price(bid), "bidSz": pair.size(size), "open24h": pair.price(pair.start)}
        item |= {"high24h": pair.price(pair.start + 900), "low24h": pair.price(pair.start - 900)}
        item |= {"sodUtc0": pair.price(pair.start), "sodUtc8": pair.price(pair.start)}
        item |= {"volCcy24h": "293948834.2812", "vol24h": "9651.0928", "ts": str(self.moment.ms)}
        return self._push(pair, "tickers", item)

    def delta(self, ladder: Ladder, bids: Change, asks: Change) -> object:
        return self._book("update", ladder, bids, asks, self.next(f"book {self.raw_symbol(ladder.pair)}", 0))

    def opening(self, ladder: Ladder) -> object:
        return self._book("snapshot", ladder, *ladder.whole(), before=-1)

    def _book(self, action: str, ladder: Ladder, bids: Change, asks: Change, before: int) -> object:
        pair = ladder.pair
        number = self.next(f"book {self.raw_symbol(pair)}", 3)
        sides = [[[*row, "0", "1" if row[1] != "0" else "0"] for row in rows(pair, side)] for side in (bids, asks)]
        item = {"asks": sides[1], "bids": sides[0], "ts": str(self.moment.ms), "checksum": 0}
        return self._push(pair, "books", item | {"seqId": number, "prevSeqId": before}, action=action)


class Bitstamp(Wire):
    def raw_symbol(self, pair: Pair) -> str:
        return f"{pair.base}{pair.quote}".lower()

    def trade(self, pair: Pair, price: int, size: int) -> object:
        symbol, us = self.raw_symbol(pair), self.moment.us
        item = {
            "id": self.next(f"trade {symbol}"),
            "timestamp": str(us // 10**6),
            "amount": size / 10**pair.step,
            "amount_str": pair.size(size),
            "price": price / 10**pair.tick,
            "price_str": pair.price(price),
            "type": int(self.buys),
            "microtimestamp": str(us),
            "buy_order_id": self.next("order") * 10**6,
            "sell_order_id": self.next("order") * 10**6,
        }
        return {"data": item, "channel": f"live_trades_{symbol}", "event": "trade"}

    def ticker(self, pair: Pair, bid: int, ask: int, size: int) -> object:
        """None on this exchange's stream: a trade instead."""
        return self.trade(pair, (bid + ask) // 2, size)

    def delta(self, ladder: Ladder, bids: Change, asks: Change) -> object:
        item = self._times() | {"bids": rows(ladder.pair, bids), "asks": rows(ladder.pair, asks)}
        return {"data": item, "channel": f"diff_order_book_{self.raw_symbol(ladder.pair)}", "event": "data"}

    def snapshot(self, ladder: Ladder) -> object:
        bids, asks = ladder.whole()
        return self._times() | {"bids": rows(ladder.pair, bids), "asks": rows(ladder.pair, asks)}

    def _times(self) -> dict[str, object]:
        self.moment.us += 1  # it is the book's number too: never twice the same
        return {"timestamp": str(self.moment.us // 10**6), "microtimestamp": str(self.moment.us)}


WIRES: dict[str, type[Wire]] = {
    "binance": Binance,
    "bitstamp": Bitstamp,
    "coinbaseexchange": CoinbaseExchange,
    "kraken": Kraken,
    "okx": Okx,
}


def eight(text: str) -> str:
    """Decimal text with eight decimals."""
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<8}"


def rows(pair: Pair, side: Change, spell: Callable[[str], str] = str) -> list[list[str]]:
    """Levels as the pairs of text that most exchanges send."""
    return [[spell(pair.price(price)), spell(pair.size(size)) if size else spell("0")] for price, size in side]


def make(exchange: str, kind: str, count: int = 3000, seed: int = 1) -> Capture:
    """A capture of at most `count` frames of one kind (fewer where each is long)."""
    random = Random(f"{exchange} {kind} {seed}")
    moment = Moment(random)
    wire = WIRES[exchange](moment)
    deep = wire.depth or (5000 if kind == "depth1000" else 1000)
    ladders = [Ladder(pair, random, deep, cut=wire.depth is not None) for pair in PAIRS]
    has_books = kind not in {"trade", "ticker"}
    opening = [wire.opening(ladder) for ladder in ladders] if has_books else []
    snapshots = {wire.raw_symbol(ladder.pair): wire.snapshot(ladder) for ladder in ladders} if has_books else {}
    frames = []
    for _ in range(min(count, FRAMES.get(kind, count))):
        moment.pass_by()
        frames.append(wire.pack(_message(wire, kind, random.choice(ladders))))
    return Capture(
        exchange,
        kind,
        frames,
        [wire.pack(frame) for frame in opening if frame is not None],
        {symbol: wire.pack(body) for symbol, body in snapshots.items() if body is not None},
        {raw: _instrument(raw, pair) for pair in PAIRS for raw in [wire.raw_symbol(pair)]},
    )


def _message(wire: Wire, kind: str, ladder: Ladder) -> object:
    random = wire.moment.random
    if kind == "mixed":
        (kind,) = random.choices(list(SHARES), list(SHARES.values()))
    pair, middle = ladder.pair, ladder.middle
    size = 1 + int(random.lognormvariate(0, 1) * 10**pair.step)
    if kind == "trade":
        return wire.trade(pair, middle + random.choice((-1, 1)), size)
    if kind == "ticker":
        return wire.ticker(pair, middle - 1, middle + 1, size)
    levels = LEVELS.get(kind) or 1 + min(int(random.expovariate(1 / 4.5)), 40)
    return wire.delta(ladder, *ladder.change(levels))


def _instrument(raw_symbol: str, pair: Pair) -> Instrument:
    quote = "USDT" if raw_symbol.upper().endswith("USDT") else pair.quote
    return Instrument(raw_symbol=raw_symbol, symbol=f"{pair.base}/{quote}", base=pair.base, quote=quote)
