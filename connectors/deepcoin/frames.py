"""Reading Deepcoin's frames: data whose kind is `a`, and answers that repeat the request.

https://www.deepcoin.com/docs/publicWS/latestMarketData
https://www.deepcoin.com/docs/publicWS/lastTransactions
https://www.deepcoin.com/docs/publicWS/KLines
https://www.deepcoin.com/docs/publicWS/LiquidationOrder
Frames name a market without the step of prices that a book is asked for by; the answer to the request has it.
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused, Subscription
from aggregator.records import Channel
from aggregator.refusals import meaning_of
from aggregator.wire import as_written, by_word
from connectors.deepcoin import legacy
from connectors.deepcoin.wires import DEPTH, BarRow, BookFrame, DayRow, ForcedRow, TradeRow

R = TypeVar("R")

TOPICS: dict[Channel, str] = {
    "trades": "2",
    "book": "25",
    "ticker": "7",
    "bbo": "7",
    "funding": "7",
    "mark_price": "7",
    "index_price": "7",
    "candles": "11",
    "liquidations": "30",
}
BOOK: dict[Channel, str] = {"book": TOPICS["book"]}
PONG = b"pong"
PREFIX = "DeepCoin_"
__all__ = ("BOOK", "DEPTH", "TOPICS", "parser", "topic")


class Row(Struct, Generic[R], gc=False):
    d: R


class Rows(Struct, Generic[R], gc=False):
    r: list[Row[R]]
    mt: int | None = None


class AskedRow(Struct, rename={"topic": "T", "name": "F"}):
    topic: str
    name: str = ""  # the topic of all markets has none


class Other(Struct):
    a: str = ""
    m: str = ""
    r: list[Row[AskedRow]] | None = None
    action: str = ""


class Kind(Struct):
    a: str = ""
    m: str = ""
    action: str = ""


decode_trades = Decoder(Rows[TradeRow], float_hook=as_written).decode
decode_days = Decoder(Rows[DayRow], float_hook=as_written).decode
decode_bars = Decoder(Rows[BarRow], float_hook=as_written).decode
decode_forced = Decoder(Rows[ForcedRow], float_hook=as_written).decode
decode_book = Decoder(BookFrame, float_hook=as_written).decode
decode_answer = Decoder(Other).decode
decode_kind = Decoder(Kind).decode


def topic(s: Subscription) -> tuple[str, str]:
    """The number of a topic, and the name in it: of a candle with its interval; liquidations are of all markets."""
    if s.channel == "liquidations":
        return TOPICS[s.channel], ""
    name = f"{PREFIX}{s.raw_symbol}"
    return TOPICS[s.channel], f"{name}_{s.interval}" if s.channel == "candles" else name


def read_trades(frame: bytes) -> Iterable[Event]:
    said = decode_trades(frame)
    return [row.d.record(said.mt) for row in said.r]


def read_days(frame: bytes) -> Iterable[Event]:
    said = decode_days(frame)
    return [record for row in said.r for record in row.d.records(said.mt)]


def read_bars(frame: bytes) -> Iterable[Event]:
    said = decode_bars(frame)
    return [row.d.record(said.mt) for row in said.r]


def read_forced(frame: bytes) -> Iterable[Event]:
    return [row.d.record() for row in decode_forced(frame).r]


def parser() -> Parse:
    """A parser that remembers the names by which books were asked for."""
    books: dict[str, str] = {}  # the name in a frame -> that in the request

    def read_book(frame: bytes) -> Iterable[Event]:
        return decode_book(frame).events(books)

    def read_answer(frame: bytes) -> Iterable[Event]:
        said = decode_answer(frame)
        asked = [(row.d.topic, row.d.name) for row in said.r or ()]
        if said.m != "Success":
            return [refusal(said.m, topic) for topic in asked] or [Refused(said.m)]
        for number, name in asked:
            if number == TOPICS["book"]:
                books[name.removeprefix(PREFIX).rpartition("_")[0]] = name.removeprefix(PREFIX)
        return [Accepted(topic=topic) for topic in asked]

    readers = {**READERS, "PMO": read_book, "RecvTopicAction": read_answer}

    def read_known(frame: bytes) -> Iterable[Event]:
        """Read a frame however it is spaced."""
        if frame == PONG:
            return ()
        reader = readers.get(decode_kind(frame).a)
        return read_other(frame) if reader is None else reader(frame)

    return by_word(b'"a":"', readers, read_known)


def read_other(frame: bytes) -> Iterable[Event]:
    said = decode_kind(frame)
    if said.action:
        return legacy.read(said.action, frame)
    if not said.a and not said.m:
        raise BadFrame("neither data nor an answer")
    return () if said.a else (Refused(said.m),)


def refusal(reason: str, topic: tuple[str, str]) -> Refused:
    return Refused(reason, topic=topic, meaning=meaning_of(reason, final=("does not exist", "invalid filtervalue")))


READERS: dict[str, Parse] = {"PMT": read_trades, "PO": read_days, "PK": read_bars, "PFO": read_forced}
