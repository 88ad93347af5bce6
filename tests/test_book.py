import random
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import MAX_PREC, Context, Decimal
from itertools import pairwise
from typing import Final
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aggregator import book as module
from aggregator.book import BETWEEN, EXACT_DIGITS, FEW, MANY, NEAR, PATIENCE, SLACK, SMALL, SPELLED, OrderBook, Side
from aggregator.errors import BadFrame
from aggregator.records import Levels
from aggregator.wire import is_zero

EXACT: Final = Context(prec=MAX_PREC)  # the default context rounds to 28 digits
LONG = "0.12345678901234567"  # more digits than a float tells apart
ZEROS = ["0", "0.0", "0.", ".0", "00", "0.00000000", "000.000"]

# --- a naive book, and what exchanges may say to one


class Model:
    """A side as a dictionary from the price's value to its size: sorted and cut whenever it is read."""

    def __init__(self, levels: Levels, depth: int | None = None, *, is_bids: bool = True) -> None:
        self._sizes: dict[Decimal, str] = {}
        self._depth = depth
        self._is_bids = is_bids
        self._set(levels)

    def apply(self, levels: Levels) -> None:
        self._set(levels)
        for price in sorted(self._sizes, reverse=self._is_bids)[self._depth :] if self._depth else ():
            del self._sizes[price]

    def _set(self, levels: Levels) -> None:
        for price, size in levels:
            self._sizes.pop(Decimal(price), None)
            if Decimal(size):
                self._sizes[Decimal(price)] = size

    def top(self, count: int | None = None) -> list[tuple[Decimal, str]]:
        return sorted(self._sizes.items(), key=lambda level: level[0], reverse=self._is_bids)[:count]


def valued(levels: Levels) -> list[tuple[Decimal, str]]:
    return [(Decimal(price), size) for price, size in levels]


def is_crossed(bids: Model, asks: Model) -> bool:
    best_bid, best_ask = bids.top(1), asks.top(1)
    return bool(best_bid and best_ask and best_bid[0][0] >= best_ask[0][0])


@st.composite
def spelled(draw: st.DrawFn, values: st.SearchStrategy[Decimal]) -> str:
    """A price in one of its spellings: zeros at either end, or an exponent."""
    value = draw(values)
    match draw(st.integers(0, 3)):
        case 0:
            return f"{value:f}"
        case 1:
            return f"{'0' * draw(st.integers(1, 3))}{value:f}"
        case 2:
            text = f"{value:f}"
            return text + ("" if "." in text else ".") + "0" * draw(st.integers(0, 20))
        case _:
            shift = draw(st.integers(-30, 30))
            return f"{value.scaleb(shift, EXACT):f}{draw(st.sampled_from('eE'))}{-shift}"


SHORT = st.integers(1, 30).map(lambda n: Decimal(n) / 4)  # few values, so that they meet
NEIGHBOURS = st.integers(1, 12).map(lambda n: Decimal(f"0.3000000000000000{n:02d}"))  # all one float
WIDE = st.integers(1, 10**24).map(lambda n: Decimal(n).scaleb(-12, EXACT))
MIXED = st.one_of(SHORT, NEIGHBOURS, st.sampled_from([Decimal("0.1"), Decimal("0.3"), Decimal(10) ** 20]))
SIZES = st.sampled_from(ZEROS) | st.sampled_from(["1", "0.5", "10", "100.00", "0.0000000001", "00.10"])

Rows = st.SearchStrategy[Levels]


def rows(values: st.SearchStrategy[Decimal], longest: int = 8) -> Rows:
    return st.lists(st.tuples(spelled(values), SIZES), max_size=longest)


def histories(values: st.SearchStrategy[Decimal]) -> st.SearchStrategy[list[tuple[Levels, Levels]]]:
    return st.lists(st.tuples(rows(values), rows(values)), min_size=1, max_size=12)


def compare(book: OrderBook, bids: Model, asks: Model) -> None:
    """Read everything, and the first few, best first."""
    for count in (0, 1, 2, 5, 1000, None):
        assert valued(book.bids(count)) == bids.top(count)
        assert valued(book.asks(count)) == asks.top(count)


