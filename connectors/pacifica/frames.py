"""Reading Pacifica's frames: `channel` and `data`; an answer repeats what was asked for.

https://docs.pacifica.fi/api-documentation/api/websocket
No documentation shows a refusal; errors of other requests have a `code`, and their words in `err` or `error`.
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused, Subscription
from aggregator.records import Channel
from aggregator.refusals import meaning_of
from aggregator.wire import by_word, number
from connectors.pacifica.wires import BarWire, BestWire, BookWire, FiguresWire, TradeWire

SPOT: dict[Channel, str] = {"trades": "trades", "book": "book", "bbo": "bbo", "candles": "candle"}
CHANNELS: dict[Channel, str] = {
    **SPOT,
    "liquidations": "trades",
    "ticker": "prices",
    "funding": "prices",
    "open_interest": "prices",
    "mark_price": "prices",
    "index_price": "prices",
}
Topic = tuple[str, str, str]  # the source, the symbol and the interval

T = TypeVar("T")
R = TypeVar("R", BookWire, BestWire, BarWire)
M = TypeVar("M", TradeWire, FiguresWire)


class Said(Struct, Generic[T], gc=False):
    data: T


class Asked(Struct):
    source: str = ""
    symbol: str = ""
    interval: str = ""


class Other(Struct):
    channel: str = ""
    code: int | str | None = None
    err: str | None = None
    error: str | None = None


decode_answer = Decoder(Said[Asked]).decode
decode_other = Decoder(Other).decode


def topic(s: Subscription) -> Topic:
    source = CHANNELS[s.channel]
    return source, "" if source == "prices" else s.raw_symbol, s.interval if source == "candle" else ""


def one(wire: type[R]) -> Parse:
    """A reader of frames that give one record."""
    decode = Decoder(Said[wire], strict=False, float_hook=number).decode  # type: ignore[valid-type]

    def read(frame: bytes) -> Iterable[Event]:
        said: Said[R] = decode(frame)
        return (said.data.record(),)

    return read


def many(wire: type[M]) -> Parse:
    """A reader of frames with rows, each of which gives several records."""
    decode = Decoder(Said[list[wire]], strict=False, float_hook=number).decode  # type: ignore[valid-type]

    def read(frame: bytes) -> Iterable[Event]:
        said: Said[list[M]] = decode(frame)
        return [record for row in said.data for record in row.records()]

    return read


def read_answer(frame: bytes) -> Iterable[Event]:
    said = decode_answer(frame).data
    return (Accepted(topic=(said.source, said.symbol, said.interval)),) if said.source else ()


READERS: dict[str, Parse] = {
    "trades": many(TradeWire),
    "book": one(BookWire),
    "bbo": one(BestWire),
    "candle": one(BarWire),
    "prices": many(FiguresWire),
    "subscribe": read_answer,
}


def read_other(frame: bytes) -> Iterable[Event]:
    said = decode_other(frame)
    words = said.err or said.error
    if words:
        reason = f"{said.code}: {words}".removeprefix("None: ")
        meaning = meaning_of(reason, final=("invalid symbol", "not found"), passing=("rate limit", "429"))
        return (Refused(reason, meaning=meaning),)
    if not said.channel:
        raise BadFrame("neither data of a channel nor an answer")
    read = READERS.get(said.channel)
    return () if read is None else read(frame)


parse = by_word(b'"channel":"', READERS, read_other)
