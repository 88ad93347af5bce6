"""Reading what the futures sockets of the Binance protocol send.

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from collections.abc import Iterable

from msgspec import Raw, Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse
from aggregator.records import Record
from connectors.families.binance import START, combined, decode_other, number, refused
from connectors.families.binance.futures_wires import (
    INVERSE,
    LINEAR,
    ContractWire,
    MarketTradeWire,
    MarkPriceWire,
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
RARE = (MarketTradeWire, MarkPriceWire, ContractWire)
KINDS = {"trade", "aggTrade", "depth", "bookTicker", "kline", "ticker", "miniTicker", "markPrice", "forceOrder"}
CHANGES = (b"@depth@", b'@depth"')  # how a stream of changes to a book ends; of a partial one, `@depth20`


class Combined(Struct, gc=False):
    data: Wire


class CombinedDepth(Struct, gc=False):
    data: DepthWire


class Tagged(Struct):
    e: str = ""


decode_combined = Decoder(Combined).decode
decode_bare = Decoder(Wire).decode
decode_many = Decoder(list[Wire]).decode
decode_depth = Decoder(CombinedDepth).decode
decode_tags = Decoder(Tagged | list[Tagged]).decode


def parser(*, inverse: bool) -> Parse:
    """A parser of one of the two exchanges: sizes of inverse contracts count contracts."""
    home = INVERSE if inverse else LINEAR

    def parse(frame: bytes) -> Iterable[Event]:
        try:
            if not frame.startswith(START):
                return read(decode_bare(frame), home)
            at = frame.find(b"epth", 0, 64)
            if at > 0 and frame[at - 2 : at + 5] not in CHANGES:
                return parse_depth(frame, home)
            return read(decode_combined(frame).data, home)
        except ValidationError:
            return parse_other(frame, home, parse)

    return parse


def read(wire: Wire, home: int) -> Iterable[Record]:
    if isinstance(wire, RARE):
        return read_rare(wire, home)
    record = wire.record()
    if home == INVERSE:
        of_contracts(record)
    return (record,)


def read_rare(wire: Rare, home: int) -> Iterable[Record]:
    """What gives several records, or none."""
    if isinstance(wire, ContractWire):
        return (wire.record(),) if wire.st in {None, home} else ()
    records = wire.records()
    if home == INVERSE:
        for record in records:
            of_contracts(record)
    return records


def parse_depth(frame: bytes, home: int) -> Iterable[Event]:
    """Of a stream whose name holds `depth`: a partial book, another book, or a symbol that is called so."""
    kind = decode_other(frame).stream.partition("@")[2]
    if kind.startswith("rpiDepth"):  # with the orders for retail price improvement
        return ()
    if kind.startswith("depth") and kind[5:6].isdecimal():
        return (partial(decode_depth(frame).data),)
    return read(decode_combined(frame).data, home)


def parse_other(frame: bytes, home: int, parse: Parse) -> Iterable[Event]:
    if frame.startswith(b"["):
        return parse_market(frame, home)
    other = decode_other(frame)
    if other.stream and not frame.startswith(START):
        return parse(combined(other))
    if other.stream:
        kind = other.stream.partition("@")[2].partition("@")[0].partition("_")[0].rstrip("0123456789")
        return parse_market(other.data, home, must=kind in KINDS)
    if other.e:
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
    if must or tags & TAGS:
        raise BadFrame(f"an event of {', '.join(tags)} that cannot be read")
    return ()
