"""Bars of trades, from the specification in docs/feed.md: values against plain decimals, holes, late trades, clocks."""

import random
from collections import defaultdict
from decimal import Context, Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.bus.selection import BadPattern
from aggregator.derived.candles import GRACE_NS, KEPT_NS
from aggregator.derived.channel import Machine, Stamp
from aggregator.derived.channels import find
from aggregator.derived.intervals import span_of
from aggregator.records import SECOND_NS, Candle, Cause, Gap, Health, Record, Repair, TopicState, Trade

S = SECOND_NS
DAY = 1_700_006_400 * S  # midnight of a Wednesday
EXACT = Context(prec=2000)
CONN = "alpha/main.1#1"


def start(name: str, at: int | None = DAY - 100 * S) -> Machine:
    """A machine that began at a time of the wall clock; null: it has not been told one."""
    found = find(name)
    assert found is not None
    machine = found.start(Stamp("alpha", "BTC/USD", "BTCUSD", f"derived/{name}"))
    if at is not None:
        assert list(machine.tick(at)) == []
    return machine


def trade(at: float, price: str = "100", size: str = "1", **other: object) -> Trade:
    """A trade so many seconds after midnight, heard at once."""
    ns = DAY + round(at * S)
    given: dict[str, object] = {"ts_event": ns, "ts_recv": ns, "base_size": size, "conn": CONN, **other}
    return Trade(exchange="alpha", symbol="BTC/USD", raw_symbol="BTCUSD", price=price, size=size, **given)  # type: ignore[arg-type]


def gap(
    phase: str, since: float, until: float | None = None, repair: Repair | None = None, cause: Cause = "disconnect"
) -> Gap:
    return Gap(
        exchange="alpha",
        symbol="BTC/USD",
        raw_symbol="BTCUSD",
        conn=CONN,
        channel="trades",
        gap_id="g",
        phase=phase,  # type: ignore[arg-type]
        cause=cause,
        ts_from=DAY + round(since * S),
        ts_to=None if until is None else DAY + round(until * S),
        ts_recv=DAY + round((since if until is None else until) * S),
        repair=repair,
    )


def health(state: TopicState, at: float, conn: str = CONN) -> Health:
    ns = DAY + round(at * S)
    return Health(
        exchange="alpha", symbol="BTC/USD", raw_symbol="BTCUSD", channel="trades", state=state, ts_recv=ns, conn=conn
    )


def feed(machine: Machine, *records: Record) -> list[Candle]:
    """What is told at once of some records: candles only."""
    told = [made for record in records for made in machine.take(record)]
    assert all(isinstance(made, Candle) for made in told)
    return told  # type: ignore[return-value]


def brief(candle: Candle) -> tuple[str, ...]:
    return candle.open, candle.high, candle.low, candle.close


# --- bars of time


def test_a_bar_is_told_when_a_trade_of_a_later_interval_comes() -> None:
    machine = start("candles.1m")
    assert (
        feed(machine, trade(1, "100.0", "0.10"), trade(2, "101", "0.20"), trade(3, "99.5", "1"), trade(59, "100")) == []
    )
    (bar,) = feed(machine, trade(61, "7"))
    assert brief(bar) == ("100.0", "101", "99.5", "100"), "prices are the texts that were told"
    assert (bar.interval, bar.ts_open, bar.ts_close) == ("1m", DAY, DAY + 60 * S)
    assert (bar.base_volume, bar.quote_volume, bar.trades) == ("2.30", "229.700", 4)
    assert (bar.closed, bar.complete, bar.origin) == (True, True, "computed")
    assert (bar.exchange, bar.symbol, bar.raw_symbol) == ("alpha", "BTC/USD", "BTCUSD")
    assert (bar.source, bar.conn) == ("derived", "derived/candles.1m")
    assert (bar.ts_event, bar.ts_recv) == (DAY + 59 * S, DAY + 59 * S), "those of its last trade"
    assert not bar.flags


