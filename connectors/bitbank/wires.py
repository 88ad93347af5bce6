"""The data of the rooms, and the records of each."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Struct

from aggregator.exchange import Event
from aggregator.records import DAY_S, BookDelta, BookSnapshot, MarketState, Side, Status, Ticker, Trade
from aggregator.wire import Text, bbo, is_zero, levels, ms, nonzero, optional, text

STATES: dict[str, MarketState] = {
    "NONE": "trading",
    "CIRCUIT_BREAK": "halt",
    "FULL_RANGE_CIRCUIT_BREAK": "halt",
    "RESUMPTION": "pre_open",  # orders are gathered for the auction that opens the market
    "LISTING": "pre_open",
}
T = TypeVar("T")


class Data(Struct, Generic[T]):
    data: T


class Room(Struct, Generic[T]):
    room_name: str
    message: Data[T]


class Transaction(Struct, gc=False):
    transaction_id: int
    side: Side  # the taker's
    price: str
    amount: str
    executed_at: int

    def record(self, pair: str) -> Trade:
        return Trade(
            raw_symbol=pair,
            id=str(self.transaction_id),
            price=text(self.price),
            size=text(self.amount),
            side=self.side,
            sequence=self.transaction_id,
            ts_event=ms(self.executed_at),
        )


class Transactions(Struct, gc=False):
    transactions: list[Transaction]  # newest first

    def records(self, pair: str) -> list[Trade]:
        return [t.record(pair) for t in reversed(self.transactions)]


class Diff(Struct, gc=False):
    a: list[list[Text]]
    b: list[list[Text]]
    t: int
    s: int  # text on the wire

    def records(self, pair: str) -> Iterable[Event]:
        bids, asks = levels(self.b), levels(self.a)
        return (BookDelta(raw_symbol=pair, bids=bids, asks=asks, sequence=self.s, ts_sent=ms(self.t)),)


class Whole(Struct, gc=False):
    asks: list[list[Text]]
    bids: list[list[Text]]
    timestamp: int
    sequenceId: int  # text on the wire
    asks_over: str = "0"  # the size of orders beyond these levels
    bids_under: str = "0"

    def records(self, pair: str) -> Iterable[Event]:
        bids, asks = levels(self.bids), levels(self.asks)
        book = BookSnapshot(
            raw_symbol=pair,
            bids=bids,
            asks=asks,
            reason="periodic",
            sequence=self.sequenceId,
            ts_sent=ms(self.timestamp),
            bid_floor=bids[-1][0] if bids and not is_zero(self.bids_under) else None,
            ask_cap=asks[-1][0] if asks and not is_zero(self.asks_over) else None,
        )
        return (book,)


class TickerWire(Struct, gc=False):
    timestamp: int
    sell: str | None = None  # null where the pair is suspended
    buy: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    last: str | None = None
    vol: str | None = None

    def records(self, pair: str) -> Iterable[Event]:
        statistics = Ticker(
            raw_symbol=pair,
            last=nonzero(self.last),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.vol),
            window_s=DAY_S,
            ts_event=ms(self.timestamp),
        )
        return statistics, bbo(pair, self.buy, None, self.sell, None, ts_event=ms(self.timestamp))


class Break(Struct):
    """The state of the circuit breaker."""

    mode: str
    timestamp: int

    def records(self, pair: str) -> Iterable[Event]:
        state = STATES.get(self.mode, "unknown")
        reason = None if state == "trading" else self.mode
        return (Status(raw_symbol=pair, state=state, reason=reason, ts_event=ms(self.timestamp)),)