def follow(history: list[tuple[Levels, Levels]], *, looks: bool = True, checks_crossing: bool = True) -> None:
    """Tell a book and its model the same, and compare them after each step."""
    book = OrderBook(*history[0])
    bids, asks = Model(history[0][0]), Model(history[0][1], is_bids=False)
    for more_bids, more_asks in history[1:]:
        if looks:
            compare(book, bids, asks)
        crossed = book.apply(more_bids, more_asks)
        bids.apply(more_bids)
        asks.apply(more_asks)
        if checks_crossing:
            assert crossed is book.is_crossed() is is_crossed(bids, asks)
    compare(book, bids, asks)


# --- against the model


@given(histories(SHORT), st.booleans())
def test_a_book_is_what_a_naive_one_is(history: list[tuple[Levels, Levels]], looks: bool) -> None:
    follow(history, looks=looks)


@given(histories(NEIGHBOURS))
def test_prices_that_are_one_float_are_told_apart(history: list[tuple[Levels, Levels]]) -> None:
    follow(history)


@given(histories(MIXED))
@example([([("0.3", "1")], []), ([("0.3000000000000000001", "2")], []), ([("0.30", "0")], [])])
def test_a_book_whose_prices_grow_longer_stays_right(history: list[tuple[Levels, Levels]]) -> None:
    follow(history)


@given(histories(WIDE))
def test_wide_prices(history: list[tuple[Levels, Levels]]) -> None:
    follow(history)


@given(histories(SHORT.map(lambda value: Decimal(LONG) + value)))
def test_long_prices_on_both_sides_cross_as_they_should(history: list[tuple[Levels, Levels]]) -> None:
    follow([([(LONG, "1")], [(LONG + "1", "1")]), ([(LONG, "0")], [(LONG + "1", "0")]), *history])


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_book_of_thousands_is_what_a_naive_one_is(seed: int) -> None:
    """Long enough for sorting at once and for sweeping out what was removed."""
    chance = random.Random(seed)

    def levels(count: int, middle: int) -> Levels:
        prices = (middle + chance.randint(-1000, 1000) for _ in range(count))
        return [
            (f"{price / 10:.{chance.randint(1, 3)}f}", chance.choice(["0", "0.00", "1", "2.5"])) for price in prices
        ]

    start = levels(1500, 10_000)
    book, model = OrderBook(start, []), Model(start)
    for step in range(60):
        some = levels(chance.choice([0, 1, 3, 40, MANY + 50]), 10_000 + 50 * step)  # the market moves
        book.apply(some, [])
        model.apply(some)
        assert valued(book.bids(20)) == model.top(20)
    assert valued(book.bids()) == model.top()


# --- far levels, which are packed

FINE = st.integers(1, 60).map(lambda n: Decimal(n) / 4)


@contextmanager
def packed_soon(near: int, pack: int, few: int, patience: int) -> Iterator[None]:
    """Have sides of a few levels packed as those of a thousand are, so that short histories cross every border."""
    with patch.multiple(module, NEAR=near, PACK=pack, FEW=few, PATIENCE=patience, SLACK=2, MANY=6):
        yield


NEARS, PACKS, FEWS, PATIENCES = st.integers(1, 4), st.integers(1, 5), st.integers(0, 6), st.sampled_from([0, 1, 4])


@given(rows(FINE, 40), rows(FINE, 40), histories(FINE | SHORT), st.booleans(), st.tuples(NEARS, PACKS, FEWS, PATIENCES))
def test_a_packed_book_is_what_a_naive_one_is(
    bids: Levels, asks: Levels, history: list[tuple[Levels, Levels]], looks: bool, limits: tuple[int, int, int, int]
) -> None:
    with packed_soon(*limits):
        follow([(bids, asks), *history], looks=looks)


@given(rows(FINE, 40), histories(MIXED | FINE), st.tuples(NEARS, PACKS, FEWS, PATIENCES))
def test_a_packed_book_whose_prices_grow_longer_stays_right(
    bids: Levels, history: list[tuple[Levels, Levels]], limits: tuple[int, int, int, int]
) -> None:
    with packed_soon(*limits):
        follow([(bids, []), *history], looks=False)