def test_a_bar_closes_by_the_clock_when_no_trade_comes() -> None:
    machine = start("candles.1m")
    feed(machine, trade(5))
    assert machine.due == DAY + 60 * S + GRACE_NS
    assert list(machine.tick(machine.due - 1)) == []
    (bar,) = machine.tick(DAY + 60 * S + GRACE_NS)
    assert isinstance(bar, Candle)
    assert (bar.ts_open, bar.closed, bar.complete) == (DAY, True, True)
    assert machine.due == 0
    assert list(machine.tick(DAY + 10**6 * S)) == [], "an interval without a trade has no bar"
    assert feed(machine, trade(200)) == []


def test_the_open_bar_is_news_where_it_is_asked_for() -> None:
    machine = start("candles.1m")
    assert machine.news() is None
    feed(machine, trade(5, "1"), trade(6, "2"))
    bar = machine.news()
    assert isinstance(bar, Candle)
    assert (brief(bar), bar.closed) == (("1", "2", "1", "2"), False)
    assert machine.news() is None
    feed(machine, trade(61, "3"))
    bar = machine.news()
    assert isinstance(bar, Candle)
    assert bar.ts_open == DAY + 60 * S


@pytest.mark.parametrize("late_by_clock", [True, False])
def test_a_late_trade_has_its_bar_told_again(late_by_clock: bool) -> None:
    machine = start("candles.1m")
    feed(machine, trade(5, "10"), trade(50, "11"))
    (first,) = machine.tick(DAY + 63 * S) if late_by_clock else machine.take(trade(65, "50"))
    assert isinstance(first, Candle)
    (again,) = feed(machine, trade(20, "99", "2"))
    assert (again.ts_open, again.flags, again.closed) == (first.ts_open, ("late",), True)
    assert brief(again) == ("10", "99", "10", "11"), "it is neither the first nor the last"
    assert (again.trades, again.base_volume) == (3, "4")
    (again,) = feed(machine, trade(59, "12"))
    assert again.close == "12"
    (again,) = feed(machine, trade(1, "8"))
    assert again.open == "8"


def test_a_late_trade_of_an_interval_without_a_bar_makes_one() -> None:
    machine = start("candles.1m")
    feed(machine, trade(5))
    feed(machine, trade(125))
    (bar,) = feed(machine, trade(70, "3"))
    assert (bar.ts_open, bar.flags, brief(bar)) == (DAY + 60 * S, ("late",), ("3", "3", "3", "3"))


def test_a_trade_that_is_too_late_is_in_no_bar() -> None:
    machine = start("candles.1m")
    feed(machine, trade(5), trade(65))
    end = KEPT_NS // S + 120
    feed(machine, trade(end), trade(end + 60))
    assert feed(machine, trade(6, ts_recv=DAY + (end + 61) * S)) == []


def test_missed_trades_of_a_long_gap_are_taken_however_late_they_come() -> None:
    machine = start("candles.1m")
    feed(machine, trade(5), gap("open", 70))
    (first,) = feed(machine, trade(7200, source="ws"))
    assert first.complete is True
    late = [trade(at, source="backfill", flags=("backfill",), ts_recv=DAY + 7201 * S) for at in (75, 130, 3600)]
    told = feed(machine, *late)
    assert [bar.ts_open - DAY for bar in told] == [60 * S, 120 * S, 3600 * S]
    assert [bar.complete for bar in told] == [False, False, False], "the gap is open still"
    told = feed(machine, gap("close", 70, 7201, "full"))
    assert [(bar.ts_open - DAY, bar.complete, bar.flags) for bar in told] == [
        (60 * S, True, ("late",)),
        (120 * S, True, ("late",)),
        (3600 * S, True, ("late",)),
    ]


# --- what lies inside


def test_the_bar_in_which_it_began_is_not_complete() -> None:
    machine = start("candles.1m", DAY + 30 * S)
    told = feed(machine, trade(31), trade(61), trade(121))
    assert [bar.complete for bar in told] == [False, True]


def test_without_a_tick_it_begins_with_the_first_trade() -> None:
    machine = start("candles.1m", None)
    told = feed(machine, trade(1), trade(61), trade(121))
    assert [bar.complete for bar in told] == [False, True]


