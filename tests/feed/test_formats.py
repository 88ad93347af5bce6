import json
from decimal import Decimal
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from aggregator.bus.bus import encode_lines
from aggregator.feed.formats import DECIMALS, PLAIN, Options, encode
from aggregator.feed.protocol import Time
from aggregator.records import RECORD_TYPES, BookDelta, Candle, Instrument, Record, Trade

# fmt: off
WORDS = {
    "exchange", "symbol", "raw_symbol", "conn", "id", "first_id", "last_id", "interval", "index", "underlying",
    "base", "quote", "settle", "reason", "gap_id", "status", "bye",
}
# fmt: on
TRADE = Trade(exchange="alpha", ts_event=1714564800123456789, ts_recv=1, price="0.3500", size="7", id="12")


def written(record: Record, options: Options) -> dict[str, object]:
    found: dict[str, object] = json.loads(encode([record], options), parse_float=Decimal)
    return found


def test_every_text_of_a_record_is_known_as_a_word_or_a_number() -> None:
    texts = {name for kind in RECORD_TYPES for name, hint in get_type_hints(kind).items() if hint in {str, str | None}}
    assert texts - WORDS == DECIMALS
    assert not WORDS & DECIMALS


def test_without_options_it_is_the_streams_own_line() -> None:
    assert encode([TRADE], PLAIN) == encode_lines([TRADE])


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("us", 1714564800123456), ("ms", 1714564800123), ("iso", "2024-05-01T12:00:00.123456789Z")],
)
def test_times_in_other_units(unit: Time, expected: object) -> None:
    row = written(TRADE, Options(time=unit))
    assert (row["ts_event"], row["ts_sent"], row["price"]) == (expected, None, "0.3500")


def test_a_time_outside_of_the_calendar_stays_a_number() -> None:
    candle = Candle(interval="1m", ts_open=10**30, open="1", high="1", low="1", close="1")
    assert written(candle, Options(time="iso"))["ts_open"] == 10**30


def test_numbers_keep_their_digits() -> None:
    line = encode([TRADE], Options(numbers="float"))
    assert b'"price":0.3500,' in line
    assert b'"id":"12"' in line


def test_levels_are_numbers_too() -> None:
    delta = BookDelta(bids=[("1.50", "0")], asks=[("2", "3.0")], flags=("late",))
    row = written(delta, Options(numbers="float", time="ms"))
    assert (row["bids"], row["asks"], row["flags"]) == ([[Decimal("1.50"), 0]], [[2, Decimal("3.0")]], ["late"])


@pytest.mark.parametrize(("text", "expected"), [("007", 7), (".5", Decimal("0.5")), ("NaN", "NaN"), ("x", "x")])
def test_what_json_cannot_hold_as_it_stands(text: str, expected: object) -> None:
    assert written(Trade(price=text, size="1"), Options(numbers="float"))["price"] == expected


def test_a_word_that_shares_its_name_with_a_number_stays() -> None:
    row = written(Instrument(change="update", tick_size="0.01"), Options(numbers="float"))
    assert (row["change"], row["tick_size"]) == ("update", Decimal("0.01"))


@given(st.decimals(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:f}"))
def test_any_number_is_the_same_number(text: str) -> None:
    assert written(Trade(price=text, size="1"), Options(numbers="float"))["price"] == Decimal(text)


def test_a_flag_less_record_has_no_flags() -> None:
    assert TRADE.flags is UNSET
    assert "flags" not in written(TRADE, Options(time="ms"))
