"""Frames of BingX's sockets: each names its topic, and its content differs by the kind of market.

https://bingx-api.github.io/docs-v3/
Several trades of one frame stand newest first (a frame of May 2024 in the tests of BingX.Net).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Refused, Reply, Subscribe, Subscription
from aggregator.records import Channel
from aggregator.refusals import meaning_of
from aggregator.wire import as_written, encode, gunzip, oldest_first
from connectors.bingx.candle_wires import BarRow, CoinBarWire, KlineWire
from connectors.bingx.wires import BestWire, BookWire, CoinBookWire, MarkWire, TickerWire, TradeRow, is_inverse

LINEAR: Mapping[Channel, str] = {
    "trades": "trade",
    "book": "incrDepth",
    "bbo": "bookTicker",
    "ticker": "ticker",
    "candles": "kline_",
    "mark_price": "markPrice",
}
SPOT: Mapping[Channel, str] = {
    "trades": "trade",
    "book": "depth100",
    "bbo": "bookTicker",
    "ticker": "ticker",
    "candles": "kline_",
}
INVERSE: Mapping[Channel, str] = {**SPOT, "mark_price": "markPrice"}
PERIODS = {  # on spot
    **{f"{n}m": f"{n}min" for n in (1, 3, 5, 15, 30)},
    "1h": "60min",
    **{f"{n}h": f"{n}hour" for n in (2, 4, 6, 8, 12)},
    "1d": "1day",
    "3d": "3day",
    "1w": "1week",
    "1M": "1mon",
}
INTERVALS = {period: interval for interval, period in PERIODS.items()}
PING, PONG = b"Ping", b"Pong"


class Frame(Struct, gc=False):
    dataType: str = ""
    data: Raw = Raw()
    ts: int | None = None
    timestamp: int | None = None  # spot has it in place of `ts`
    code: int = 0
    msg: str = ""
    id: str = ""
    ping: str = ""
    time: str = ""


class Tagged(Struct):
    e: str = ""
    s: str = ""


decode = Decoder(Frame).decode
decode_tagged = Decoder(Tagged).decode
decode_trades = Decoder(list[TradeRow] | TradeRow, strict=False).decode
decode_book = Decoder(BookWire).decode
decode_coin_book = Decoder(CoinBookWire).decode
decode_best = Decoder(BestWire, float_hook=as_written).decode
decode_ticker = Decoder(TickerWire, float_hook=as_written).decode
decode_mark = Decoder(MarkWire, float_hook=as_written).decode
decode_bars = Decoder(list[BarRow]).decode
decode_kline = Decoder(KlineWire).decode
decode_coin_bar = Decoder(CoinBarWire, float_hook=as_written).decode


def inflate(frame: bytes) -> bytes:
    return frame if frame == PING else gunzip(frame)


def parse(frame: bytes) -> Iterable[Event]:
    if frame == PING:
        return (Reply(PONG),)
    f = decode(frame)
    symbol, read, word = told(f.dataType)
    if read is not None and f.data:
        return read(symbol, word, f)
    if f.data and not f.dataType and not f.id:
        return read_unnamed(f)
    if f.ping:  # on spot
        return (Reply(encode({"pong": f.ping, "time": f.time})),)
    return answer(f) if f.id or f.code else ()


def read_unnamed(f: Frame) -> Iterable[Event]:
    """Read the content of a frame that names no topic: spot tickers did not in 2024 (ccxt 4.5.90)."""
    tagged = decode_tagged(f.data)
    return read_ticker(tagged.s, "", f) if tagged.e == "24hTicker" else ()


def answer(f: Frame) -> Iterable[Event]:
    """The answer to a request. Unsubscribing has an id of its own, which nobody waits for."""
    id = int(f.id) if f.id.isdecimal() else None
    if not f.code:
        return (Accepted(id=id),)
    reason = f"{f.code}: {f.msg}"
    if not f.id:
        return (Refused(reason),)  # it may be of any request: what it seems to mean is asked for again
    return (Refused(reason, id=id, meaning=meaning_of(reason, final=("80015", "100400"), passing=("80403",))),)


def read_trades(symbol: str, _: str, f: Frame) -> Iterable[Event]:
    found = decode_trades(f.data)
    return oldest_first(row.record(symbol) for row in (found if isinstance(found, list) else [found]))


def read_book(symbol: str, _: str, f: Frame) -> Iterable[Event]:
    if is_inverse(symbol):
        return (decode_coin_book(f.data).record(symbol),)
    return (decode_book(f.data).record(symbol, f.ts or f.timestamp),)


def read_best(symbol: str, _: str, f: Frame) -> Iterable[Event]:
    return (decode_best(f.data).record(symbol),)


def read_ticker(symbol: str, _: str, f: Frame) -> Iterable[Event]:
    return (decode_ticker(f.data).record(symbol),)


def read_mark(symbol: str, _: str, f: Frame) -> Iterable[Event]:
    return decode_mark(f.data).records(symbol)


def read_bars(symbol: str, word: str, f: Frame) -> Iterable[Event]:
    interval = INTERVALS.get(word, word)
    if is_inverse(symbol):
        return (decode_coin_bar(f.data).record(symbol, interval),)
    if word != interval:
        return (decode_kline(f.data).record(symbol, interval),)
    return [bar.record(symbol, interval) for bar in decode_bars(f.data)]


Read = Callable[[str, str, Frame], Iterable[Event]]
READERS: Mapping[str, Read] = {
    "trade": read_trades,
    "incrDepth": read_book,
    "bookTicker": read_best,
    "ticker": read_ticker,
    "markPrice": read_mark,
}


@lru_cache(maxsize=2**12)
def told(topic: str) -> tuple[str, Read | None, str]:
    """The symbol of a topic, how its content is read, and the interval of candles in the exchange's word."""
    symbol, _, kind = topic.partition("@")
    if kind.startswith("kline_"):
        return symbol, read_bars, kind.removeprefix("kline_")
    if kind.startswith("depth"):
        return symbol, read_book, ""
    return symbol, READERS.get(kind), ""


def asking(kind: str, channels: Mapping[Channel, str]) -> Subscribe:
    def period(interval: str) -> str:
        return PERIODS.get(interval, interval) if channels is SPOT else interval

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in wanted:
            word = channels[s.channel] + (period(s.interval) if s.channel == "candles" else "")
            yield encode({"id": str(id), "reqType": kind, "dataType": f"{s.raw_symbol}@{word}"})

    return ask
