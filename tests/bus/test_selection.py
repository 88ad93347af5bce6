import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.bus.selection import (
    CHANNEL_NAMES,
    BadPattern,
    Glob,
    RecordTopic,
    Selection,
    Symbols,
    parse_pattern,
    topic_key,
    topic_keys,
    topic_of,
)
from aggregator.feed.index import TopicIndex
from aggregator.records import (
    BookDelta,
    BookSnapshot,
    Gap,
    Health,
    IndexPrice,
    Record,
    Status,
    Trade,
)
from aggregator.session.moment import Now
from aggregator.session.summaries import Counts
from aggregator.session.topics import Origin

Named = dict[str, Any]  # what a record says of its topic
PERPETUAL: Named = {"exchange": "alpha", "symbol": "BTC/USDT:USDT", "raw_symbol": "BTCUSDT-PERP"}
SPOT: Named = {"exchange": "alpha", "symbol": "BTC/USDT", "raw_symbol": "BTCUSDT"}
UNNAMED: Named = {"exchange": "alpha", "symbol": None, "raw_symbol": "X:Y"}
SUMMARY = Counts(Origin("alpha", "alpha/main.1#1")).summary((), Now(1, 1))
HOLE: dict[str, Any] = {"gap_id": "1", "phase": "open", "cause": "disconnect", "ts_from": 1}


def wants(pattern: str, record: Record) -> bool:
    return Selection([parse_pattern(pattern)]).wants(topic_of(record))


@pytest.mark.parametrize(
    ("pattern", "symbols", "wanted"),
    [
        ("trades:alpha:BTC/USDT:USDT", PERPETUAL, True),
        ("trades:alpha:BTCUSDT-PERP", PERPETUAL, True),
        ("trades:alpha:BTC/USDT", PERPETUAL, False),
        ("trades:alpha:*:USDT", PERPETUAL, True),
        ("trades:alpha:*/USDT", PERPETUAL, False),
        ("trades:alpha:*/USDT", SPOT, True),
        ("trades:*:BTC/*", SPOT, True),
        ("trades:al*:*", SPOT, True),
        ("trades:*a:BTCUSDT", SPOT, True),
        ("*:*:*", SPOT, True),
        ("t*:alpha:*", SPOT, True),
        ("book:alpha:*", SPOT, False),
        ("trades:beta:*", SPOT, False),
        ("trades:alpha:btc/usdt", SPOT, False),
        ("trades:alpha:X:Y", UNNAMED, True),
        ("trades:alpha:X", UNNAMED, False),
    ],
)
def test_a_pattern_names_topics(pattern: str, symbols: Named, wanted: bool) -> None:
    assert wants(pattern, Trade(price="1", size="1", **symbols)) is wanted


@pytest.mark.parametrize(
    ("record", "reaches", "passes"),
    [
        (Gap(channel="trades", **SPOT, **HOLE), ["trades:alpha:BTC/USDT", "gap:alpha:*", "gap:*:BTCUSDT"], ["book"]),
        (Health(channel="book", state="live", **SPOT), ["book:alpha:*", "health:*:*"], ["trades", "gap"]),
        (
            Gap(exchange="alpha", symbol=None, channel="trades", **HOLE),
            ["trades:alpha:BTC/USDT", "gap:alpha:ETH/*"],
            ["book"],
        ),
        (
            Gap(exchange="alpha", symbol=None, **HOLE),
            ["trades:alpha:BTC/USDT", "status:alpha:ETH/USDT", "gap:alpha:X"],
            ["health"],
        ),
        (SUMMARY, ["trades:alpha:BTC/USDT", "summary:alpha:*", "*:alpha:X"], ["gap", "health"]),
        (
            Status(exchange="alpha", symbol=None, state="halt"),
            ["trades:alpha:BTC/USDT", "status:alpha:X"],
            ["gap", "health"],
        ),
        (Status(state="halt", **SPOT), ["status:alpha:BTC/USDT"], ["trades"]),
        (IndexPrice(exchange="alpha", price="1", index="I"), ["index_price:alpha:*"], ["trades"]),
    ],
)
def test_what_concerns_a_topic_reaches_its_subscribers(record: Record, reaches: list[str], passes: list[str]) -> None:
    assert [pattern for pattern in reaches if not wants(pattern, record)] == []
    assert [channel for channel in passes if wants(f"{channel}:*:*", record)] == []
    assert not any(wants(f"{channel}:beta:*", record) for channel in CHANNEL_NAMES)


