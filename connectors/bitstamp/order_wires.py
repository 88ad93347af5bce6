"""Frames of single orders: each is created, changed, and deleted.

An order that finds another at once may be told as created before it is told as changed or deleted; one that is changed
may have another price, and one that is deleted may name a price that it never had in the book.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Event, Ignored, Parse
from aggregator.records import Order, OrdersDelta
from aggregator.wire import Text, us
from connectors.bitstamp.wires import Frame, decode, parse_other

KINDS = {"order_created", "order_changed", "order_deleted"}


class OrderWire(Struct, gc=False):
    id_str: str
    order_type: int  # 0 a buyer's, 1 a seller's
    price_str: str
    amount_str: str  # the size that is left
    microtimestamp: str


class OrderFrame(Frame):
    """An order's frame names itself, and the one before it of its market."""

    event_id: Text = None
    pre_event_id: Text = None
    order_source: str = ""  # `orderbook`, or `stop_order`: one that waits outside of the book


class Told(Struct, gc=False):
    """The newest event of a market.

    id: the exchange's name of it
    at: the number of the newest one that was told
    """

    id: str | int | None
    at: int | None


NOTHING = Told(None, None)

decode_frame = Decoder(OrderFrame).decode
decode_order = Decoder(OrderWire).decode


class Reader:
    """The reader of one connection, which remembers the newest event of each market.

    A whole book is known by its time, so times are the numbers of these changes. Each names the number before it, where
    the exchange says that it follows the event that was read last; where not, it names itself, which fits no book.
    """

    def __init__(self) -> None:
        self._told: dict[str, Told] = {}

    def parse(self, frame: bytes) -> Iterable[Event]:
        if b'"order_' not in frame:
            said = decode(frame)
            wire, _, raw_symbol = said.channel.rpartition("_")
            return parse_other(said, wire, raw_symbol)
        told = decode_frame(frame)
        if told.event not in KINDS:
            raise BadFrame(f"an order is {told.event[:40]!r}: what that does to the book is not known")
        order, (_, _, raw_symbol) = decode_order(told.data), told.channel.rpartition("_")
        before = self._told.get(raw_symbol, NOTHING)
        last = before.at if told.pre_event_id is None or told.pre_event_id == before.id else None
        if told.order_source == "stop_order":
            if last is not None:  # else the next event of the book must show the hole that is before this one
                self._told[raw_symbol] = Told(told.event_id, last)
            return (Ignored("an order that waits outside of the book"),)
        number = int(order.microtimestamp)
        if last is None and before.at is not None:
            number = max(number, before.at + 1)  # several events may have one time, and a hole between them must show
        self._told[raw_symbol] = Told(told.event_id, number)
        row: Order = order.id_str, order.price_str, "0" if told.event == "order_deleted" else order.amount_str
        return (
            OrdersDelta(
                raw_symbol=raw_symbol,
                bids=[] if order.order_type else [row],
                asks=[row] if order.order_type else [],
                sequence=number,
                sequence_prev=number if last is None else last,
                ts_event=us(order.microtimestamp),
            ),
        )


def reader() -> Parse:
    return Reader().parse