@pytest.mark.parametrize(
    ("since", "until", "complete"),
    [
        (70, 80, [True, False, True, True]),
        (70, 130, [True, False, False, True]),
        (110, 119, [True, False, True, True]),
        (61, 65, [False, False, True, True]),  # what was under way when the line was cut is missing too
        (130, 200, [True, True, False, False]),
    ],
)
def test_a_bar_with_a_gap_inside_is_not_complete(since: float, until: float, complete: list[bool]) -> None:
    machine = start("candles.1m")
    bars: dict[int, bool | None] = {}
    events: list[tuple[float, Record]] = [(at, trade(at)) for at in range(5, 300, 20)]
    events += [(since, gap("open", since)), (until, gap("close", since, until, "none"))]
    for _, record in sorted(events, key=lambda event: event[0]):
        for bar in feed(machine, record):
            bars[(bar.ts_open - DAY) // (60 * S)] = bar.complete
    assert [bars[number] for number in range(4)] == complete


def test_a_gap_of_numbers_lies_between_the_two_trades() -> None:
    machine = start("candles.1m")
    told = feed(
        machine, trade(50), gap("open", 65, cause="sequence"), trade(65), gap("close", 65, 66, "none", "sequence")
    )
    told += feed(machine, trade(130), trade(190))
    assert [(bar.ts_open - DAY, bar.complete) for bar in told] == [(0, False), (60 * S, False), (120 * S, True)]


def test_a_gap_that_is_made_good_leaves_bars_complete() -> None:
    machine = start("candles.1m")
    told = feed(machine, trade(5), gap("open", 20), health("subscribing", 21), trade(30), gap("close", 20, 31, "full"))
    told += feed(machine, health("live", 32), trade(61))
    assert [bar.complete for bar in told] == [True]


def test_a_single_frame_that_was_lost_is_a_hole() -> None:
    machine = start("candles.1m")
    told = feed(machine, trade(5), gap("close", 20, 20, "none", "parse_error"), trade(61), trade(121))
    assert [bar.complete for bar in told] == [False, True]


def test_a_gap_of_another_connection_is_none_of_it() -> None:
    machine = start("candles.1m")
    other = gap("close", 20, 20, "none", "parse_error")
    other.symbol = other.raw_symbol = other.channel = None
    other.conn = "alpha/main.2#1"
    assert [bar.complete for bar in feed(machine, trade(5), other, trade(61))] == [True]


def test_a_topic_that_stalls_is_a_hole_until_it_lives() -> None:
    machine = start("candles.1m")
    told = feed(machine, trade(5), health("quiet", 20), trade(61), trade(121), health("stalled", 190), trade(200))
    told += feed(machine, health("live", 200), trade(301), trade(361))
    complete = {(bar.ts_open - DAY) // (60 * S): bar.complete for bar in told}
    assert complete == {0: True, 1: True, 2: False, 3: False, 5: True}


def test_a_bar_that_was_told_complete_is_told_again_when_it_turns_out_not_to_be() -> None:
    machine = start("candles.1m")
    (bar,) = feed(machine, trade(50), trade(60.5))
    assert bar.complete is True
    (again,) = feed(machine, gap("open", 61))
    assert (again.ts_open, again.complete, again.flags) == (DAY, False, ("late",))


def test_another_connection_that_lives_makes_good_for_one_that_is_down() -> None:
    machine = start("candles.1m")
    feed(machine, health("live", -50, "alpha/A.1#1"), health("live", -50, "alpha/B.1#1"))
    told = feed(machine, trade(5), health("down", 20, "alpha/A.1#1"), trade(61))
    assert [bar.complete for bar in told] == [True]
    feed(machine, health("down", 70, "alpha/B.1#1"))
    assert [bar.complete for bar in feed(machine, trade(121))] == [False]


# --- which trades, and when


def test_trades_that_were_agreed_apart_are_left_out_and_repeated_ones_too() -> None:
    machine = start("candles.1m")
    feed(machine, trade(1, "5"), trade(2, "900", kind="block"), trade(3, "900", kind="rfq"))
    feed(machine, trade(4, "900", flags=("snapshot",)), trade(5, "6", flags=("snapshot",), sequence=7))
    feed(machine, trade(6, "7", kind="liquidation"), trade(7, "7", kind="auction"))
    (bar,) = feed(machine, trade(61))
    assert (brief(bar), bar.trades) == (("5", "7", "5", "7"), 4)


def test_an_aggregate_holds_as_many_trades_as_it_says() -> None:
    machine = start("candles.1m")
    (bar,) = feed(machine, trade(1, kind="aggregate", count=5), trade(2), trade(61, kind="aggregate"))
    assert bar.trades == 6
    (bar,) = feed(machine, trade(121))
    assert bar.trades is None, "it did not say"


def test_sizes_that_are_not_told_give_no_volume() -> None:
    machine = start("candles.1m")
    contracts: dict[str, Any] = {"size_unit": "contract", "base_size": None}
    (bar,) = feed(
        machine,
        trade(1, size="3", quote_size="300", **contracts),
        trade(2, size="4", quote_size="400", **contracts),
        trade(61),
    )
    assert (bar.base_volume, bar.quote_volume, bar.contract_volume) == (None, "700", "7")
    (bar,) = feed(machine, trade(121))
    assert (bar.base_volume, bar.quote_volume, bar.contract_volume) == ("1", "100", None)


def test_our_clock_stands_in_where_the_exchange_gives_no_time_or_a_mad_one() -> None:
    machine = start("candles.1m")
    year = 366 * 86400 * S
    assert feed(machine, trade(5, "1", ts_event=None), trade(6, "2", ts_event=DAY + year), trade(7, "3")) == []
    (bar,) = feed(machine, trade(61))
    assert (bar.ts_open, bar.trades, bar.close) == (DAY, 3, "3")


def test_a_clock_that_jumps_ahead_closes_too_early_and_what_follows_is_late() -> None:
    machine = start("candles.1m")
    feed(machine, trade(5))
    (bar,) = machine.tick(DAY + 3600 * S)
    assert isinstance(bar, Candle)
    assert bar.trades == 1
    (bar,) = feed(machine, trade(6))
    assert (bar.trades, bar.flags) == (2, ("late",))
    assert [bar.trades for bar in feed(machine, trade(61), trade(121))] == [1]


def test_a_clock_that_jumps_back_closes_nothing_and_trades_go_on() -> None:
    machine = start("candles.1m")
    feed(machine, trade(5))
    assert list(machine.tick(DAY - 86400 * S)) == []
    assert machine.due == DAY + 60 * S + GRACE_NS
    assert len(feed(machine, trade(61))) == 1


def test_our_clock_that_was_far_ahead_for_a_while_does_not_end_the_bars() -> None:
    machine = start("candles.1m")
    for at in (5, 10**7, 65, 125):  # trades without a time of the exchange, heard at these moments
        feed(machine, trade(at, ts_event=None))
    (bar,) = feed(machine, trade(185, ts_event=None))
    assert (bar.ts_open, bar.complete) == (DAY + 120 * S, True)


# --- bars of trades, volume and notional


def test_bars_of_so_many_trades() -> None:
    machine = start("candles.3trades")
    told = feed(machine, *(trade(at, str(at)) for at in range(1, 9)))
    assert [(brief(bar), bar.trades, bar.complete, bar.closed) for bar in told] == [
        (("1", "3", "1", "3"), 3, True, True),
        (("4", "6", "4", "6"), 3, True, True),
    ]
    assert (told[0].interval, told[0].ts_open, told[0].ts_close) == ("3trades", DAY + S, DAY + 3 * S + 1)
    bar = machine.current()
    assert isinstance(bar, Candle)
    assert (bar.trades, bar.closed) == (2, False)


def test_a_bar_of_volume_ends_with_the_trade_that_reaches_it() -> None:
    machine = start("candles.0.5base")
    told = feed(machine, trade(1, size="0.3"), trade(2, size="0.2"), trade(3, size="7"), trade(4, size="0.49999999"))
    assert [bar.base_volume for bar in told] == ["0.5", "7"]
    assert told[0].interval == "0.5base"


def test_a_bar_of_money() -> None:
    machine = start("candles.1000quote")
    told = feed(machine, trade(1, "100", "9.99"), trade(2, "100", "0.01"), trade(3, "1", "1", quote_size="5000"))
    assert [bar.quote_volume for bar in told] == ["1000.00", "5000"]


def test_late_trades_of_such_bars_count_where_they_come() -> None:
    machine = start("candles.2trades")
    (bar,) = feed(machine, trade(10, "1"), trade(5, "2", flags=("late",)))
    assert (bar.open, bar.close) == ("1", "2")
    assert (bar.ts_open, bar.ts_close) == (DAY + 5 * S, DAY + 10 * S + 1)


@pytest.mark.parametrize(("repair", "complete"), [("none", [True, False, True]), ("full", [True, True, True])])
def test_such_a_bar_with_a_gap_inside_is_not_complete(repair: Repair, complete: list[bool]) -> None:
    machine = start("candles.2trades")
    told = feed(machine, trade(1), trade(2), trade(3), gap("open", 4), gap("close", 4, 5, repair), trade(5))
    told += feed(machine, trade(6), trade(7))
    assert [bar.complete for bar in told] == complete


def test_trades_that_are_missing_before_such_a_bar_are_missing_in_it() -> None:
    machine = start("candles.2trades")
    told = feed(
        machine, trade(1), trade(2), gap("open", 3), trade(5), gap("close", 3, 5, "none"), trade(6), trade(7), trade(8)
    )
    assert [bar.complete for bar in told] == [True, False, True]


def test_trades_that_do_not_tell_the_amount_are_answered_once_with_the_reason() -> None:
    machine = start("candles.5base")
    inverse: dict[str, Any] = {"size_unit": "quote", "base_size": None}
    (said,) = machine.take(trade(1, **inverse))
    assert isinstance(said, Health)
    assert (said.channel, said.state, said.conn) == ("candles", "down", "derived/candles.5base")
    assert said.reason == "its trades give no size in the base asset: no bar of 5base can be made of them"
    assert list(machine.take(trade(2, **inverse))) == []


# --- names


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("250ms", 120_000_000_000, 120_250_000_000),
        ("1s", 120 * S, 121 * S),
        ("7s", 119 * S, 126 * S),
        ("1m", 120 * S, 180 * S),
        ("1h", 0, 3600 * S),
        ("1d", 0, 86400 * S),
    ],
)
def test_intervals_are_counted_from_1970(text: str, start: int, end: int) -> None:
    span = span_of(text)
    assert span is not None
    assert span(120 * S + 5) == (start, end)


