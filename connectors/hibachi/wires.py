"""The messages of Hibachi in its own spelling, and the levels of a book that changes.

https://hibachi-docs.redocly.app/wsapi/market
A book is a window of so many levels a side: a change says from which price to which it reaches now, and what stood
outside has left it.
"""

from decimal import Decimal
from typing import Generic, Literal, TypeVar

from msgspec import Struct

from aggregator.records import MS_NS, Levels
from aggregator.wire import Text, is_zero, text

Held = dict[str, Decimal]  # the prices of one side of a book, as they are spelled

T = TypeVar("T")


class Said(Struct, Generic[T], gc=False):
    symbol: str
    data: T


class TradeWire(Struct, gc=False):
    price: Text
    quantity: Text
    takerSide: Literal["Buy", "Sell"]
    timestamp: Text  # in seconds


class TradeData(Struct, gc=False):
    trade: TradeWire


class LevelWire(Struct, gc=False):
    price: Text
    quantity: Text


class SideWire(Struct, gc=False):
    """One side; without levels it is empty."""

    levels: list[LevelWire] = []
    startPrice: Text = None
    endPrice: Text = None


class BookData(Struct, gc=False):
    bid: SideWire | None = None
    ask: SideWire | None = None


class BookFrame(Struct, gc=False):
    symbol: str
    messageType: Literal["Snapshot", "Update"]
    data: BookData
    depth: int | None = None
    timestamp_ms: int | None = None

    @property
    def sent(self) -> int | None:
        return None if self.timestamp_ms is None else self.timestamp_ms * MS_NS


class BestData(Struct, gc=False):
    bidPrice: Text = None
    bidSize: Text = None
    askPrice: Text = None
    askSize: Text = None


class RateWire(Struct, gc=False):
    estimatedFundingRate: Text = None
    nextFundingTimestamp: Text = None  # in seconds


class RateData(Struct, gc=False):
    fundingRateEstimation: RateWire


class MarkData(Struct, gc=False):
    markPrice: Text = None


class SpotData(Struct, gc=False):
    spotPrice: Text = None


def changed(held: Held, side: SideWire | None) -> Levels:
    """The levels of one side that have changed, those that have left the window among them; `held` is brought up."""
    gone = list(held)
    if side is not None and side.startPrice and side.endPrice:
        least, most = sorted((Decimal(text(side.startPrice)), Decimal(text(side.endPrice))))
        gone = [spelled for spelled, price in held.items() if not least <= price <= most]
    elif side is not None and side.levels:
        gone = []
    for spelled in gone:
        del held[spelled]
    found: Levels = [(spelled, "0") for spelled in gone]
    for level in [] if side is None else side.levels:
        price, size = text(level.price), text(level.quantity)
        if is_zero(size):
            held.pop(price, None)
        else:
            held[price] = Decimal(price)
        found.append((price, size))
    return found
