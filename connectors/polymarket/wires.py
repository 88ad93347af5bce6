"""The messages of Polymarket's perpetuals in its own spelling.

https://docs.polymarket.com/asyncapi-perps.json
`ts` is when a frame was sent, and `ets` the time of the matching engine, both in milliseconds; `sq` counts what the
engine did, and grows by no fixed step. Instruments go by numbers.
"""

from typing import Generic, Literal, TypeVar

from msgspec import Struct

from aggregator.records import MS_NS
from aggregator.wire import Text

T = TypeVar("T")


class Said(Struct, Generic[T], gc=False):
    ch: str
    data: T
    ts: int | None = None
    ets: int | None = None
    sq: int | None = None

    @property
    def name(self) -> str:
        return self.ch.split("::")[1]

    @property
    def at(self) -> int | None:
        return None if self.ets is None else self.ets * MS_NS

    @property
    def sent(self) -> int | None:
        return None if self.ts is None else self.ts * MS_NS


class TradeWire(Struct, gc=False):
    tid: int
    side: Literal["long", "short"]  # the taker bought, or sold
    p: Text
    qty: Text
    ts: int


class BookWire(Struct, gc=False):
    b: list[list[Text]] = []
    a: list[list[Text]] = []


class BestWire(Struct, gc=False):
    bp: Text = None
    bq: Text = None
    ap: Text = None
    aq: Text = None


class FiguresWire(Struct, gc=False):
    iid: int
    last: Text = None
    idx: Text = None
    mark: Text = None
    oi: Text = None
    fr: Text = None
    nxf: int | None = None


class DayWire(Struct, gc=False):
    """Statistics of a day, with its candles, which their own channel tells."""

    iid: int | None = None
    open: Text = None
    vol: Text = None  # in the quote asset, as ccxt reads it
