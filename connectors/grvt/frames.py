"""Reading GRVT's frames: data of a stream and its selector, or an answer by JSON-RPC.

https://api-docs.grvt.io/market_data_streams/
A book comes whole under the number 0; the answer to its subscription says which number is the last before its changes.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused, Subscription
from aggregator.records import Channel
from aggregator.refusals import meaning_of
from aggregator.wire import by_word, number, past
from connectors.grvt.figures_wires import FiguresFrame, FiguresWire
from connectors.grvt.short_wires import spelled_out
from connectors.grvt.wires import BarFrame, BookFrame, TradeFrame

CHANNELS: dict[Channel, tuple[str, str]] = {
    "trades": ("v1.trade", "50"),  # with so many trades from before
    "book": ("v1.book.d", "50"),  # these are milliseconds
    "candles": ("v1.candle", ""),
    "bbo": ("v1.ticker.d", "100"),
    "ticker": ("v1.ticker.d", "100"),
    "funding": ("v1.ticker.d", "100"),
    "open_interest": ("v1.ticker.d", "100"),
    "mark_price": ("v1.ticker.d", "100"),
    "index_price": ("v1.ticker.d", "100"),
}


class Result(Struct):
    stream: str = ""
    subs: list[str] | None = None
    first_sequence_number: list[int] | None = None


class Fault(Struct):
    code: int
    message: str = ""


class Other(Result):
    """Any frame: an answer has a number of ours, data a stream; of old an answer had what it grants by itself."""

    id: int | None = None
    result: Result | None = None
    error: Fault | None = None
    s: str = ""  # in the short form: the stream, or the version of an answer
    j: str = ""


decode_trade = Decoder(TradeFrame, strict=False, float_hook=number).decode
decode_book = Decoder(BookFrame, strict=False, float_hook=number).decode
decode_figures = Decoder(FiguresFrame, strict=False, float_hook=number).decode
decode_bar = Decoder(BarFrame, strict=False, float_hook=number).decode
decode_other = Decoder(Other, strict=False).decode


def topic(s: Subscription) -> tuple[str, str]:
    """Give the stream and the selector that requests and answers name."""
    stream, how = CHANNELS[s.channel]
    if s.channel == "candles":
        how = f"CI_{s.interval[:-1]}_{s.interval[-1:].upper()}-TRADE"
    return stream, f"{s.raw_symbol}@{how}"


def read_trade(frame: bytes) -> Iterable[Event]:
    said = decode_trade(frame)
    trade = said.feed.record(said.sequence_number or None)
    return (trade,) if said.sequence_number else past([trade])


def read_whole_book(frame: bytes) -> Iterable[Event]:
    """A book that is whole each time; its selector says how deep it is: `BTC_USDT_Perp@500-100`."""
    said = decode_book(frame)
    return (said.feed.whole(int(said.selector.rpartition("-")[2]), said.sequence_number or None),)


def read_bar(frame: bytes) -> Iterable[Event]:
    """A candle of trades; those of mark and index prices are passed over."""
    said = decode_bar(frame)
    interval, _, kind = said.selector.partition("@")[2].partition("-")
    if kind != "TRADE":
        return ()
    bar = said.feed.record(interval)
    return (bar,) if said.sequence_number else past([bar])


def parser() -> Parse:
    """A parser that knows the number before a book's changes, and fills figures up."""
    begun: dict[str, int] = {}  # selector of a book -> the number before its changes
    known: dict[str, FiguresWire] = {}

    def read_book(frame: bytes) -> Iterable[Event]:
        said = decode_book(frame)
        if said.sequence_number:
            return (said.feed.delta(said.sequence_number, said.prev_sequence_number),)
        return (said.feed.whole(None, begun.get(said.selector)),)

    def read_figures(frame: bytes) -> Iterable[Event]:
        said = decode_figures(frame)
        news, key = said.feed, said.stream + said.selector
        before = known.get(key) if said.sequence_number else None
        known[key] = news if before is None else news.filled(before)
        return known[key].records(news)

    def read_other(frame: bytes) -> Iterable[Event]:
        said = decode_other(frame)
        if said.s or said.j:
            return read_other(spelled_out(frame))
        if said.stream and said.subs is None:
            read = readers.get(said.stream)
            return () if read is None else read(frame)
        if said.id is None and said.subs is None:
            raise BadFrame("neither data of a stream nor an answer")
        if said.error is not None and said.id is not None and said.id >= 0:
            reason = f"{said.error.code}: {said.error.message}"
            meaning = meaning_of(
                reason, final=("Instrument is invalid", "1004"), passing=("rate limit", "1006", "1002")
            )
            return (Refused(reason, id=said.id, meaning=meaning),)
        result = said.result or said
        names, numbers = result.subs or [], result.first_sequence_number or []
        if result.stream == "v1.book.d":
            begun.update((name, first - 1) for name, first in zip(names, numbers, strict=False))
        return [Accepted(topic=(result.stream, name)) for name in names]

    readers: dict[str, Parse] = {
        "v1.trade": read_trade,
        "v1.book.d": read_book,
        "v1.book.s": read_whole_book,
        "v1.candle": read_bar,
        **dict.fromkeys(("v1.ticker.d", "v1.ticker.s", "v1.mini.d", "v1.mini.s"), read_figures),
    }
    return by_word(b'{"stream":"', readers, read_other)