@given(rows(FINE, 40), st.lists(st.tuples(rows(FINE), st.integers(0, 8) | st.none()), max_size=12), st.data())
def test_the_best_of_a_packed_side_are_spelled_as_they_stand(
    start: Levels, deltas: list[tuple[Levels, int | None]], data: st.DataObject
) -> None:
    with packed_soon(*data.draw(st.tuples(NEARS, PACKS, FEWS, PATIENCES))):
        side = Side(-1, start, None)
        for levels, count in deltas:
            side.apply(levels)
            if count is not None:
                assert side.spelled(count, joined) == [joined(*level) for level in side.top(count)]


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_deep_book_that_moves_is_what_a_naive_one_is(seed: int) -> None:
    """The best price walks through what is packed and back, most changes are near, some anywhere, a few times many."""
    chance = random.Random(seed)
    start = [(f"{price / 10:.1f}", "1") for price in range(10_000, 9_000, -1)]
    book, model, best = OrderBook(start, []), Model(start), 10_000
    for step in range(200):
        best += chance.choice([-40, -3, -1, 0, 1, 3, 40])
        far = chance.choice([8, 8, 8, 200, 1500])
        prices = [best - int(chance.expovariate(1 / far)) for _ in range(chance.choice([1, 2, 5, 5, 5, 40]))]
        some = [(f"{price / 10:.{chance.choice([1, 1, 1, 2])}f}", chance.choice(["0", "1", "2.5"])) for price in prices]
        some += [(f"{price / 10:.1f}", "0") for price in range(best + 1, best + 60)]
        book.apply(some, [])
        model.apply(some)
        assert valued(book.bids(5)) == model.top(5)
        if step % 20 == 0:
            assert valued(book.bids()) == model.top()
    assert valued(book.bids()) == model.top()


def deep(count: int = 1000) -> Levels:
    return [(str(10_000 - number), "1") for number in range(count)]


def test_levels_far_from_the_best_are_packed_and_read_as_they_came() -> None:
    side = Side(1, deep(), None)
    assert len(side._sizes) == len(side._keys) == NEAR
    assert side.top() == deep()
    side.apply([("9500", "7"), ("9400.50", "8"), ("9300", "0")])
    assert len(side._sizes) == NEAR + 3
    expected = {price: size for price, size in deep() if price != "9300"} | {"9500": "7", "9400.50": "8"}
    assert side.top() == sorted(expected.items(), key=lambda level: -float(level[0]))
    assert len(side._sizes) == NEAR + 3


def test_near_levels_become_far_ones_as_the_market_moves_away_and_near_again_as_it_comes_back() -> None:
    side = Side(1, deep(), None)
    for price in range(10_001, 11_001):
        side.apply([(str(price), "1")])
        assert side.top(1) == [(str(price), "1")]
    assert len(side._sizes) <= 2 * NEAR + SLACK
    for price in range(11_000, 9_500, -1):
        side.apply([(str(price), "0")])
        assert side.top(2) == [(str(price - 1), "1"), (str(price - 2), "1")]
    assert side.top() == deep()[500:]


def test_a_side_of_which_many_far_levels_change_is_unpacked_until_packing_costs_little() -> None:
    side = Side(1, deep(), None)
    side.apply([(price, "2") for price, _ in deep()[-FEW - 1 :]])
    assert len(side._sizes) == 1000
    fresh = 0
    while len(side._sizes) >= 1000:
        fresh += 1
        side.apply([(f"9990.{fresh:05}", "1")])
        side.apply([(f"9990.{fresh:05}", "0")])
    assert fresh >= PATIENCE * 1000
    assert side.top()[-1] == (deep()[-1][0], "2")


