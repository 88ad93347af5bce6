"""Books that an exchange tells order by order: each order is kept, and changed levels are made of changed orders.

Whatever guards a book by level guards these too, for it sees nothing else. Sizes are added as scaled integers, exactly.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from aggregator.book import OrderBook
from aggregator.errors import BadFrame
from aggregator.records import (
    MINUTE_NS,
    BookDelta,
    BookSnapshot,
    Cause,
    Levels,
    Order,
    Orders,
    OrdersDelta,
    OrdersSnapshot,
    Record,
)
from aggregator.sequence import NEXT
from aggregator.session.moment import Now
from aggregator.session.order_book import BookTopic
from aggregator.session.topics import Topic, happen

AGAIN_NS = 5 * MINUTE_NS  # so long after all orders were told they are told again, with the next change
MOST_ORDERS = 500_000  # the largest book that is known has some ten thousand
LONGEST_SIZE = 256  # digits
Scaled = tuple[int, int]  # an integer, and how many of its digits are decimals


def scaled(size: str) -> Scaled:
    """A size as an integer and its number of decimals. Raises BadFrame where it is no plain decimal number."""
    whole, _, decimals = size.partition(".")
    digits = whole + decimals
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > LONGEST_SIZE:
        raise BadFrame(f"{size[:40]!r} is not the size of an order")
    return int(digits), len(decimals)


def spelled(number: int, places: int) -> str:
    """A scaled integer as decimal text, with all its decimals."""
    if not places:
        return str(number)
    digits = str(number).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}"


def less(size: str, taken: str) -> str:
    """A size less another; zero where nothing is left."""
    (number, places), (other, others) = scaled(size), scaled(taken)
    finer = max(places, others)
    left = number * 10 ** (finer - places) - other * 10 ** (finer - others)
    return spelled(left, finer) if left > 0 else "0"


def place_of(price: str) -> str:
    """One and the same text for each spelling of a price."""
    return price.strip("0").rstrip(".") if "." in price else price.lstrip("0")


class Level(Struct, gc=False):
    """The orders of one price together; `places` is how many decimals the finest of them has had."""

    price: str
    total: int = 0
    places: int = 0
    count: int = 0

    def add(self, size: str, sign: int) -> None:
        """Add an order of this size; with a sign of -1 take it away."""
        number, places = scaled(size)
        if places > self.places:
            self.total *= 10 ** (places - self.places)
            self.places = places
        self.total += sign * number * 10 ** (self.places - places)
        self.count += sign
        if not self.count:
            self.places = 0  # whatever comes to this price again has its own decimals

    @property
    def told(self) -> tuple[str, str]:
        """Its price and size."""
        return self.price, spelled(self.total, self.places) if self.count else "0"


class OrderKeeper:
    """The orders of one book, and what they come to by level."""

    __slots__ = ("_levels", "_orders")

    def __init__(self, whole: OrdersSnapshot) -> None:
        """Keep these orders. Raises BadFrame for a size that is no number, and for too many orders."""
        self._orders: dict[str, tuple[int, str, str]] = {}
        self._levels: tuple[dict[str, Level], dict[str, Level]] = {}, {}
        self.apply(whole.bids, whole.asks)

    def apply(self, bids: Orders, asks: Orders) -> tuple[Levels, Levels, Orders, Orders]:
        """Change orders. Gives the levels that this changes, and the orders as they stand now.

        Raises BadFrame as above; nothing here is of use after that.
        """
        levels: tuple[dict[str, Level], dict[str, Level]] = {}, {}
        told: tuple[Orders, Orders] = [], []
        for side, orders in enumerate((bids, asks)):
            for order in orders:
                self._change(side, order, levels, told)
        if len(self._orders) > MOST_ORDERS:
            raise BadFrame(f"a book of more than {MOST_ORDERS} orders")
        for mine, changed in zip(self._levels, levels, strict=True):
            for place, level in changed.items():
                if not level.count:
                    del mine[place]
        changed_bids, changed_asks = ([level.told for level in side.values()] for side in levels)
        return changed_bids, changed_asks, *told

    def _change(
        self, side: int, order: Order, changed: tuple[dict[str, Level], ...], told: tuple[Orders, Orders]
    ) -> None:
        id, price, size = order
        before = self._orders.get(id)
        if size[:1] == "-":
            if before is None:
                return
            side, price, size = before[0], before[1], less(before[2], size[1:])
        is_gone = not size.lstrip("0.")  # zero, however it is spelled
        if before is not None:
            was_side, was_price, was_size = before
            self._add(was_side, was_price, was_size, -1, changed)
            if is_gone or was_side != side:
                told[was_side].append((id, was_price, "0"))
            if is_gone or was_side != side or was_price != price:
                del self._orders[id]  # one that moves is behind the others of its new price
        if not is_gone:
            self._add(side, price, size, 1, changed)
            self._orders[id] = side, price, size
            told[side].append((id, price, size))

    def _add(self, side: int, price: str, size: str, sign: int, changed: tuple[dict[str, Level], ...]) -> None:
        place = place_of(price)
        level = self._levels[side].get(place)
        if level is None:
            level = self._levels[side][place] = Level(price)
        level.add(size, sign)
        changed[side][place] = level

    def levels(self) -> tuple[Levels, Levels]:
        """The whole book by level, best first. Raises BadFrame for a price that is no number."""
        bids, asks = ([level.told for level in side.values()] for side in self._levels)
        book = OrderBook(bids, asks)
        return book.bids(), book.asks()

    def orders(self) -> tuple[Orders, Orders]:
        """Every order, by side."""
        told: tuple[Orders, Orders] = [], []
        for id, (side, price, size) in self._orders.items():
            told[side].append((id, price, size))
        return told


def by_level(whole: OrdersSnapshot) -> BookSnapshot:
    """The book by level of all orders. Raises BadFrame for a price or size that is no number."""
    return leveled(whole, OrderKeeper(whole))


def leveled(whole: OrdersSnapshot, keeper: OrderKeeper) -> BookSnapshot:
    """Likewise, where the orders are kept already."""
    bids, asks = keeper.levels()
    snapshot = BookSnapshot(bids=bids, asks=asks, reason=whole.reason)
    stamp(snapshot, whole)
    return snapshot


def stamp(record: BookSnapshot | BookDelta, told: OrdersSnapshot | OrdersDelta) -> None:
    """Give a record by level the names, times and numbers of the message that it is made of."""
    record.exchange, record.symbol, record.raw_symbol = told.exchange, told.symbol, told.raw_symbol
    record.ts_event, record.ts_sent, record.ts_recv = told.ts_event, told.ts_sent, told.ts_recv
    record.sequence, record.sequence_first, record.sequence_prev = (
        told.sequence,
        told.sequence_first,
        told.sequence_prev,
    )
    record.conn, record.source, record.flags = told.conn, told.source, told.flags


class OrdersTopic(Topic):
    """The orders of a market, as the topic of its book gives them.

    whole: when all orders were told last (mono); 0: they are to be told before any change
    """

    __slots__ = ("whole",)

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.whole = 0
        self.last = None

    @property
    def stands(self) -> bool:
        """Tell whether all orders were told."""
        return self.whole > 0

    def accept(self, record: Record, out: list[Record], now: Now) -> None:
        """Pass a record of the book's topic."""
        self.heard, self.last = now.mono, record.sequence
        if type(record) is OrdersSnapshot:
            self.whole = now.mono
        super().accept(record, out, now)
        if self.state != "live":
            happen(self, "fresh", out, now)