def test_weeks_begin_on_mondays_and_months_have_their_own_length() -> None:
    week, month, quarter = span_of("1w"), span_of("1M"), span_of("3M")
    assert week is not None
    assert month is not None
    assert quarter is not None
    monday = DAY - 2 * 86400 * S  # 13 November 2023
    assert week(DAY) == (monday, monday + 7 * 86400 * S)
    assert month(DAY) == (1_698_796_800 * S, 1_701_388_800 * S)
    assert quarter(DAY) == (1_696_118_400 * S, 1_704_067_200 * S)


@pytest.mark.parametrize(
    "text",
    ["0m", "1y", "5", "m", "1.5m", "0trades", "1.5trades", "0.0base", "5btc", "9ms", "400d", "13M", "-1m", "1m.5m"],
)
def test_what_is_no_bar_is_answered_with_what_is(text: str) -> None:
    with pytest.raises(BadPattern, match=r"is no bar; write candles\.1m"):
        find(f"candles.{text}")


def test_an_interval_behind_a_bar_is_that_of_the_open_bar() -> None:
    for name, interval_ms in (
        ("candles.1m.500ms", 500),
        ("candles.500ms", 0),
        ("candles.500ms.100ms", 100),
        ("candles.0.5base.50ms", 50),
    ):
        found = find(name)
        assert found is not None
        assert found.interval_ns == interval_ms * 1_000_000


