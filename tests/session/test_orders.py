"""Books that are told order by order: by level they are what a naive reader adds up, whatever happens on the way."""

from collections.abc import Iterable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from aggregator.book import OrderBook
from aggregator.errors import BadFrame
from aggregator.exchange import Event, Request, Snapshot, Stream, Subscription
from aggregator.records import (
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Gap,
    Order,
    Orders,
    OrdersDelta,
    OrdersSnapshot,
    Record,
)
from aggregator.sequence import contiguous
from aggregator.session import orders as told
from aggregator.session.arbiter import LineArbiter
from aggregator.session.moment import Now
from aggregator.session.orders import OrderKeeper, by_level
from aggregator.session.session import Session

SYMBOL = "A"


def message(number: int, bids: Orders, asks: Orders) -> bytes:
    return json.encode([number, bids, asks])


def parse(frame: bytes) -> Iterable[Event]:
    number, bids, asks = json.decode(frame, type=tuple[int, Orders, Orders])
    return (OrdersDelta(raw_symbol=SYMBOL, sequence=number, bids=bids, asks=asks),)


def read_whole(raw_symbol: str, body: bytes) -> OrdersSnapshot:
    number, bids, asks = json.decode(body, type=tuple[int, Orders, Orders])
    return OrdersSnapshot(raw_symbol=raw_symbol, sequence=number, bids=bids, asks=asks)


STREAM = Stream(
    url="wss://toy.example",
    channels={"book": "o", "orders": "o"},
    topic=lambda s: s.raw_symbol,
    subscribe=lambda wanted, _: [json.encode([s.raw_symbol for s in wanted])],
    parse=parse,
    snapshot=Snapshot(request=lambda s: Request(f"https://toy.example/{s}"), parse=read_whole),
    sequence={"book": contiguous},
    acknowledges=False,
)
BOTH = (Subscription("book", SYMBOL), Subscription("orders", SYMBOL))


def at(second: float) -> Now:
    return Now(int(second * SECOND_NS) + 1_700_000_000 * SECOND_NS, int(second * SECOND_NS) + 1)


def session(*wanted: Subscription, conn: str = "toy/main.1#1") -> Session:
    made = Session("toy", STREAM, conn=conn, instruments={}, subscriptions=wanted)
    made.open(at(0))
    return made


def of(records: Iterable[Record], *kinds: type[Record]) -> list[Record]:
    return [record for record in records if isinstance(record, kinds)]


class Exchange:
    """The exchange itself: every order that rests, by id."""

    def __init__(self) -> None:
        self.number = 100
        self.orders: dict[str, tuple[int, Order]] = {}

    def change(self, side: int, order: Order) -> bytes:
        """Set or remove one order, and give the message that tells it."""
        self.number += 1
        id, _, size = order
        if Decimal(size) == 0:
            self.orders.pop(id, None)
        else:
            self.orders[id] = side, order
        return message(self.number, [order] if side == 0 else [], [order] if side == 1 else [])

    def whole(self) -> bytes:
        sides: tuple[Orders, Orders] = [], []
        for side, order in self.orders.values():
            sides[side].append(order)
        return message(self.number, *sides)

    def levels(self) -> list[dict[Decimal, Decimal]]:
        """The book by level as a naive reader adds it up."""
        found: list[dict[Decimal, Decimal]] = [{}, {}]
        for side, (_, price, size) in self.orders.values():
            level = Decimal(price)
            found[side][level] = found[side].get(level, Decimal(0)) + Decimal(size)
        return found


class Reader:
    """A reader of what is published: a book by level, and the orders."""

    def __init__(self) -> None:
        self.book: OrderBook | None = None
        self.orders: dict[str, tuple[int, str, str]] | None = None

    def read(self, records: Iterable[Record]) -> None:
        for record in records:
            if isinstance(record, BookSnapshot):
                self.book = OrderBook(record.bids, record.asks)
            elif isinstance(record, BookDelta):
                assert self.book is not None, "a delta before the whole book"
                self.book.apply(record.bids, record.asks)
            elif isinstance(record, OrdersSnapshot):
                self.orders = {}
                self._take(record)
            elif isinstance(record, OrdersDelta):
                self._take(record)

    def _take(self, record: OrdersSnapshot | OrdersDelta) -> None:
        assert self.orders is not None, "a change before all orders"
        for side, orders in enumerate((record.bids, record.asks)):
            for id, price, size in orders:
                if Decimal(size) == 0:
                    if self.orders.get(id, (side,))[0] == side:
                        self.orders.pop(id, None)
                else:
                    self.orders[id] = side, price, size

    def levels(self) -> list[dict[Decimal, Decimal]]:
        assert self.book is not None
        return [{Decimal(p): Decimal(s) for p, s in side} for side in (self.book.bids(), self.book.asks())]