class OrderedBookTopic(BookTopic):
    """A book that comes order by order. It is told by level, and its orders beside it where somebody wants them.

    beside: the topics of orders, by raw symbol
    """

    __slots__ = ("_beside", "_coming", "_keeper", "_whole")

    def __init__(self, *given: Any, beside: Mapping[str | None, Topic], **named: Any) -> None:
        """Begin without a book, as any."""
        super().__init__(*given, **named)
        self._beside = beside
        self._keeper: OrderKeeper | None = None
        self._coming: OrderKeeper | None = None  # it takes the place of `_keeper` once its book is accepted
        self._whole: OrdersSnapshot | None = None  # the orders of `_coming`, as they came

    def accept(self, record: Record, out: list[Record], now: Now) -> None:
        """Pass changes that fit the book, or all orders, which start it anew, or what stands in for them."""
        if type(record) is OrdersDelta:
            if self._base is None or self._keeper is None:
                self._hold(record)
            else:
                self._follow_orders(self._base, self._keeper, record, out, now)
        elif type(record) is OrdersSnapshot:
            try:
                self._coming, self._whole = OrderKeeper(record), record
                whole = leveled(record, self._coming)
            except BadFrame:
                self._doubt("parse_error", out, now)
                raise
            self._start(whole, out, now)
            self._coming = self._whole = None
        elif not self._joins:
            super().accept(record, out, now)

    def _follow_orders(
        self, book: OrderBook, keeper: OrderKeeper, record: OrdersDelta, out: list[Record], now: Now
    ) -> None:
        last, final = self.last, record.sequence
        if last is not None and final is not None:
            first = final if record.sequence_first is None else record.sequence_first
            verdict = self._judge(last, first, final, record.sequence_prev)
            if verdict is not NEXT:
                self._stumble(record, verdict, out, now)
                return
        try:
            bids, asks, record.bids, record.asks = keeper.apply(record.bids, record.asks)
        except BadFrame:
            self._doubt("parse_error", out, now)
            raise
        delta = BookDelta(bids=bids, asks=asks)
        stamp(delta, record)
        self._continue(book, delta, out, now)
        if self.book is not None:
            self._tell(record, out, now)

    def _tell(self, record: OrdersDelta, out: list[Record], now: Now) -> None:
        """Tell changed orders to who wants them; whoever has just come is told all of them."""
        topic = self._beside.get(self.raw_symbol)
        if not isinstance(topic, OrdersTopic):
            return
        if not topic.whole:
            self._tell_all(topic, "initial", out, now)
            return
        topic.accept(record, out, now)
        if now.mono - topic.whole > AGAIN_NS:
            self._tell_all(topic, "periodic", out, now)

    def _tell_all(
        self, topic: OrdersTopic, reason: Literal["initial", "periodic"], out: list[Record], now: Now
    ) -> None:
        whole = self.orders(now)
        if whole is not None:
            whole.reason = reason
            topic.accept(whole, out, now)

    def _proven(self, snapshot: BookSnapshot, out: list[Record], now: Now) -> OrderBook | None:
        """Make the book, and keep its orders from now on."""
        book = super()._proven(snapshot, out, now)
        topic, whole = self._beside.get(self.raw_symbol), self._whole
        if book is not None and whole is not None:
            self._keeper = self._coming
            if isinstance(topic, OrdersTopic):
                if not self._in_band or not whole.conn:
                    whole.conn = f"{self.conn}/snapshot"
                whole.reason = "resync" if self._snapshots else whole.reason
                topic.accept(whole, out, now)
        return book

    def _doubt(
        self, cause: Cause, out: list[Record], now: Now, *, expected: int | None = None, got: int | None = None
    ) -> None:
        super()._doubt(cause, out, now, expected=expected, got=got)
        self._keeper = None
        topic = self._beside.get(self.raw_symbol)
        if isinstance(topic, OrdersTopic):
            topic.whole = 0
            topic.open_gap(cause, out, now, expected=expected, got=got)

    def orders(self, now: Now) -> OrdersSnapshot | None:
        """Every order as a record, or None where there is no book that can be trusted."""
        if self._base is None or self._keeper is None:
            return None
        bids, asks = self._keeper.orders()
        return OrdersSnapshot(
            exchange=self.exchange,
            symbol=self.symbol,
            raw_symbol=self.raw_symbol,
            ts_recv=now.wall,
            conn=self.conn,
            source="derived",
            flags=("snapshot",),
            sequence=self.last,
            bids=bids,
            asks=asks,
        )