def test_a_side_of_which_half_of_the_far_levels_have_changed_one_by_one_is_unpacked() -> None:
    side = Side(1, deep(), None)
    for at, (price, _) in enumerate(deep()[NEAR:], 1):
        side.apply([(price, "2")])
        assert (len(side._sizes) == 1000) is (at > (1000 - NEAR) // 2)


@pytest.mark.parametrize(("count", "is_packed"), [(SMALL, True), (SMALL + 1, False)])
def test_a_book_is_packed_when_its_first_delta_is_small(count: int, is_packed: bool) -> None:
    book = OrderBook(deep(), [])
    book.apply([(price, "2") for price, _ in deep(count)], [])
    assert (len(book._bids._sizes) < 1000) is is_packed


@pytest.mark.parametrize(("count", "is_packed"), [(1, True), (NEAR, True), (NEAR + 1, True), (None, False)])
def test_a_book_is_not_packed_when_it_is_first_read_as_a_whole(count: int | None, is_packed: bool) -> None:
    book = OrderBook(deep(), [])
    assert book.bids(count) == deep()[:count]
    assert (len(book._bids._sizes) < 1000) is is_packed


def test_a_book_that_was_first_read_as_a_whole_is_packed_once_as_many_new_prices_have_come() -> None:
    book, fresh = OrderBook(deep(), []), 0
    book.bids()
    while len(book._bids._sizes) >= 1000:
        fresh += 1
        book.apply([(f"9990.{fresh:05}", "1")], [])
        book.apply([(f"9990.{fresh:05}", "0")], [])
    assert 1000 <= fresh <= 1000 + SLACK + 1
    assert book.bids() == deep()


def test_reading_many_levels_unpacks_none() -> None:
    side = Side(1, deep(), None)
    for count in (NEAR + 1, 999, 1001):
        assert side.top(count) == deep()[:count]
    assert len(side._sizes) == NEAR


def test_an_exchange_that_says_what_stands_between_packed_levels_is_understood() -> None:
    for odd in ((f"9500{BETWEEN}", "1"), ("9500", f"1{BETWEEN}2")):
        levels = [odd if level[0] == "9500" else level for level in deep()]
        book = OrderBook(levels, [])
        assert book.bids(1) == levels[:1]
        assert NEAR < len(book._bids._sizes) < 1000
        assert book.bids() == levels
        book.apply([("9500.0", "3")], [])
        assert valued(book.bids())[500] == (Decimal(9500), "3")


def test_cut_sides_and_exact_ones_are_not_packed() -> None:
    cut, exact = Side(1, deep(), 1000), Side(1, [*deep(), (LONG, "1")], None)
    assert (len(cut._sizes), len(exact._sizes)) == (1000, 1001)
    side = Side(1, deep(), None)
    side.apply([("9500", "2"), (LONG, "1")])
    assert len(side._sizes) == 1001
    assert dict(side.top())["9500"] == "2"


# --- spelling


@pytest.mark.parametrize(
    "other",
    [
        "100.00",
        "100",
        "100.",
        "0100.0",
        "1e2",
        "1.0E+2",
        "1000e-1",
        "+100",
        "100." + "0" * 100,
        "1" + "0" * 300 + "e-298",
    ],
)
@pytest.mark.parametrize("beside", ["99", LONG])
def test_one_price_in_two_spellings_is_one_level(other: str, beside: str) -> None:
    book = OrderBook([("100.0", "1"), (beside, "1")], [])
    book.apply([(other, "2")], [])
    assert valued(book.bids()) == [(Decimal(100), "2"), (Decimal(beside), "1")]
    book.apply([(other, "0")], [])
    assert book.bids() == [(beside, "1")]
    book.apply([("100.0", "3")], [])
    assert valued(book.bids(1)) == [(Decimal(100), "3")]


def test_a_level_keeps_the_spelling_that_it_has() -> None:
    book = OrderBook([("100.0", "1")], [])
    book.apply([("100.00", "2")], [])
    assert book.bids() == [("100.0", "2")]


def test_the_last_word_on_a_price_holds_within_one_message() -> None:
    book = OrderBook([("1", "1"), ("1.0", "2")], [])
    assert valued(book.bids()) == [(Decimal(1), "2")]
    book.apply([("1.00", "3"), ("1", "4")], [])
    assert valued(book.bids()) == [(Decimal(1), "4")]
    book.apply([("1", "0"), ("1.000", "5")], [])
    assert valued(book.bids()) == [(Decimal(1), "5")]
    book.apply([("1", "6"), ("1.0000", "0")], [])
    assert book.bids() == []


@pytest.mark.parametrize("zero", ZEROS)
def test_a_zero_in_every_spelling_removes(zero: str) -> None:
    assert is_zero(zero)
    book = OrderBook([("2", "1"), ("1", "1"), ("0.5", zero)], [])
    assert book.bids() == [("2", "1"), ("1", "1")]
    book.apply([("2", zero), ("7", zero)], [])
    assert book.bids() == [("1", "1")]
    book.apply([("1.0", zero)], [])
    assert book.bids() == book.bids(1) == []


@pytest.mark.parametrize("size", ["1", "0.1", "10", "100", "0.00000000000000000000000001", ".5", "01"])
def test_no_other_size_removes(size: str) -> None:
    assert not is_zero(size)
    assert OrderBook([("1", size)], []).bids() == [("1", size)]


# --- exactness


@pytest.mark.parametrize("digits", [1, 10, EXACT_DIGITS - 1, EXACT_DIGITS, EXACT_DIGITS + 1, 17, 20, 28])
@pytest.mark.parametrize("point", ["", "0.", "0.000000"])
def test_prices_that_differ_in_their_last_digit_are_two(digits: int, point: str) -> None:
    low, high = point + "1" * digits, point + "1" * (digits - 1) + "2"
    for levels in ([(low, "1"), (high, "2")], [(high, "2"), (low, "1")]):
        assert OrderBook(levels, []).bids() == [(high, "2"), (low, "1")]
        assert OrderBook([], levels).asks() == [(low, "1"), (high, "2")]
        book = OrderBook([], [])
        for level in levels:
            book.apply([level], [level])
        assert (book.bids(), book.asks()) == ([(high, "2"), (low, "1")], [(low, "1"), (high, "2")])


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("9007199254740992", "9007199254740993"),  # one float, though of 16 digits
        ("900.7199254740992", "900.7199254740993"),
        ("90071992547409920000", "90071992547409930000"),
        ("0.00009007199254740992", "0.00009007199254740993"),
    ],
)
def test_neighbours_that_are_one_float_are_two_prices(low: str, high: str) -> None:
    assert OrderBook([(low, "1"), (high, "2")], []).bids() == [(high, "2"), (low, "1")]