PRICES = (("98", "98.0", "97.5", "97.50", "96"), ("101", "101.00", "102.5", "0103", "104"))  # bids, asks; never crossed
SIZES = ("0", "0.000", "1", "0.1", "0.20000000", "12.00000001", "3")
CHANGE = st.tuples(st.integers(0, 1), st.integers(0, 9), st.integers(0, 4), st.sampled_from(SIZES))
FATES = st.sampled_from(("comes", "comes", "comes", "comes", "twice", "old", "lost"))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(CHANGE, FATES), max_size=60))
def test_by_level_the_book_is_what_a_naive_reader_adds_up_at_each_step(steps: list[tuple[tuple, str]]) -> None:  # type: ignore[type-arg]
    exchange, reader, line = Exchange(), Reader(), session(*BOTH)
    past: list[bytes] = [exchange.change(0, ("first", "95", "1.5"))]
    second = 1.0
    reader.read(line.receive(past, at(second)))
    reader.read(line.receive_snapshot(SYMBOL, exchange.whole(), at(second)))
    for (side, id, price, size), fate in steps:
        second += 1
        frame = exchange.change(side, (str(id), PRICES[side][price], size))
        if fate == "lost":
            continue
        frames = {"comes": [frame], "twice": [frame, frame], "old": [past[0], frame]}[fate]
        past.append(frame)
        reader.read(line.receive(frames, at(second)))
        topic = line.topics.get("book", SYMBOL)
        if topic is not None and topic.gap is not None:  # the whole is asked for, and comes behind a change
            reader.read(line.receive_snapshot(SYMBOL, exchange.whole(), at(second)))
        assert topic is not None
        assert topic.gap is None
        assert reader.levels() == exchange.levels()
        assert reader.orders == {id: (side, price, size) for id, (side, (_, price, size)) in exchange.orders.items()}


def test_a_book_comes_by_level_and_its_orders_beside_it() -> None:
    line = session(*BOTH)
    held = line.receive([message(8, [("b2", "10", "0.50")], [])], at(1))
    assert not of(held, BookDelta, OrdersDelta)
    assert [fetch.request.url for fetch in line.wanted] == ["https://toy.example/A"]
    whole = message(7, [("b1", "10", "1.2")], [("a1", "11", "3"), ("a2", "11.0", "0.25")])
    orders, book, delta, changed = of(
        line.receive_snapshot(SYMBOL, whole, at(2)), OrdersSnapshot, BookSnapshot, BookDelta, OrdersDelta
    )
    assert isinstance(book, BookSnapshot)
    assert (book.bids, book.asks, book.sequence) == ([("10", "1.2")], [("11", "3.25")], 7)
    assert isinstance(orders, OrdersSnapshot)
    assert (orders.asks, orders.conn) == ([("a1", "11", "3"), ("a2", "11.0", "0.25")], book.conn)
    assert isinstance(delta, BookDelta)
    assert (delta.bids, delta.asks, delta.sequence) == ([("10", "1.70")], [], 8)
    assert isinstance(changed, OrdersDelta)
    assert changed.bids == [("b2", "10", "0.50")]


def test_a_level_of_one_order_has_the_digits_of_its_order() -> None:
    keeper = OrderKeeper(OrdersSnapshot(bids=[("1", "10", "0.50000000")], asks=[]))
    assert keeper.levels()[0] == [("10", "0.50000000")]
    assert keeper.apply([("2", "10", "1")], [])[0] == [("10", "1.50000000")]
    assert keeper.apply([("1", "", "0"), ("2", "", "0")], [])[0] == [("10", "0")]
    assert keeper.apply([("3", "10", "1")], [])[0] == [("10", "1")]


