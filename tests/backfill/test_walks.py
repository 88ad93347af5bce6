"""Walks over a range of the past, against every kind of exchange: each trade once, whatever is at a page's edge."""

import random
from collections.abc import Callable, Sequence

import pytest

from aggregator.backfill import walks
from aggregator.backfill.walks import AnyWalk, MissingTime, Target, WalkedTo, begin
from aggregator.exchange import Page, PastPages, Request, Walk
from aggregator.records import MS_NS, SECOND_NS, Candle, Trade
from aggregator.wire import candle

START, END = 1_790_000_000 * SECOND_NS, 1_790_000_600 * SECOND_NS
Answer = Callable[[Page], Sequence[Trade]]


def trade(number: int, ts: int) -> Trade:
    return Trade(raw_symbol="X", id=f"t{number}", price="1.10", size="2", sequence=number, ts_event=ts)


def market(seed: int, count: int = 300, unit: int = MS_NS) -> list[Trade]:
    """Trades before, in and after the range, many of one moment."""
    chance = random.Random(seed)
    times = sorted(chance.randrange(START - 60 * SECOND_NS, END + 60 * SECOND_NS) // unit * unit for _ in range(count))
    for at in range(0, count - 6, 17):
        times[at : at + 5] = [times[at]] * 5
    return [trade(number, ts) for number, ts in enumerate(sorted(times), 1000)]


def target(walk: Walk, most: int, span_s: int | None = None, unit: int = MS_NS) -> Target:
    history = PastPages(
        channel="trades",
        walk=walk,
        request=lambda _: Request("https://x"),
        parse=lambda _, __: (),
        most=most,
        span_s=span_s,
        unit_ns=unit,
    )
    return Target(history=history, raw_symbol="X", start=START, end=END)


def followed(walk: AnyWalk, answer: Answer, pages: int = 10_000) -> tuple[list[str], list[MissingTime]]:
    """All that comes of a walk, in its order."""
    found: list[str] = []
    holes: list[MissingTime] = []
    for _ in range(pages):
        page = walk.page()
        if page is None:
            return found, holes
        steps = walk.take(answer(page))
        found += [str(record.id) for record in steps.records if isinstance(record, Trade)]
        holes += steps.holes
    raise AssertionError("the walk has no end")


def wanted(trades: Sequence[Trade]) -> list[str]:
    return [str(t.id) for t in trades if START <= (t.ts_event or 0) < END]


def ts(record: Trade) -> int:
    return record.ts_event or 0


def by_time(trades: Sequence[Trade], most: int, unit: int = MS_NS) -> Answer:
    """Both ends are within, in whole units; the oldest come."""
    return lambda page: [
        t for t in trades if ts(t) >= page.start // unit * unit and ts(t) // unit <= (page.end - 1) // unit
    ][:most]


def by_time_alone(trades: Sequence[Trade], most: int) -> Answer:
    """No end can be named."""
    return lambda page: [t for t in trades if ts(t) >= page.start][:most]


def then_by_number(trades: Sequence[Trade], most: int) -> Answer:
    """The first page by time, the others by the number behind the edge."""

    def answer(page: Page) -> Sequence[Trade]:
        if page.edge is None:
            return by_time(trades, most)(page)
        return [t for t in trades if (t.sequence or 0) > (page.edge.sequence or 0)][:most]

    return answer


def newest_before_time(trades: Sequence[Trade], most: int) -> Answer:
    """The newest come up to a time, which is within; the beginning is heeded."""

    def answer(page: Page) -> Sequence[Trade]:
        end = page.end - 1 if page.edge is None else page.edge.ts_event or 0
        return [t for t in trades if page.start <= ts(t) <= end][-most:]

    return answer


def newest_before_id(trades: Sequence[Trade], most: int) -> Answer:
    """The newest come before an id; the beginning is not heeded."""

    def answer(page: Page) -> Sequence[Trade]:
        older = [t for t in trades if ts(t) < page.end]
        if page.edge is not None:
            older = [t for t in trades if (t.sequence or 0) < (page.edge.sequence or 0)]
        return older[-most:]

    return answer


def from_number(trades: Sequence[Trade], most: int) -> Answer:
    return lambda page: (
        trades[-most:] if page.number is None else [t for t in trades if (t.sequence or 0) >= page.number][:most]
    )


def before_number(trades: Sequence[Trade], most: int) -> Answer:
    """As exchanges answer that give the trades below a number: some are below the one that was asked for."""
    return lambda page: (
        trades[-most:] if page.number is None else [t for t in trades if (t.sequence or 0) < page.number + most][-most:]
    )


WAYS: list[tuple[Walk, Callable[[Sequence[Trade], int], Answer], int | None]] = [
    ("forward", by_time, None),
    ("forward", by_time, 60),
    ("forward", by_time_alone, None),
    ("forward", then_by_number, 60),
    ("backward", newest_before_time, None),
    ("backward", newest_before_id, 7),
    ("numbered", from_number, None),
    ("numbered", before_number, None),
]


@pytest.mark.parametrize("most", [8, 50, 1000])
@pytest.mark.parametrize(("walk", "made", "span_s"), WAYS)
def test_each_trade_comes_once_and_in_order(
    walk: Walk, made: Callable[[Sequence[Trade], int], Answer], span_s: int | None, most: int
) -> None:
    for seed in range(4):
        trades = market(seed)
        found, holes = followed(begin(target(walk, most, span_s)), made(trades, most))
        assert found == wanted(trades)
        assert not holes


@pytest.mark.parametrize("most", [50, 1000])
@pytest.mark.parametrize(("walk", "made", "span_s"), WAYS[:-1])  # the last counts with numbers that come once
def test_what_an_answer_holds_twice_comes_once(
    walk: Walk, made: Callable[[Sequence[Trade], int], Answer], span_s: int | None, most: int
) -> None:
    trades = market(2)
    twice = [t for t in trades for _ in range(2)]
    assert followed(begin(target(walk, most, span_s)), made(twice, most)) == (wanted(trades), [])


@pytest.mark.parametrize(("walk", "made", "span_s"), WAYS)
def test_a_walk_that_is_cut_anywhere_is_gone_on_with(
    walk: Walk, made: Callable[[Sequence[Trade], int], Answer], span_s: int | None
) -> None:
    trades, most = market(3), 8
    answer, found, place = made(trades, most), list[str](), WalkedTo(at=START)
    for _ in range(2000):  # a new walk after each page that has brought something
        walking = begin(target(walk, most, span_s), place)
        while (page := walking.page()) is not None:
            steps = walking.take(answer(page))
            found += [str(record.id) for record in steps.records if isinstance(record, Trade)]
            if steps.records:
                break
        place = walking.place()
        if page is None:
            break
    assert found == wanted(trades)


@pytest.mark.parametrize(("walk", "made"), [("forward", by_time), ("backward", newest_before_time)])
def test_what_a_full_moment_hides_is_told(walk: Walk, made: Callable[[Sequence[Trade], int], Answer]) -> None:
    at = START + 5 * SECOND_NS
    trades = [trade(1, at - MS_NS), *(trade(number, at) for number in range(2, 30)), trade(30, at + MS_NS)]
    found, holes = followed(begin(target(walk, 10)), made(trades, 10))
    assert holes == [MissingTime(at, at + MS_NS, is_too_much=True)]
    assert found[0] == "t1"
    assert found[-1] == "t30"
    assert len(found) == len(set(found)) == 12


def test_times_of_whole_seconds_lose_nothing_between_pages() -> None:
    trades = market(5)
    found, holes = followed(begin(target("forward", 60, unit=SECOND_NS)), by_time(trades, 60, SECOND_NS))
    assert (found, holes) == (wanted(trades), [])


def test_a_range_without_trades_ends() -> None:
    for walk, made, span_s in WAYS:
        assert followed(begin(target(walk, 10, span_s)), made([trade(1, START - SECOND_NS)], 10)) == ([], [])
        assert followed(begin(target(walk, 10, span_s)), made([], 10)) == ([], [])


def test_the_latest_are_had_and_the_rest_is_a_hole() -> None:
    trades = market(7)
    newest = trades[-150:]
    found, holes = followed(begin(target("latest", 150)), lambda _: newest)
    assert found == wanted(newest)
    oldest = ts(newest[0])
    assert holes == [MissingTime(START, (oldest // MS_NS + 1) * MS_NS)]
    found, holes = followed(begin(target("latest", 1000)), lambda _: [])
    assert (found, holes) == ([], [MissingTime(START, END)])


@pytest.mark.parametrize("made", [newest_before_time, newest_before_id])
def test_a_slice_of_many_records_is_cut_and_each_trade_comes_once(
    made: Callable[[Sequence[Trade], int], Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walks, "MOST_GATHERED", 30)
    for seed in range(20):
        trades, most = market(seed), 8 + seed
        walk, found, held = begin(target("backward", most)), list[str](), 0
        answer = made(trades, most)
        while (page := walk.page()) is not None:
            steps = walk.take(answer(page))
            assert not steps.holes
            found += [str(record.id) for record in steps.records if isinstance(record, Trade)]
            held = max(held, len(vars(walk)["_gathered"]))
        assert found == wanted(trades)
        assert held <= 30


@pytest.mark.parametrize("walk", ["forward", "backward", "numbered"])
def test_an_answer_of_other_times_is_noticed_and_hides_what_there_is(walk: Walk) -> None:
    """The exchange heeds nothing of what it was asked for."""
    far = START - 3600 * SECOND_NS if walk != "backward" else END + 3600 * SECOND_NS
    others = [trade(number, far + number * MS_NS) for number in range(10)]
    for most in (10, 50):
        walking = begin(target(walk, most), WalkedTo(at=START, number=5000 if walk == "numbered" else None))
        page = walking.page()
        assert page is not None
        steps = walking.take(others)
        assert steps.is_astray
        assert not steps.records
        is_told = most == 10 and walk != "numbered"
        assert list(steps.holes) == ([MissingTime(START, END)] if is_told else [])
        assert walking.page() is None


def candles_of(most: int, there: Sequence[Candle]) -> tuple[list[int], int]:
    history = PastPages(
        channel="candles", request=lambda _: Request("https://x"), parse=lambda _, __: (), most=most, intervals=("1m",)
    )
    start = START // (60 * SECOND_NS) * 60 * SECOND_NS
    walk = begin(Target(history=history, raw_symbol="X", start=start, end=start + 3600 * SECOND_NS))
    found, asked = [], 0
    while (page := walk.page()) is not None:
        asked += 1
        steps = walk.take([c for c in there if page.start <= c.ts_open <= page.end][:most])  # the end is within
        found += [record.ts_open for record in steps.records if isinstance(record, Candle)]
    return found, asked


def test_candles_come_once_and_a_full_page_costs_no_second_request() -> None:
    start = START // (60 * SECOND_NS) * 60 * SECOND_NS
    there = [
        candle("X", "1m", start + minute * 60 * SECOND_NS, ("1", "2", "1", "2"), base="1") for minute in range(-5, 80)
    ]
    found, asked = candles_of(10, there)
    assert found == [start + minute * 60 * SECOND_NS for minute in range(60)]
    assert asked == 6
    with_holes = [c for at, c in enumerate(there) if at % 3]
    found, _ = candles_of(10, with_holes)
    assert found == [c.ts_open for c in with_holes if start <= c.ts_open < start + 3600 * SECOND_NS]