# --- against plain decimals

NUMBERS = st.decimals(min_value="0.00000001", max_value="100000", places=8).map(lambda value: f"{value:f}")
TRADES = st.lists(st.tuples(st.integers(0, 300_000), NUMBERS, NUMBERS), min_size=1, max_size=60)


@given(TRADES, st.integers(0, 10**6), st.sampled_from(["1s", "10s", "1m", "7s"]))
@settings(max_examples=200)
def test_bars_of_time_are_what_plain_decimals_give_in_whatever_order_trades_come(
    rows: list[tuple[int, str, str]], seed: int, interval: str
) -> None:
    trades = [trade(ms / 1000, price, size) for ms, price, size in sorted(rows, key=lambda row: row[0])]
    mixed = random.Random(seed)
    arrived = sorted(trades, key=lambda one: one.ts_event + mixed.randrange(20) * S)  # type: ignore[operator]
    machine = start(f"candles.{interval}")
    told: dict[int, Candle] = {}
    for one in arrived:
        for bar in feed(machine, one):
            assert ("late" in (bar.flags or ())) is (bar.ts_open in told) or bar.flags, "first told, then told again"
            told[bar.ts_open] = bar
    for made in machine.tick(machine.due):
        assert isinstance(made, Candle)
        told[made.ts_open] = made
    span = span_of(interval)
    assert span is not None
    expected: dict[int, list[Trade]] = defaultdict(list)
    for one in arrived:
        expected[span(one.ts_event or 0)[0]].append(one)
    assert told.keys() == expected.keys()
    for begin, inside in expected.items():
        bar = told[begin]
        in_time = sorted(inside, key=lambda one: one.ts_event or 0)  # of one time: as they came
        prices = [Decimal(one.price) for one in inside]
        assert (bar.ts_open, bar.ts_close) == span(begin)
        assert Decimal(bar.open) == Decimal(in_time[0].price)
        assert Decimal(bar.close) == Decimal(in_time[-1].price)
        assert (Decimal(bar.high), Decimal(bar.low)) == (max(prices), min(prices))
        base = quote = Decimal(0)
        for one in inside:
            base = EXACT.add(base, Decimal(one.size))
            quote = EXACT.add(quote, EXACT.multiply(Decimal(one.price), Decimal(one.size)))
        assert bar.base_volume is not None
        assert bar.quote_volume is not None
        assert (Decimal(bar.base_volume), Decimal(bar.quote_volume)) == (base, quote)
        assert bar.trades == len(inside)
        assert bar.complete is True