@pytest.mark.parametrize(
    ("change", "bids", "orders"),
    [
        pytest.param(("1", "", "-0.2"), [("10", "0.3")], [("1", "10", "0.3")], id="so much is taken off"),
        pytest.param(("1", "", "-0.50"), [("10", "0")], [("1", "10", "0")], id="all of it is taken off"),
        pytest.param(("1", "", "-7"), [("10", "0")], [("1", "10", "0")], id="more than there is"),
        pytest.param(("9", "", "-7"), [], [], id="an order that is not here is taken from"),
        pytest.param(("9", "10", "0"), [], [], id="an order that is not here goes"),
        pytest.param(("1", "", "0"), [("10", "0")], [("1", "10", "0")], id="an order goes"),
    ],
)
def test_what_goes_is_found_by_its_id_alone(change: Order, bids: Orders, orders: Orders) -> None:
    for is_bid in (True, False):
        keeper = OrderKeeper(OrdersSnapshot(bids=[("1", "10", "0.5")], asks=[]))
        found = keeper.apply([change] if is_bid else [], [] if is_bid else [change])
        assert [*found] == [bids, [], orders, []]


def test_an_order_moves_to_another_price() -> None:
    keeper = OrderKeeper(OrdersSnapshot(bids=[("1", "10", "0.5"), ("2", "9", "1")], asks=[]))
    assert [*keeper.apply([("1", "9", "0.5")], [])] == [[("10", "0"), ("9", "1.5")], [], [("1", "9", "0.5")], []]
    assert keeper.orders()[0] == [("2", "9", "1"), ("1", "9", "0.5")], "it is behind the others of its new price"


def test_an_order_that_changes_sides_leaves_the_one_it_was_on() -> None:
    keeper = OrderKeeper(OrdersSnapshot(bids=[("1", "10", "0.5")], asks=[]))
    assert keeper.apply([], [("1", "11", "0.4")]) == (
        [("10", "0")],
        [("11", "0.4")],
        [("1", "10", "0")],
        [("1", "11", "0.4")],
    )


@pytest.mark.parametrize("size", ["x", "1.2.3", "1_000", "1e5", "9" * 300, "\N{ARABIC-INDIC DIGIT ONE}"])
def test_a_size_that_is_no_number_dooms_the_book_and_its_orders(size: str) -> None:
    with pytest.raises(BadFrame):
        by_level(OrdersSnapshot(bids=[("1", "10", size)], asks=[]))
    line = session(*BOTH)
    line.receive([message(8, [], [])], at(1))
    line.receive_snapshot(SYMBOL, message(7, [("1", "10", "1")], []), at(2))
    records = line.receive([message(9, [("2", "10", size)], [])], at(3))
    gaps = [(gap.channel, gap.phase) for gap in of(records, Gap) if isinstance(gap, Gap) and gap.channel]
    assert gaps == [("book", "open"), ("orders", "open")]


def test_a_gap_is_of_the_orders_too_and_ends_when_all_of_them_are_told() -> None:
    line = session(*BOTH)
    line.receive([message(8, [], [])], at(1))
    line.receive_snapshot(SYMBOL, message(8, [("1", "10", "1")], []), at(2))
    opened = line.receive([message(10, [("2", "10", "1")], [])], at(3))
    assert [(g.channel, g.cause, g.expected, g.got) for g in of(opened, Gap) if isinstance(g, Gap)] == [
        ("book", "sequence", 9, 10),
        ("orders", "sequence", 9, 10),
    ]
    assert not of(opened, OrdersDelta, BookDelta)
    closed = of(line.receive_snapshot(SYMBOL, message(10, [("3", "9", "1")], []), at(4)), Gap, OrdersSnapshot)
    assert [(type(r).__name__, getattr(r, "channel", None)) for r in closed] == [
        ("OrdersSnapshot", None),
        ("Gap", "orders"),
        ("Gap", "book"),
    ]
    (whole,) = of(closed, OrdersSnapshot)
    assert isinstance(whole, OrdersSnapshot)
    assert (whole.reason, whole.bids) == ("resync", [("3", "9", "1")])


