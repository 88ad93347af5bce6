"""Reading what the sockets of the BHEX protocol send.

https://hashkeyglobal-apidoc.readme.io/reference/websocket-v1
"""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Event, Parse, Refused
from aggregator.wire import by_word, past
from connectors.families.bhex.wires import BarRow, DepthRow, MarkRow, Params, StatisticsRow, TradeRow

R = TypeVar("R")


class Said(Struct, Generic[R], gc=False):
    """Data: rows, or one of the second version of the sockets, which names its symbol in the parameters alone."""

    data: list[R] | R
    symbol: str = ""
    params: Params = Params()
    f: bool = False  # the first frame of a topic: of trades it holds those before
    sendTime: int = 0

    @property
    def rows(self) -> list[R]:
        return self.data if isinstance(self.data, list) else [self.data]

    @property
    def name(self) -> str:
        return self.symbol or self.params.symbol


class Other(Struct):
    topic: str = ""
    type: str = ""  # frames of HashKey Pro, which is another exchange, have one
    code: int | str | None = None
    desc: str = ""
    msg: str = ""


decode_trades = Decoder(Said[TradeRow]).decode
decode_depths = Decoder(Said[DepthRow]).decode
decode_statistics = Decoder(Said[StatisticsRow]).decode
decode_bars = Decoder(Said[BarRow]).decode
decode_other = Decoder(Other).decode


class Marks(Struct, gc=False):
    """A later frame names its contract in another field than the first, and its row may be alone."""

    data: list[MarkRow] | MarkRow
    symbol: str = ""
    symbolId: str = ""
    sendTime: int = 0


decode_marks = Decoder(Marks).decode


def trades(*, is_buy: bool) -> Parse:
    """A reader of trades, of which `m` is `is_buy` where the taker bought: members of the family differ in it."""

    def read(frame: bytes) -> Iterable[Event]:
        said = decode_trades(frame)
        if not said.f:
            return [row.record(said.name, said.sendTime, is_buy=is_buy) for row in said.rows]
        return past(
            row.record(said.name, said.sendTime, is_buy=is_buy) for row in sorted(said.rows, key=lambda row: row.t)
        )

    return read


def read_depths(frame: bytes) -> Iterable[Event]:
    said = decode_depths(frame)
    return [row.record(said.name, said.sendTime) for row in said.rows]


def read_statistics(frame: bytes) -> Iterable[Event]:
    said = decode_statistics(frame)
    return [row.record(said.name, said.sendTime, said.params.realtimeInterval) for row in said.rows]


def read_bars(frame: bytes) -> Iterable[Event]:
    said = decode_bars(frame)
    return [row.record(said.name, said.sendTime, said.params.klineType) for row in said.rows]


def read_marks(frame: bytes) -> Iterable[Event]:
    said = decode_marks(frame)
    rows = said.data if isinstance(said.data, list) else [said.data]
    return [record for row in rows for record in row.records(said.symbol or said.symbolId, said.sendTime)]


READERS: Mapping[str, Parse] = {
    "realtimes": read_statistics,
    "kline": read_bars,
    "markPrice": read_marks,
}


def parsing(own: Mapping[str, Parse]) -> Parse:
    """A parser of the topics that all members have, and of one member's own."""
    readers = {**READERS, **own}

    def parse_other(frame: bytes) -> Iterable[Event]:
        """Read a frame that is none of ours, or is spaced in another way; a refusal names neither topic nor symbol."""
        other = decode_other(frame)
        if other.code is not None and str(other.code) != "0":
            reason = f"{other.code}: {other.desc or other.msg}"
            return (Refused(reason),)  # it may be of any frame of a request: what it seems to mean is asked for again
        read = None if other.type else readers.get(other.topic)
        return read(frame) if read is not None else ()

    return by_word(b'"topic":"', readers, parse_other)