@given(TRADES, st.sampled_from(["trades", "base", "quote"]), st.integers(1, 5000))
@settings(max_examples=200)
def test_bars_of_amounts_are_what_plain_decimals_give(rows: list[tuple[int, str, str]], unit: str, amount: int) -> None:
    machine = start(f"candles.{amount}{unit}")
    trades = [trade(ms / 1000, price, size) for ms, price, size in rows]
    told = feed(machine, *trades)
    groups: list[list[Trade]] = [[]]
    for one in trades:
        groups[-1].append(one)
        sums = {
            "trades": Decimal(len(groups[-1])),
            "base": sum((Decimal(each.size) for each in groups[-1]), Decimal(0)),
            "quote": Decimal(0),
        }
        for each in groups[-1]:
            sums["quote"] = EXACT.add(sums["quote"], EXACT.multiply(Decimal(each.price), Decimal(each.size)))
        if sums[unit] >= amount:
            groups.append([])
    left = groups.pop()
    assert [(bar.open, bar.close, bar.trades) for bar in told] == [(g[0].price, g[-1].price, len(g)) for g in groups]
    assert [Decimal(bar.high) for bar in told] == [max(Decimal(one.price) for one in g) for g in groups]
    assert (machine.current() is None) is (not left)


def test_digits_without_end_are_summed_exactly() -> None:
    machine = start("candles.1m")
    tiny, huge = "0." + "0" * 80 + "1", "9" * 80
    (bar,) = feed(machine, trade(1, "1", tiny), trade(2, "1", huge), trade(61))
    assert bar.base_volume == huge + tiny[1:]
