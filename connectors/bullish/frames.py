"""Reading Bullish's frames: data whose kind is `dataType`, and answers by JSON-RPC with the number of a request.

https://docs.exchange.bullish.com
"""

from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused
from aggregator.records import Record
from aggregator.refusals import meaning_of
from aggregator.wire import by_word, oldest_first, past
from connectors.bullish.wires import BestWire, BookWire, IndexWire, TickWire, TradesWire


class Told(Protocol):
    """The content of a frame."""

    def records(self) -> Iterable[Record]: ...


W = TypeVar("W", bound=Told)


class Said(Struct, Generic[W], gc=False):
    data: W
    type: str = ""


class Fault(Struct):
    errorCode: int | str = ""
    errorCodeName: str = ""
    code: int | str = ""
    message: str = ""


class Result(Struct):
    message: str = ""


class Other(Struct):
    dataType: str = ""
    id: int | str | None = None
    result: Result | None = None
    error: Fault | None = None
    data: Fault | None = None


def reading(wire: type[W]) -> Callable[[bytes], Iterable[Event]]:
    decode = Decoder(Said[wire]).decode  # type: ignore[valid-type]

    def read(frame: bytes) -> Iterable[Event]:
        said: Said[W] = decode(frame)
        return said.data.records()

    return read


decode_trades = Decoder(Said[TradesWire]).decode
decode_other = Decoder(Other).decode


class Kind(Struct):
    dataType: str = ""


decode_kind = Decoder(Kind).decode


def read_trades(frame: bytes) -> Iterable[Event]:
    """Read trades; the first frame has a hundred from before the subscription, newest first."""
    said = decode_trades(frame)
    records = oldest_first(said.data.records())
    return past(records) if said.type == "snapshot" else records


READERS: dict[str, Parse] = {
    "V1TAAnonymousTradeUpdate": read_trades,
    "V1TALevel2": reading(BookWire),
    "V1TALevel1": reading(BestWire),
    "V1TATickerResponse": reading(TickWire),
    "V1TAIndexPrice": reading(IndexWire),
}
ERROR = "V1TAErrorResponse"


def read_other(frame: bytes) -> Iterable[Event]:
    kind = decode_kind(frame).dataType
    if kind and kind != ERROR:
        read = READERS.get(kind)
        return () if read is None else read(frame)
    said = decode_other(frame)
    id = int(said.id) if said.id is not None and str(said.id).isdecimal() else None
    fault = said.error or said.data
    if fault is not None:
        code, words = fault.errorCode or fault.code, fault.errorCodeName or fault.message
        meaning = meaning_of(words, final=("is not a valid symbol", "is not a valid asset"), passing=("rate limit",))
        return (Refused(f"{code}: {words}", id=id, meaning=meaning),)
    if said.result is None:
        raise BadFrame("neither data nor an answer")
    words = said.result.message.lower()
    return () if "pong" in words or "unsubscribed" in words else (Accepted(id=id),)


parse = by_word(b'"dataType":"', READERS, read_other)