def test_without_being_asked_for_orders_are_not_told() -> None:
    line = session(BOTH[0])
    line.receive([message(8, [], [])], at(1))
    records = line.receive_snapshot(SYMBOL, message(8, [("1", "10", "1")], []), at(2))
    records += line.receive([message(9, [("2", "10", "1")], [])], at(3))
    assert len(of(records, BookSnapshot, BookDelta)) == 2
    assert not of(records, OrdersSnapshot, OrdersDelta)


def test_orders_that_are_wanted_later_begin_whole() -> None:
    line = session(BOTH[0])
    line.receive([message(8, [], [])], at(1))
    line.receive_snapshot(SYMBOL, message(8, [("1", "10", "1")], []), at(2))
    line.subscribe(BOTH[1:], at(3))
    (whole,) = of(line.receive([message(9, [("2", "10", "1")], [])], at(4)), OrdersSnapshot, OrdersDelta)
    assert isinstance(whole, OrdersSnapshot)
    assert (whole.bids, whole.sequence) == ([("1", "10", "1"), ("2", "10", "1")], 9)


def test_all_orders_are_told_again_after_some_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "AGAIN_NS", 10 * SECOND_NS)
    line = session(*BOTH)
    line.receive([message(8, [], [])], at(1))
    line.receive_snapshot(SYMBOL, message(8, [("1", "10", "1")], []), at(2))
    assert len(of(line.receive([message(9, [("2", "10", "1")], [])], at(11)), OrdersSnapshot)) == 0
    delta, whole = of(line.receive([message(10, [("1", "", "0")], [])], at(13)), OrdersSnapshot, OrdersDelta)
    assert isinstance(delta, OrdersDelta)
    assert isinstance(whole, OrdersSnapshot)
    assert (whole.reason, whole.bids, delta.bids) == ("periodic", [("2", "10", "1")], [("1", "10", "0")])


def test_a_book_of_absurdly_many_orders_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "MOST_ORDERS", 3)
    keeper = OrderKeeper(OrdersSnapshot(bids=[("1", "10", "1"), ("2", "10", "1")], asks=[("3", "11", "1")]))
    with pytest.raises(BadFrame, match="more than 3 orders"):
        keeper.apply([], [("4", "11", "1")])


def test_of_two_connections_one_is_followed_and_the_other_takes_over_with_all_orders() -> None:
    first, second = session(*BOTH), session(*BOTH, conn="toy/main.1#2")
    arbiter = LineArbiter(STREAM, lasting=True)
    reader = Reader()
    for line in (first, second):
        arbiter.join(line)
        reader.read(arbiter.merge(line, line.receive([message(8, [], [])], at(1)), at(1)))
        whole = line.receive_snapshot(SYMBOL, message(8, [("1", "10", "1")], []), at(2))
        reader.read(arbiter.merge(line, whole, at(2)))
    for number in (9, 10):
        for line in (first, second):
            told_now = line.receive([message(number, [(str(number), "10", "1")], [])], at(number))
            published = arbiter.merge(line, told_now, at(number))
            assert len(of(published, OrdersDelta, OrdersSnapshot)) == (line is first)
            reader.read(published)
    arbiter.leave(first)
    reader.read(arbiter.merge(first, first.close("disconnect", at(11)), at(11)))
    reader.read(arbiter.merge(second, second.receive([message(11, [("1", "", "0")], [])], at(12)), at(12)))
    assert reader.orders == {"9": (0, "10", "1"), "10": (0, "10", "1")}
    assert reader.levels() == [{Decimal(10): Decimal(2)}, {}]


def test_a_replay_tells_orders_even_if_all_of_them_come_before_any_change() -> None:
    line = Session("toy", STREAM, conn="toy/main.1#1", instruments={}, source="replay")
    line.open(at(0))
    records = line.receive_snapshot(SYMBOL, message(8, [("1", "10", "1")], []), at(1))
    records += line.receive([message(9, [("2", "10", "1")], [])], at(2))
    kinds = [type(r) for r in of(records, OrdersSnapshot, BookSnapshot, BookDelta, OrdersDelta)]
    assert kinds == [OrdersSnapshot, BookSnapshot, BookDelta, OrdersDelta]
