"""BtcTurk's models, in its own spelling."""

from typing import Literal

from msgspec import Struct

from aggregator.records import Side, Trade
from aggregator.wire import Text, ms, text

SIDES: tuple[Side, Side] = ("buy", "sell")


class TradeRow(Struct, gc=False):
    D: str  # milliseconds
    I: str  # noqa: E741 - the exchange's own spelling
    A: str
    P: str
    S: Literal[0, 1]  # the taker's: 0 bought, 1 sold

    def record(self, pair: str) -> Trade:
        price, size = text(self.P), text(self.A)
        return Trade(raw_symbol=pair, id=self.I, price=price, size=size, side=SIDES[self.S], ts_event=ms(self.D))


class TradeWire(TradeRow, gc=False):
    event: str


class TradesWire(Struct):
    event: str
    items: list[TradeRow]


class LevelWire(Struct, gc=False):
    A: str
    P: str


class ChangeWire(LevelWire, gc=False):
    CP: Literal[0, 1, 3]  # another amount, a new level, a deleted one, whose amount is a leftover


class BookWire(Struct, gc=False):
    CS: int
    event: str
    AO: list[LevelWire]
    BO: list[LevelWire]


class ChangesWire(Struct, gc=False):
    CS: int
    event: str
    AO: list[ChangeWire]
    BO: list[ChangeWire]


class TickerWire(Struct, gc=False):
    event: str
    B: Text = None
    A: Text = None
    BA: Text = None
    AA: Text = None
    H: Text = None
    L: Text = None
    LA: Text = None
    O: Text = None  # noqa: E741 - the exchange's own spelling
    V: Text = None


class CandleWire(Struct, gc=False):
    event: str
    D: int
    O: Text  # noqa: E741 - the exchange's own spelling
    H: Text
    L: Text
    C: Text
    V: Text = None


class AnswerWire(Struct):
    ok: bool
    message: str = ""
