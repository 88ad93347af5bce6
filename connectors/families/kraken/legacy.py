"""Kraken's WebSocket protocol, version 1, as captures until 2026 hold it: arrays that end in their channel and pair.

https://docs.kraken.com/api/docs/websocket-v1/trade
Nothing subscribes by it any more. Its pairs have the old codes XBT and XDG, which version 2 and the listing spell
BTC and DOGE.
"""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.records import DAY_S, MINUTE_NS, Bbo, BookDelta, BookSnapshot, Candle, Record, Side, Ticker, Trade
from aggregator.wire import best, levels, nonzero, optional, seconds, text

CODES = {"XBT": "BTC", "XDG": "DOGE"}
SIDES: dict[str, Side] = {"b": "buy", "s": "sell"}  # the taker's
INTERVALS = {60: "1h", 240: "4h", 1440: "1d", 10080: "1w", 21600: "15d"}  # else minutes
Body = Any  # arrays of mixed type, or objects of them

decode: Callable[[bytes], list[Body]] = Decoder(list).decode


def parse(frame: bytes) -> Iterable[Record]:
    """Records of one array; it may hold two bodies, of the asks and of the bids. Raises for what it cannot read."""
    _, *bodies, channel, pair = decode(frame)
    if type(channel) is not str or type(pair) is not str:
        return ()  # an account's
    name, _, option = channel.partition("-")
    read = READERS.get(name)
    return () if read is None else read(symbol_of(pair), [body for body in bodies if body is not None], option)


def symbol_of(pair: str) -> str:
    return "/".join(CODES.get(code, code) for code in pair.split("/"))


def read_trades(raw_symbol: str, bodies: list[Body], _: str) -> list[Record]:
    return [
        Trade(raw_symbol=raw_symbol, price=text(price), size=text(size), side=SIDES[side], ts_event=seconds(time))
        for price, size, time, side, *_ in bodies[0]
    ]


def read_book(raw_symbol: str, bodies: list[Body], option: str) -> list[Record]:
    """Each level has its own time, of which the latest is the book's; one that was sent before is marked `r`."""
    said: dict[str, Body] = {key: value for body in bodies for key, value in body.items()}
    is_whole = "as" in said
    bids, asks = (said.get(key, []) for key in (("bs", "as") if is_whole else ("b", "a")))
    checksum = int(said["c"]) if "c" in said else None
    at = max((seconds(row[2]) for row in [*bids, *asks]), default=None)
    if not is_whole:
        if not said.keys() & {"a", "b"}:
            raise BadFrame("a book without sides")
        return [
            BookDelta(raw_symbol=raw_symbol, bids=levels(bids), asks=levels(asks), checksum=checksum, ts_event=at),
        ]
    return [
        BookSnapshot(
            raw_symbol=raw_symbol,
            bids=levels(bids),
            asks=levels(asks),
            depth=int(option) if option else None,
            checksum=checksum,
            ts_event=at,
        )
    ]


def offer(raw_symbol: str, bid: list[str], ask: list[str], at: int | None) -> Bbo:
    """Sides of price and size."""
    (bid_price, bid_size), (ask_price, ask_size) = best(*bid), best(*ask)
    return Bbo(
        raw_symbol=raw_symbol,
        bid_price=bid_price,
        bid_size=bid_size,
        ask_price=ask_price,
        ask_size=ask_size,
        ts_event=at,
    )


def read_spread(raw_symbol: str, bodies: list[Body], _: str) -> list[Record]:
    bid, ask, time, bid_size, ask_size, *_ = bodies[0]
    return [offer(raw_symbol, [bid, bid_size], [ask, ask_size], seconds(time) or None)]


def read_ticker(raw_symbol: str, bodies: list[Body], _: str) -> list[Record]:
    """Statistics are pairs: of today, and of the last 24 hours; a side is price, whole lots, size."""
    said = bodies[0]
    statistics = Ticker(
        raw_symbol=raw_symbol,
        last=nonzero(said["c"][0]),
        open=nonzero(said["o"][1]),
        high=nonzero(said["h"][1]),
        low=nonzero(said["l"][1]),
        base_volume=optional(said["v"][1]),
        vwap=nonzero(said["p"][1]),
        trades=said["t"][1],
        window_s=DAY_S,
    )
    return [statistics, offer(raw_symbol, said["b"][::2], said["a"][::2], None)]


def read_candle(raw_symbol: str, bodies: list[Body], option: str) -> list[Record]:
    """Read a candle: its first element is the time of its last trade, and its end follows."""
    minutes = int(option)
    _, end, first, high, low, last, _, volume, trades = bodies[0]
    return [
        Candle(
            raw_symbol=raw_symbol,
            interval=INTERVALS.get(minutes, f"{minutes}m"),
            ts_open=seconds(end) - minutes * MINUTE_NS,
            ts_close=seconds(end),
            open=text(first),
            high=text(high),
            low=text(low),
            close=text(last),
            base_volume=text(volume),
            trades=trades,
        )
    ]


READERS: dict[str, Callable[[str, list[Body], str], list[Record]]] = {
    "trade": read_trades,
    "book": read_book,
    "spread": read_spread,
    "ticker": read_ticker,
    "ohlc": read_candle,
}