@pytest.mark.parametrize("digits", [29, 40, 300])
def test_prices_of_any_length_are_told_apart(digits: int) -> None:
    low, high = "1." + "1" * digits, "1." + "1" * (digits - 1) + "2"
    assert OrderBook([(low, "1"), (high, "2")], []).bids() == [(high, "2"), (low, "1")]


@pytest.mark.parametrize(
    "prices", [["1", "-1", "0.5", "-0.5", "0"], ["-37.63", "-40", "12"], ["1e-8", "1e8", "1"], [LONG, "-" + LONG, "0"]]
)
def test_negative_prices_have_their_place(prices: list[str]) -> None:
    """The price of a spread or of oil may be below zero."""
    book = OrderBook([(price, "1") for price in prices], [(price, "1") for price in prices])
    assert [price for price, _ in book.asks()] == sorted(prices, key=Decimal)
    assert [price for price, _ in book.bids()] == sorted(prices, key=Decimal, reverse=True)


# --- crossing


@pytest.mark.parametrize(
    ("bid", "ask", "crossed"),
    [
        ("1", "2", False),
        ("2", "2", True),
        ("2.00", "2", True),
        ("3", "2", True),
        ("0.1", "0.10000000000001", False),
        (LONG, LONG + "1", False),
        (LONG + "1", LONG, True),
        (LONG, LONG, True),
        ("-2", "-1", False),
        ("-1", "-2", True),
        ("0", "0", True),
        ("-0", "0", True),
    ],
)
def test_a_book_is_crossed_when_the_best_bid_reaches_the_best_ask(bid: str, ask: str, crossed: bool) -> None:
    assert OrderBook([(bid, "1")], [(ask, "1")]).is_crossed() is crossed
    book = OrderBook([], [])
    assert book.apply([(bid, "1")], []) is False
    assert book.apply([], [(ask, "1")]) is crossed
    assert book.apply([(bid, "0")], []) is False


@given(st.lists(st.tuples(spelled(MIXED), SIZES), max_size=6), st.lists(st.tuples(spelled(MIXED), SIZES), max_size=6))
def test_a_whole_book_is_crossed_as_one_that_was_looked_at(bids: Levels, asks: Levels) -> None:
    """What is told without placing every level is what the placed levels, and the naive book, tell."""
    book = OrderBook(bids, asks)
    told = book.is_crossed()
    book.bids()
    assert told is book.is_crossed() is is_crossed(Model(bids), Model(asks, is_bids=False))