def test_data_without_a_symbol_is_not_everybodys() -> None:
    assert not wants("index_price:alpha:BTC/USDT", IndexPrice(exchange="alpha", price="1", index="I"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "write channel:exchange:symbol"),
        ("trades", "write channel:exchange:symbol"),
        ("trades:alpha", "write channel:exchange:symbol"),
        ("trades::X", "write channel:exchange:symbol"),
        ("trades:alpha:", "write channel:exchange:symbol"),
        ("trades:alpha:\x1b[31m", r"'trades:alpha:\x1b[31m' is not a topic"),
        ("trade:alpha:X", "did you mean trades?"),
        ("zzz*:alpha:X", "allowed: trades, book,"),
        ("lag:*:*", "'lag' is not a channel"),
        (f"trades:alpha:{'X' * 300}", "longer than the 256 characters"),
    ],
)
def test_what_is_no_pattern_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(BadPattern, match=re.escape(complaint)):
        parse_pattern(text)


@given(st.text("ab*", min_size=1).filter(lambda text: "*" in text), st.text("ab"))
def test_a_glob_is_as_its_expression_says(glob: str, name: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, glob.split("*"))), name) is not None
    assert Glob(glob).matches(name) is expected


def test_no_glob_takes_long() -> None:
    """One that tried every way to place the stars would not be done in years."""
    assert not Glob("*a" * 127 + "*b").matches("a" * 300)


def test_books_are_one_channel() -> None:
    assert wants("book:alpha:*", BookSnapshot(bids=[], asks=[], **SPOT))
    assert wants("book:alpha:*", BookDelta(bids=[], asks=[], **SPOT))


# --- the index

NAMES = ("BTC/USDT", "BTCUSDT", "ETH/USDT", "ETHUSDT", "X:Y")
PARTS = st.sampled_from(["*", "B*", "*USDT", *NAMES])
TOPICS = st.builds(
    RecordTopic,
    st.sampled_from([("trades",), ("book",), ("gap", "trades"), ("health", *CHANNEL_NAMES[:3]), ()]),
    st.sampled_from(["alpha", "beta"]),
    st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple),
)
PATTERNS = st.builds(
    "{}:{}:{}".format,
    st.sampled_from(["trades", "book", "gap", "*", "t*"]),
    st.sampled_from(["alpha", "beta", "*", "al*", "none"]),
    PARTS,
)


@given(st.lists(TOPICS, max_size=12), st.lists(PATTERNS, min_size=1, max_size=4))
def test_the_index_finds_what_a_selection_wants(topics: list[RecordTopic], patterns: list[str]) -> None:
    index: TopicIndex[int] = TopicIndex()
    for number, topic in enumerate(topics):
        index.add(topic, number)
    selection = Selection([parse_pattern(text) for text in patterns])
    found = index.matching(selection)
    assert sorted(found) == [number for number, topic in enumerate(topics) if selection.wants(topic)]


class Looked(dict[str, None]):
    """Names that may be asked for, and not gone through."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all names were looked at")


def test_what_is_named_in_full_is_found_without_a_look_at_the_others() -> None:
    symbols = Symbols()
    symbols.add("S7/USD")
    symbols.add("S8/USD")
    assert list(symbols.fitting(Looked.fromkeys(["S7/USD", "S9/USD"]))) == ["S7/USD"]


NAME = st.text("AB*", max_size=5)


@given(st.lists(NAME, max_size=4), st.lists(st.text("AB", max_size=6), unique=True, max_size=20))
def test_many_names_are_chosen_as_one_is(patterns: list[str], names: list[str]) -> None:
    symbols = Symbols()
    for text in patterns:
        symbols.add(text)
    found = list(symbols.fitting(dict.fromkeys(names)))
    assert sorted(found) == sorted(name for name in names if symbols.matches((name,)))


def test_an_index_finds_what_a_pattern_means_by_either_name() -> None:
    index: TopicIndex[int] = TopicIndex()
    for number in range(1000):
        index.add(RecordTopic(("trades",), "alpha", (f"S{number}/USD", f"S{number}USD")), number)
    assert index.matching(Selection([parse_pattern("trades:*:S7/USD")])) == [7]
    assert index.matching(Selection([parse_pattern("trades:*:S7USD"), parse_pattern("trades:a*:*99/*")])) == [
        7,
        *range(99, 1000, 100),
    ]


def test_keys_of_many_records_are_those_of_each() -> None:
    trade = Trade(**SPOT, price="1", size="2")
    gaps = [Gap(**SPOT, **HOLE, channel=channel) for channel in ("trades", "book", None)]
    for records in ([trade, *gaps], [trade, Trade(**UNNAMED, price="1", size="2")]):
        keys = topic_keys(records)
        assert keys == list(map(topic_key, records))
        assert len(set(keys)) == len(records)
