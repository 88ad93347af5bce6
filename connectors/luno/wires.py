"""Frames of the stream: all orders, and what changes them."""

from collections.abc import Iterable
from decimal import Context, Decimal

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Denied, Event, Hangup, Ignored, Parse, Refused
from aggregator.records import Channel, MarketState, Order, Orders, OrdersDelta, OrdersSnapshot, Side, Status, Trade
from aggregator.wire import Text, ms, text

CHANNELS: dict[Channel, str] = {"trades": "trade_updates", "book": "create_update", "orders": "create_update"}
MOST_KNOWN = 50_000  # orders of one market that are remembered; the largest has some 20,000
WIDE, EXACT = Context(prec=40), Context(prec=200)  # a quotient of 40 digits, and its product without rounding
Known = tuple[str, str, str]  # the side of an order, its price, and what is left of it
STATES: dict[str, MarketState] = {  # the listing and all else spell them differently
    "ACTIVE": "trading",
    "POST_ONLY": "post_only",
    "POSTONLY": "post_only",
    "SUSPENDED": "halt",
    "DISABLED": "halt",
}
TAKER: dict[str, Side] = {"BID": "sell", "ASK": "buy"}  # by the maker's order


class Resting(Struct, gc=False):
    id: str
    price: Text
    volume: Text

    def order(self) -> Order:
        return self.id, text(self.price), text(self.volume)


class Created(Struct, gc=False):
    order_id: str
    type: str  # BID or ASK
    price: Text
    volume: Text


class Deleted(Struct, gc=False):
    order_id: str


class Traded(Struct, gc=False):
    base: Text
    counter: Text
    maker_order_id: str
    sequence: int | None = None  # counts the trades of the market


class NewState(Struct, gc=False):
    status: str


class Frame(Struct, gc=False):
    """All orders, or changes of them, or an error. All kinds of changes may be null: the number grows all the same."""

    sequence: Text = None
    timestamp: int | None = None
    asks: list[Resting] | None = None
    bids: list[Resting] | None = None
    trade_updates: list[Traded] | None = None
    create_update: Created | None = None
    delete_update: Deleted | None = None
    status_update: NewState | None = None
    status: str = ""  # the state, beside all orders
    error_code: str = ""
    error: str = ""

    @property
    def when(self) -> int | None:
        return None if self.timestamp is None else ms(self.timestamp)


decode = Decoder(Frame | str).decode


class Reader:
    """The reader of one connection, which is about one market; it remembers what it must of each order."""

    def __init__(self, *, has_keys: bool) -> None:
        self._known: dict[str, Known] = {}
        self._has_keys = has_keys

    def parse(self, frame: bytes) -> Iterable[Event]:
        said = decode(frame)
        if isinstance(said, str):
            return ()  # an empty text is a sign of life
        if said.error_code:
            return self._error(said)
        if said.sequence is None:
            raise BadFrame("changes without a number")
        return self._whole(said) if said.asks is not None and said.bids is not None else self._changes(said)

    def _error(self, said: Frame) -> Iterable[Event]:
        reason = f"{said.error_code}: {said.error}".removesuffix(": ")
        if said.error_code == "invalid_market":
            return [Refused(reason, channel=channel, meaning="final") for channel in CHANNELS]
        if said.error_code == "invalid_credentials" and self._has_keys:
            return (Denied(reason),)
        return (Hangup(reason),)

    def _whole(self, said: Frame) -> Iterable[Event]:
        bids = [row.order() for row in said.bids or ()]
        asks = [row.order() for row in said.asks or ()]
        self._known = {}
        for side, orders in (("BID", bids), ("ASK", asks)):
            self._known |= {id: (side, price, volume) for id, price, volume in orders}
        whole = OrdersSnapshot(bids=bids, asks=asks, sequence=int(text(said.sequence)), ts_event=said.when)
        return (whole, state_of(said.status)) if said.status else (whole,)

    def _changes(self, said: Frame) -> Iterable[Event]:
        sides: dict[str, Orders] = {"BID": [], "ASK": []}
        events: list[Event] = []
        for trade in said.trade_updates or ():
            base = text(trade.base)
            side, price = self._taken(trade.maker_order_id, base)
            sides[side or "BID"].append((trade.maker_order_id, price, f"-{base}"))
            price = price or quotient(text(trade.counter), base)
            if not price:
                events.append(Ignored("a trade with an order that is not known, at a price that is not said"))
                continue
            events.append(
                Trade(
                    id=None if trade.sequence is None else str(trade.sequence),
                    sequence=trade.sequence,
                    price=price,
                    size=base,
                    quote_size=text(trade.counter),
                    side=TAKER.get(side),
                    ts_event=said.when,
                )
            )
        if (new := said.create_update) is not None:
            price, volume = text(new.price), text(new.volume)
            sides[new.type].append((new.order_id, price, volume))
            self._remember(new.order_id, (new.type, price, volume))
        if (gone := said.delete_update) is not None:
            side, price, _ = self._known.pop(gone.order_id, ("BID", "", ""))
            sides[side].append((gone.order_id, price, "0"))
        if (state := said.status_update) is not None:
            events.append(state_of(state.status, ts_event=said.when))
        number = int(text(said.sequence))
        events.append(OrdersDelta(bids=sides["BID"], asks=sides["ASK"], sequence=number, ts_event=said.when))
        return events

    def _taken(self, id: str, base: str) -> tuple[str, str]:
        """The side and the price of an order that a trade takes from: it is forgotten once nothing is left of it."""
        side, price, volume = self._known.get(id, ("", "", ""))
        if side:
            left = EXACT.subtract(Decimal(volume), Decimal(base))
            if left > 0:
                self._known[id] = side, price, f"{left:f}"
            else:
                del self._known[id]
        return side, price

    def _remember(self, id: str, order: Known) -> None:
        """Remember an order. Beyond all that a market can have the oldest are forgotten."""
        self._known[id] = order
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]


def state_of(status: str, raw_symbol: str | None = None, ts_event: int | None = None) -> Status:
    state = STATES.get(status, "unknown")
    reason = None if state == "trading" else status
    return Status(raw_symbol=raw_symbol, state=state, reason=reason, ts_event=ts_event)


def quotient(counter: str, base: str) -> str:
    """The price of a trade of so much for so much, where it comes out exactly; else an empty text."""
    amount, whole = Decimal(base), Decimal(counter)
    price = WIDE.divide(whole, amount)
    return f"{price.normalize():f}" if EXACT.multiply(price, amount) == whole else ""


def with_keys() -> Parse:
    return Reader(has_keys=True).parse


def without_keys() -> Parse:
    return Reader(has_keys=False).parse
