"""Reading what the futures sockets of the Binance protocol send.

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from msgspec import Raw, Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse
from aggregator.records import Record
from connectors.families.binance import STREAM, decode_best, decode_other, number, refused
from connectors.families.binance.futures_wires import (
    INVERSE,
    LINEAR,
    ContractWire,
    MarketTradeWire,
    MarkPriceWire,
    PartialWire,
    Single,
    of_contracts,
    partial,
)
from connectors.families.binance.wires import DepthWire

TAGS = {
    "trade",
    "aggTrade",
    "depthUpdate",
    "bookTicker",
    "kline",
    "24hrTicker",
    "24hrMiniTicker",
    "markPriceUpdate",
    "forceOrder",
    "contractInfo",
}
Rare = MarketTradeWire | MarkPriceWire | ContractWire
Wire = Single | Rare
KINDS = {"trade", "aggTrade", "depth", "bookTicker", "kline", "ticker", "miniTicker", "markPrice", "forceOrder"}


class Combined(Struct, gc=False):
    stream: str
    data: Wire


class Tagged(Struct):
    e: str = ""
    u: int | None = None


decode_combined = Decoder(Combined).decode
decode_bare = Decoder(Wire).decode
decode_many = Decoder(list[Wire]).decode
decode_partial = Decoder(PartialWire).decode
decode_tags = Decoder(Tagged | list[Tagged]).decode


def parser(*, inverse: bool) -> Parse:
    """A parser of one of the two exchanges: sizes of inverse contracts count contracts."""
    home = INVERSE if inverse else LINEAR

    def parse(frame: bytes) -> Iterable[Event]:
        try:
            if frame[2] == STREAM:
                said = decode_combined(frame)
                return read(said.data, home, said.stream)
            return read(decode_bare(frame), home)
        except (IndexError, ValidationError):
            return parse_other(frame, home)

    return parse


def read(wire: Wire, home: int, stream: str = "") -> Iterable[Record]:
    """The records of an event; the name of its stream tells which book a `depthUpdate` is about."""
    if type(wire) is DepthWire:
        book = book_of(stream)
        if book != "whole":
            return (partial(wire),) if book == "partial" else ()
    elif type(wire) is MarkPriceWire or type(wire) is MarketTradeWire or type(wire) is ContractWire:
        return read_rare(wire, home)
    record = wire.record()
    if home == INVERSE:
        of_contracts(record)
    return (record,)


@lru_cache(maxsize=2**12)
def book_of(stream: str) -> Literal["whole", "partial", "other"]:
    """The book that a stream is about; `rpiDepth` has one with the orders for retail price improvement."""
    kind = stream.partition("@")[2]
    if kind.startswith("rpiDepth"):
        return "other"
    return "partial" if kind.startswith("depth") and kind[5:6].isdecimal() else "whole"


def read_rare(wire: Rare, home: int) -> Iterable[Record]:
    """The records of an event that gives several, or none."""
    if type(wire) is ContractWire:
        return (wire.record(),) if wire.st in {None, home} else ()
    records = wire.records()
    if home == INVERSE:
        for record in records:
            of_contracts(record)
    return records


def parse_other(frame: bytes, home: int) -> Iterable[Event]:
    """Read a frame that is no event, or is one whose beginning does not tell its kind."""
    if frame.startswith(b"["):
        return parse_market(frame, home)
    other = decode_other(frame)
    try:
        return read(decode_bare(other.data if other.stream else frame), home, other.stream)
    except ValidationError:
        pass
    if other.stream:
        kind = other.stream.partition("@")[2].partition("@")[0].partition("_")[0].rstrip("0123456789")
        return parse_market(other.data, home, must=kind in KINDS)
    if other.e or other.u is not None:
        return parse_market(frame, home)
    if other.error is not None or other.code is not None:
        return (refused(other),)
    return () if other.id is None else (Accepted(id=number(other.id)),)


def parse_market(data: bytes | Raw, home: int, *, must: bool = False) -> Iterable[Event]:
    """An array of a whole market, an event of a kind that is not read here, or one that must be and cannot."""
    tagged = decode_tags(data)
    tags = {each.e for each in tagged} if isinstance(tagged, list) else {tagged.e}
    if isinstance(tagged, list) and tags & TAGS:
        return [record for wire in decode_many(data) for record in read(wire, home)]
    if tags == {"depthUpdate"}:
        return (decode_partial(data).record(),)
    if isinstance(tagged, Tagged) and not tagged.e and tagged.u is not None:
        return (decode_best(data).record(),)  # on spot the kind may stand in the stream's name alone
    if must or tags & TAGS:
        raise BadFrame(f"an event of {', '.join(tags)} that cannot be read")
    return ()
