"""Frames: changed orders, trades, and answers to requests."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Refused
from aggregator.records import BookSnapshot, Channel, Orders, OrdersDelta, Side, Trade
from aggregator.wire import Text, channels_by_word, ms, optional, summed, text

CHANNELS: dict[Channel, str] = {"trades": "trades", "book": "diff-orders", "orders": "diff-orders"}
OURS = channels_by_word(CHANNELS)
SIDES: tuple[Side, Side] = ("buy", "sell")
BEST = 20  # orders a side, in the channel that others ask for


class Said(Struct):
    """An answer to a request, if there is an action or an error."""

    book: str = ""
    action: str = ""
    response: str = ""
    error: str = ""
    sent: int | None = None  # ms

    @property
    def ts_sent(self) -> int | None:
        return None if self.sent is None else ms(self.sent)

    def answers(self, word: str) -> tuple[Event, ...]:
        if self.error:
            named = self.error.rpartition(" - ")[2]
            topic = (word, named) if "book is not supported" in self.error else None
            return (Refused(self.error, topic=topic, meaning="unknown" if topic is None else "final"),)
        if self.action != "subscribe":
            return ()
        if self.book:
            return (Accepted(topic=(word, self.book)),)
        return tuple(Accepted(channel=channel) for channel in OURS.get(word, ()))  # the documentation shows it so


class OrderRow(Struct, gc=False):
    o: str  # its id
    t: Literal[0, 1]  # it buys, sells
    s: str
    r: Text = None  # the price
    a: Text = None  # the size that is left
    z: int | None = None  # when it was cancelled or filled


class Changes(Said, tag_field="type", tag="diff-orders"):
    sequence: int | None = None
    payload: list[OrderRow] | None = None

    def events(self) -> Iterable[Event]:
        if self.action or self.error:
            return self.answers("diff-orders")
        if self.payload is None or self.sequence is None:
            raise BadFrame("changes of orders without a number or without orders")
        sides: tuple[Orders, Orders] = [], []
        when = 0
        for row in self.payload:
            is_open = row.s == "open"
            sides[row.t].append((row.o, text(row.r), text(row.a)) if is_open else (row.o, optional(row.r) or "", "0"))
            when = max(when, row.z or 0)
        bids, asks = sides
        event = ms(when) if when else None
        number = self.sequence
        return (
            OrdersDelta(
                raw_symbol=self.book, bids=bids, asks=asks, sequence=number, ts_event=event, ts_sent=self.ts_sent
            ),
        )


class TradeRow(Struct, gc=False):
    i: int  # counts the trades of all books
    a: Text
    r: Text
    t: Literal[0, 1]  # the taker bought, sold
    x: int
    v: Text = None

    def record(self, raw_symbol: str, sent: int | None) -> Event:
        return Trade(
            raw_symbol=raw_symbol,
            id=str(self.i),
            sequence=self.i,
            price=text(self.r),
            size=text(self.a),
            quote_size=optional(self.v),
            side=SIDES[self.t],
            ts_event=ms(self.x),
            ts_sent=sent,
        )


def number_of(row: TradeRow) -> int:
    return row.i


class Trades(Said, tag_field="type", tag="trades"):
    """Trades, of which nothing says in which order they stand."""

    payload: list[TradeRow] | None = None

    def events(self) -> Iterable[Event]:
        if self.action or self.error:
            return self.answers("trades")
        if self.payload is None:
            raise BadFrame("trades without a trade")
        return [row.record(self.book, self.ts_sent) for row in sorted(self.payload, key=number_of)]


class BestRow(Struct, gc=False):
    r: Text  # the price
    a: Text


class BestOrders(Struct, gc=False):
    bids: list[BestRow] = []
    asks: list[BestRow] = []


class Best(Said, tag_field="type", tag="orders"):
    """The twenty best orders a side, in no order, which are not asked for."""

    payload: BestOrders | None = None

    def events(self) -> Iterable[Event]:
        if self.action or self.error or self.payload is None:
            return self.answers("orders")
        bids, asks = (
            summed((text(row.r), text(row.a)) for row in sorted(rows, key=price_of))
            for rows in (self.payload.bids, self.payload.asks)
        )
        book = BookSnapshot(raw_symbol=self.book, bids=bids[::-1], asks=asks, depth=BEST, ts_sent=self.ts_sent)
        book.reason = "periodic"
        return (book,)


def price_of(row: BestRow) -> Decimal:
    return Decimal(text(row.r))


class Alive(Said, tag_field="type", tag="ka"):
    def events(self) -> Iterable[Event]:
        return ()


decode = Decoder(Changes | Trades | Best | Alive).decode
decode_other = Decoder(Said).decode


def parse(frame: bytes) -> Iterable[Event]:
    try:
        message: Changes | Trades | Best | Alive = decode(frame)
    except ValidationError:
        said = decode_other(frame)
        if not said.error:
            raise
        return said.answers("")  # it refuses a request of no known type, or what is no request
    return message.events()
