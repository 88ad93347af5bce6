"""Frames of single orders (channel `full`), which only those get who show keys.

Every message of a product has the next number, also one that leaves the book as it is: an order that has come in
(`received`), or a market order that is done. An order rests in the book from `open` on, and trades take from it.
"""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Event
from aggregator.records import Order, OrdersDelta, Side
from connectors.coinbaseexchange.wires import parse_other, stamp


class Step(Struct, gc=False):
    """All messages of the life of an order have these."""

    product_id: str
    sequence: int
    side: Side  # where two orders meet, that of the one which was there
    time: str

    def told(self, *rows: Order) -> tuple[Event, ...]:
        is_bid = self.side == "buy"
        return (
            OrdersDelta(
                raw_symbol=self.product_id,
                bids=list(rows) if is_bid else [],
                asks=[] if is_bid else list(rows),
                sequence=self.sequence,
                ts_event=stamp(self.time),
            ),
        )

    def events(self) -> tuple[Event, ...]:
        """The change of the book: none."""
        return self.told()


class Received(Step, tag_field="type", tag="received", gc=False):
    """An order has come in; it may never rest."""


class Opened(Step, tag_field="type", tag="open", gc=False):
    order_id: str
    price: str
    remaining_size: str

    def events(self) -> tuple[Event, ...]:
        return self.told((self.order_id, self.price, self.remaining_size))


class Matched(Step, tag_field="type", tag="match", gc=False):
    maker_order_id: str
    price: str
    size: str

    def events(self) -> tuple[Event, ...]:
        return self.told((self.maker_order_id, self.price, f"-{self.size}"))


class Done(Step, tag_field="type", tag="done", gc=False):
    """An order is filled or cancelled; it may never have rested."""

    order_id: str
    price: str | None = None  # null: a market order

    def events(self) -> tuple[Event, ...]:
        return self.told((self.order_id, self.price or "", "0"))


class Changed(Step, tag_field="type", tag="change", gc=False):
    """An order is smaller, lest its owner trades with himself; or its owner has given it another size or price.

    Only the second is surely about an order that rests. The first is told as what is taken off, which does nothing to
    an order that is not in the book.
    """

    order_id: str
    reason: str = "STP"
    price: str | None = None  # null: a market order, or it is `new_price`
    new_price: str | None = None
    old_size: str | None = None
    new_size: str | None = None

    def events(self) -> tuple[Event, ...]:
        if self.old_size is None or self.new_size is None:
            return self.told()  # a market order of so much money
        if self.reason == "modify_order":
            price = self.new_price or self.price
            if price is None:
                raise BadFrame("an order is modified to no price")
            return self.told((self.order_id, price, self.new_size))
        taken = Decimal(self.old_size) - Decimal(self.new_size)
        return self.told((self.order_id, self.price or "", f"-{taken:f}")) if taken > 0 else self.told()


TAGS = {"received", "open", "match", "done", "change"}
decode = Decoder(Received | Opened | Matched | Done | Changed).decode


def parse_orders(frame: bytes) -> Iterable[Event]:
    try:
        events: Iterable[Event] = decode(frame).events()
    except ValidationError:
        return parse_other(frame, TAGS)
    return events
