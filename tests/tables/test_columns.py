"""The columns of every record type, and the check of what fits a decimal one."""

import re
import subprocess
import sys
from decimal import ROUND_DOWN, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from aggregator.records import DECIMALS, RECORD_TYPES, TIMES, BookDelta, Consolidated, Gap, OrdersDelta, Record, Trade
from aggregator.tables.columns import WIDE, Column, Decimals, are_plain, columns, is_number, stored, tag, types_of

pytestmark = pytest.mark.waits
EVERY = pytest.mark.parametrize("kind", RECORD_TYPES, ids=tag)


@EVERY
def test_every_field_is_a_column(kind: type[Record]) -> None:
    assert [column.name for column in columns(kind)] == ["epoch", *(field.name for field in structs.fields(kind))]


@EVERY
def test_what_is_kept_is_every_column_and_the_digits_of_each_number(kind: type[Record]) -> None:
    texts = [f"{column.name}_text" for column in columns(kind) if column.kind == "number"]
    assert [column.name for column in stored(kind)] == [*(c.name for c in columns(kind)), *texts, "misfits"]
    assert not [column for column in stored(kind) if column.kind == "number"]


def test_every_number_is_known_as_one() -> None:
    """A field of digits that nobody has put among `DECIMALS` would be text for ever; this shows those there are."""
    found: dict[str, set[str]] = {}
    for kind in RECORD_TYPES:
        for column in columns(kind):
            found.setdefault(column.kind, set()).add(column.name)
    assert found["number"] == DECIMALS
    assert found["time"] >= TIMES
    assert not {name for name in found["text"] | found["word"] if "price" in name and not name.endswith("kind")}


def test_kinds_are_those_of_the_fields() -> None:
    trade = {column.name: column for column in columns(Trade)}
    assert trade["price"] == Column("price", "number")
    assert trade["quote_size"] == Column("quote_size", "number", is_null=True)
    assert trade["ts_event"] == Column("ts_event", "time", is_null=True)
    assert trade["side"] == Column("side", "word", is_null=True, values=("buy", "sell"))
    assert trade["flags"] == Column("flags", "words")
    assert {column.name: column.kind for column in columns(Gap)}["ts_from"] == "time"


def test_rows_have_names() -> None:
    level = (Column("price", "number"), Column("size", "number"))
    assert {c.name: c.parts for c in columns(BookDelta)}["bids"] == level
    assert {c.name: c.parts for c in columns(OrdersDelta)}["asks"] == (Column("id", "text"), *level)
    told = {c.name: c.parts for c in columns(Consolidated)}
    assert [part.kind for part in told["contributors"]] == ["word", "text", "count", *["number"] * 4]
    kept = next(column for column in stored(BookDelta) if column.name == "bids")
    assert [(part.name, part.kind) for part in kept.parts] == [
        ("price", "measure"),
        ("size", "measure"),
        ("price_text", "text"),
        ("size_text", "text"),
    ]


def test_types_of_a_channel_and_by_name() -> None:
    assert [tag(kind) for kind in types_of("book")] == ["book_snapshot", "book_delta"]
    assert types_of("trade") == types_of("trades") == (Trade,)
    assert types_of("gap") == (Gap,)
    assert types_of("consolidated") == (Consolidated,)
    assert types_of("nothing") == ()


# --- decimals


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("0", True),
        ("0.1234567890123456789", False),
        ("0.1234567890123456780000", True),
        ("12345678901234567890", True),
        ("123456789012345678901", False),
        ("000123456789012345678901", False),
        ("00012345678901234567890.5", True),
        ("-.5", True),
        ("5.", True),
        ("1e5", False),
        ("NaN", False),
        ("", False),
        (".", False),
        ("-", False),
        ("\u0661", False),
    ],
)
def test_what_fits_the_widest_column(text: str, fits: bool) -> None:
    assert WIDE.fits(text) is fits


@given(st.from_regex(r"[+-]?[0-9]{0,25}(\.[0-9]{0,25})?", fullmatch=True), st.integers(1, 38), st.integers(0, 20))
def test_what_fits_is_what_keeps_its_value(text: str, digits: int, fraction: int) -> None:
    if not is_number(text) or fraction > digits:
        return
    with localcontext(prec=100):
        value = Decimal(text)
        is_kept = value.quantize(Decimal(1).scaleb(-fraction), ROUND_DOWN) == value
    assert Decimals(digits, fraction).fits(text) == (is_kept and abs(value) < 10 ** (digits - fraction))


NUMBERS = st.from_regex(r"[+-]?[0-9]{0,4}(\.[0-9]{0,4})?", fullmatch=True) | st.text(
    "01.-+,e\u0661\ud800\n", max_size=4
)


@given(st.lists(NUMBERS, max_size=4), st.integers(1, 6), st.integers(0, 3))
def test_many_numbers_fit_where_each_does(texts: list[str], digits: int, fraction: int) -> None:
    decimals = Decimals(digits, min(digits, fraction))
    assert decimals.fit(texts) == all(map(decimals.fits, texts))


@given(st.lists(NUMBERS, min_size=1, max_size=4), st.integers(1, 9))
def test_what_is_plain_is_digits_with_a_point_between(texts: list[str], longest: int) -> None:
    plain = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
    assert are_plain(texts, longest) == all(plain.fullmatch(text) and len(text) <= longest for text in texts)


def test_the_table_needs_no_library() -> None:
    told = (
        "import sys, aggregator.tables.columns, aggregator.tables.clauses\n"
        "print(sorted({'pyarrow', 'polars', 'pandas', 'duckdb', 'numpy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout == "[]\n"