@pytest.mark.parametrize("price", ["nan", "inf", "-Infinity", "1e999", "", "price", "0x1"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_whole_book_with_a_price_that_is_no_number_is_none(price: str, at: int) -> None:
    good = [("1", "1"), ("0.9", "1")]
    bad = [*good[:at], (price, "1"), *good[at:]]
    for bids, asks in ((bad, [("2", "1")]), ([("0.1", "1")], bad)):
        with pytest.raises(BadFrame):
            OrderBook(bids, asks).is_crossed()


def test_a_book_without_one_side_is_not_crossed() -> None:
    assert not OrderBook([], []).is_crossed()
    assert not OrderBook([("1", "1")], []).is_crossed()
    assert not OrderBook([], [("1", "1")]).is_crossed()
    assert not OrderBook([("1", "1")], [("1", "0")]).is_crossed()


def test_one_message_may_move_both_sides_past_each_other() -> None:
    book = OrderBook([("1", "1")], [("2", "1")])
    assert book.apply([("3", "1")], [("2", "0"), ("4", "1")]) is False


@pytest.mark.parametrize(
    ("bids", "asks", "crossed"),
    [
        (["0.3"], ["0.3", "9." + "1" * 20], True),  # locked, and not seen
        (["0.1", LONG[:3] + "0" * 20 + "1"], ["0.1"], True),
        (["0.1"], ["0.1000000000000000001"], False),  # sound, and called crossed
    ],
)
def test_crossing_is_exact_when_one_side_alone_has_long_prices(bids: list[str], asks: list[str], crossed: bool) -> None:
    assert OrderBook([(price, "1") for price in bids], [(price, "1") for price in asks]).is_crossed() is crossed


def test_the_best_price_goes_exact_with_its_side() -> None:
    side = Side(1, [("0.1", "1")], None)
    side.apply([("0.1000000000000000001", "1")])
    assert side.top(1) == [("0.1000000000000000001", "1")]
    assert side.best == Decimal("0.1000000000000000001")


# --- depth

DEEP = st.integers(1, 5)


@given(rows(SHORT, 5), st.lists(rows(SHORT), max_size=10), DEEP)
def test_a_cut_side_is_what_a_naive_one_is(start: Levels, deltas: list[Levels], depth: int) -> None:
    """What fell out does not come back when there is room again. A price stands once in each delta."""
    once = [list({Decimal(price): (price, size) for price, size in delta}.values()) for delta in deltas]
    first = list({Decimal(price): (price, size) for price, size in start}.values())[:depth]
    book = OrderBook(first, first, depth)
    bids, asks = Model(first, depth), Model(first, depth, is_bids=False)
    for delta in once:
        book.apply(delta, delta)
        bids.apply(delta)
        asks.apply(delta)
        assert len(book.bids()) <= depth
        compare(book, bids, asks)


def joined(price: str, size: str) -> str:
    return f"{price}:{size}"


@given(rows(SHORT, 5), st.lists(st.tuples(rows(SHORT), st.booleans()), max_size=12), DEEP | st.none())
def test_levels_are_spelled_as_they_stand(start: Levels, deltas: list[tuple[Levels, bool]], depth: int | None) -> None:
    side = Side(1, start, depth)
    for levels, looks in deltas:
        side.apply(levels)
        if looks:
            assert side.spelled(4, joined) == [joined(*level) for level in side.top(4)]


def test_a_level_is_spelled_once_until_it_changes() -> None:
    asked: list[str] = []

    def spell(price: str, size: str) -> str:
        asked.append(price)
        return joined(price, size)

    side = Side(1, [(str(price), "1") for price in range(100, 120)], None)
    side.spelled(3, spell)
    side.apply([("118", "2"), ("101", "2")])
    assert side.spelled(3, spell) == ["119:1", "118:2", "117:1"]
    assert asked == ["119", "118", "117", "118"]
    assert side.spelled(2, spell) == ["119:1", "118:2"]
    for price in range(120, 200):
        side.apply([(str(price), "1")])
        side.spelled(3, spell)
    assert len(side._spelled) <= (SPELLED + 1) * 3


def test_what_falls_out_of_a_cut_side_is_not_heard_of_again() -> None:
    book = OrderBook([("3", "1"), ("2", "1")], [], 2)
    book.apply([("4", "1")], [])
    assert book.bids() == [("4", "1"), ("3", "1")]
    book.apply([("4", "0")], [])
    assert book.bids() == [("3", "1")]


def test_a_cut_side_takes_a_removal_before_it_counts() -> None:
    book = OrderBook([], [("1", "1"), ("2", "1")], 2)
    book.apply([], [("3", "1"), ("1", "0")])
    assert book.asks() == [("2", "1"), ("3", "1")]


def test_a_removal_in_another_spelling_makes_room_in_a_cut_side() -> None:
    book = OrderBook([("2", "1"), ("1", "1")], [], 2)
    book.apply([("2.00", "0"), ("0.5", "1")], [])
    assert book.bids() == [("1", "1"), ("0.5", "1")]


@pytest.mark.parametrize("again", ["1", "1.0"])
def test_a_cut_side_heeds_the_last_word_on_a_price_within_one_message(again: str) -> None:
    book = OrderBook([("1", "1")], [], 5)
    book.apply([("1", "0"), (again, "2")], [])
    assert valued(book.bids()) == [(Decimal(1), "2")]


def test_a_snapshot_is_cut_to_the_depth() -> None:
    assert OrderBook([("3", "1"), ("2", "1"), ("1", "1")], [], 2).bids() == [("3", "1"), ("2", "1")]


# --- memory


def test_levels_that_were_removed_are_forgotten_in_time() -> None:
    side = Side(1, [("1000000", "1")], None)
    for number in range(20_000):
        side.apply([(str(number), "1")])
        side.apply([(str(number), "0")])
    assert len(side._sizes) == len(side._keys) == len(side._prices) < 2 * SLACK
    assert side.top() == [("1000000", "1")]


def test_reading_a_few_levels_leaves_the_snapshot_of_the_caller_alone() -> None:
    bids, asks = [("1", "1"), ("2", "1")], [("4", "1"), ("3", "1")]
    book = OrderBook(bids, asks)
    book.apply([("2", "0")], [("3.0", "9")])
    assert bids == [("1", "1"), ("2", "1")]
    assert asks == [("4", "1"), ("3", "1")]
    got = book.bids()
    got.clear()
    assert book.bids() == [("1", "1")]


def test_a_count_is_a_count_of_levels_that_are_there() -> None:
    book = OrderBook([(str(n), "1") for n in range(10)], [])
    book.apply([("8", "0"), ("7", "0.0")], [])
    assert [price for price, _ in book.bids(3)] == ["9", "6", "5"]
    assert book.bids(0) == []


# --- junk

JUNK = [
    "",
    " ",
    "x",
    "NaN",
    "sNaN",
    "-NaN",
    "Infinity",
    "-inf",
    "--1",
    "1.2.3",
    "0x10",
    "1,5",
    "null",
    "\x00",
    "5%",
]


def short(value: object) -> str | None:
    return f"{value[:8]!a}..." if isinstance(value, str) and len(value) > 20 else None


@pytest.mark.parametrize("price", [*JUNK, "x" * 100_000, "9" * 20 + "x"], ids=short)
@pytest.mark.parametrize("beside", ["99", LONG])
@pytest.mark.parametrize("depth", [None, 3])
def test_a_price_that_is_no_number_is_a_bad_frame(price: str, beside: str, depth: int | None) -> None:
    book = OrderBook([(beside, "1")], [], depth)
    with pytest.raises(BadFrame, match="is not a price") as raised:
        book.apply([("98", "1"), (price, "1")], [])
    assert len(str(raised.value)) < 300
    with pytest.raises(BadFrame):
        OrderBook([(beside, "1")], [], depth).apply([], [(price, "0")])


@pytest.mark.parametrize("price", JUNK, ids=repr)
def test_a_junk_snapshot_is_a_bad_frame_when_it_is_first_used(price: str) -> None:
    uses = (OrderBook.bids, OrderBook.asks, OrderBook.is_crossed, lambda book: book.apply([], []))
    for use in uses:
        for levels in ([(price, "1")], [("1", "1"), (price, "0")]):
            with pytest.raises(BadFrame):
                use(OrderBook(levels, [("2", "1")]))
            with pytest.raises(BadFrame):
                use(OrderBook([("2", "1")], levels))


def test_a_price_beyond_what_a_float_holds_is_a_bad_frame() -> None:
    with pytest.raises(BadFrame):
        OrderBook([("1e400", "1")], []).bids()


@pytest.mark.parametrize("price", ["1e9999999", "-1e9999999"])
def test_an_exponent_beyond_decimals_range_is_a_bad_frame(price: str) -> None:
    with pytest.raises(BadFrame):
        OrderBook([(LONG, "1"), (price, "1")], []).bids()


@given(st.text(max_size=12), st.text(max_size=4))
def test_any_text_for_a_price_is_a_level_or_a_bad_frame(price: str, size: str) -> None:
    book = OrderBook([("1", "1")], [("2", "1")])
    try:
        book.apply([(price, size)], [])
    except BadFrame:
        return
    prices = [Decimal(price) for price, _ in book.bids()]
    assert all(high > low for high, low in pairwise(prices))
