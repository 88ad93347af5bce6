"""Deepcoin's frames with long names, which older texts of its documentation have, and captures may hold.

https://github.com/JKorf/DeepCoin.Net
A frame does not say whether a book is whole, so each is a change.
"""

from collections.abc import Callable, Iterable
from typing import Generic, Literal, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import MS_NS, SECOND_NS, BookDelta, Funding, IndexPrice, MarkPrice, OpenInterest, Record, Ticker
from aggregator.wire import Text, as_written, nonzero, optional, text
from connectors.deepcoin.wires import BarRow, TradeRow, is_inverse, unit_of

R = TypeVar("R")


class Row(Struct, Generic[R]):
    data: R


class Rows(Struct, Generic[R]):
    result: list[Row[R]]


class LongTrade(Struct):
    TradeID: str
    InstrumentID: str
    Direction: Literal["0", "1"]
    Price: Text
    Volume: Text
    TradeTime: int

    def record(self) -> Record:
        short = TradeRow(self.TradeID, self.InstrumentID, self.Direction, self.Price, self.Volume, self.TradeTime)
        return short.record(None)


class LongBar(Struct):
    InstrumentID: str
    PeriodID: str
    BeginTime: int
    OpenPrice: Text
    HighestPrice: Text
    LowestPrice: Text
    ClosePrice: Text
    Volume: Text = None
    Turnover: Text = None

    def record(self) -> Record:
        prices = self.OpenPrice, self.HighestPrice, self.LowestPrice, self.ClosePrice
        return BarRow(self.InstrumentID, self.PeriodID, self.BeginTime, *prices, self.Volume, self.Turnover).record(
            None
        )


class LongChange(Struct):
    InstrumentID: str
    Direction: Literal["0", "1"]
    Price: Text
    Volume: Text


class LongDay(Struct):
    InstrumentID: str
    UpdateTime: int
    UpdateMilliSecond: int = 0
    LastPrice: Text = None
    OpenPrice: Text = None
    HighestPrice: Text = None
    LowestPrice: Text = None
    Volume: Text = None
    Turnover: Text = None
    MarkedPrice: Text = None
    UnderlyingPrice: Text = None
    PositionFeeRate: Text = None
    OpenInterest: Text = None

    def records(self) -> Iterable[Record]:
        name, at = self.InstrumentID, self.UpdateTime * SECOND_NS + self.UpdateMilliSecond * MS_NS
        is_contract = unit_of(name) == "contract"
        yield Ticker(
            raw_symbol=name,
            last=nonzero(self.LastPrice),
            open=nonzero(self.OpenPrice),
            high=nonzero(self.HighestPrice),
            low=nonzero(self.LowestPrice),
            quote_volume=optional(self.Turnover) if is_contract and not is_inverse(name) else None,
            contract_volume=optional(self.Volume) if is_contract else None,
            ts_event=at,
        )
        if not is_contract:
            return
        if mark := nonzero(self.MarkedPrice):
            yield MarkPrice(raw_symbol=name, price=mark, ts_event=at)
        if index := nonzero(self.UnderlyingPrice):
            yield IndexPrice(raw_symbol=name, price=index, ts_event=at)
        if (rate := optional(self.PositionFeeRate)) is not None:
            yield Funding(raw_symbol=name, rate=rate, ts_event=at)
        if (size := optional(self.OpenInterest)) is not None:
            yield OpenInterest(raw_symbol=name, size=size, size_unit="contract", ts_event=at)


decode_trades = Decoder(Rows[LongTrade], float_hook=as_written).decode
decode_bars = Decoder(Rows[LongBar], float_hook=as_written).decode
decode_changes = Decoder(Rows[LongChange], float_hook=as_written).decode
decode_days = Decoder(Rows[LongDay], float_hook=as_written).decode


def read_changes(frame: bytes) -> Iterable[Record]:
    books: dict[str, BookDelta] = {}
    for row in decode_changes(frame).result:
        change = row.data
        book = books.setdefault(change.InstrumentID, BookDelta(raw_symbol=change.InstrumentID, bids=[], asks=[]))
        (book.bids if change.Direction == "0" else book.asks).append((text(change.Price), text(change.Volume)))
    return books.values()


READERS: dict[str, Callable[[bytes], Iterable[Record]]] = {
    "PushMarketTrade": lambda frame: [row.data.record() for row in decode_trades(frame).result],
    "PushKLine": lambda frame: [row.data.record() for row in decode_bars(frame).result],
    "PushMarketOrder": read_changes,
    "PushMarketDataOverView": lambda frame: [
        record for row in decode_days(frame).result for record in row.data.records()
    ],
}


def read(action: str, frame: bytes) -> Iterable[Record]:
    """Read a frame by its action; an answer is of no use."""
    reader = READERS.get(action)
    return () if reader is None else reader(frame)
