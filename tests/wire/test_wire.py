import contextlib
import gzip
import subprocess
import sys
import zlib
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import Decoder

from aggregator import wire
from aggregator.errors import BadFrame, Bomb
from aggregator.exchange import Subscription
from aggregator.records import Bbo, Trade
from aggregator.wire import inflating, numbers
from aggregator.wire.frames import MOST_ROWS
from aggregator.wire.prices import summed


def short(value: object) -> str | None:
    """What a case of a large value is called."""
    return f"{value[:8]!a}..." if isinstance(value, str) and len(value) > 80 else None


DIGITS = st.text("0123456789", min_size=1, max_size=60)
SIGNS = st.sampled_from(["", "-"])
SECOND = 1_000_000_000
NOON = 1_714_564_800 * SECOND  # 2024-05-01T12:00:00Z
LONGEST = numbers.LONGEST_NUMBER

decode = msgspec.json.Decoder(list[Any], float_hook=wire.number).decode


@st.composite
def plain(draw: st.DrawFn) -> str:
    """A decimal number as exchanges write it: with leading and trailing zeros, with and without a point."""
    fraction = draw(st.none() | DIGITS)
    return draw(SIGNS) + draw(DIGITS) + ("" if fraction is None else f".{fraction}")


@st.composite
def scientific(draw: st.DrawFn, largest: int = LONGEST) -> str:
    exponent = draw(st.integers(-largest, largest))
    sign = "+" if exponent >= 0 and draw(st.booleans()) else ""
    return f"{draw(plain())}{draw(st.sampled_from('eE'))}{sign}{exponent}"


# --- number


@given(plain())
def test_digits_without_an_exponent_stay_as_they_are(digits: str) -> None:
    assert wire.number(digits) is digits


@given(scientific())
def test_an_expanded_number_has_the_same_value_and_no_exponent(digits: str) -> None:
    written = wire.number(digits)
    assert Decimal(written) == Decimal(digits)
    assert Decimal(written).is_signed() == Decimal(digits).is_signed()
    assert set(written) <= set("-.0123456789")


@given(scientific())
def test_an_expanded_number_keeps_every_digit_that_was_sent(digits: str) -> None:
    """Trailing zeros behind the point are precision: `1.50e-2` is not the text `0.015`."""
    sent = Decimal(digits).as_tuple()
    assert Decimal(wire.number(digits)).as_tuple().exponent == min(sent.exponent, 0)


@given(scientific())
def test_expanding_twice_changes_nothing(digits: str) -> None:
    assert wire.number(wire.number(digits)) == wire.number(digits)


@pytest.mark.parametrize(
    ("digits", "written"),
    [
        ("3.426e-5", "0.00003426"),
        ("1E-8", "0.00000001"),
        ("-1e-8", "-0.00000001"),
        ("1.5e3", "1500"),
        ("1.5e+3", "1500"),
        ("1.50e1", "15.0"),
        ("1.2345e2", "123.45"),
        ("12.5e-1", "1.25"),
        ("12.5e-2", "0.125"),
        ("12.5e-3", "0.0125"),
        ("0e0", "0"),
        ("0e-8", "0.00000000"),
        ("0.0e5", "0"),
        ("-0e3", "-0"),
        ("007e0", "7"),
        ("0.5e1", "5"),
        ("0.05e1", "0.5"),
        ("0.1234e2", "12.34"),
        ("5.e2", "500"),
        (".5e2", "50"),
        ("1e-007", "0.0000001"),
        (f"1e{LONGEST}", "1" + "0" * LONGEST),
        (f"1e-{LONGEST}", f"0.{'0' * (LONGEST - 1)}1"),
    ],
    ids=short,
)
def test_numbers_are_written_out(digits: str, written: str) -> None:
    assert wire.number(digits) == written


@pytest.mark.parametrize(
    "digits",
    [
        "e",
        "E",
        "e5",
        "-e5",
        ".e5",
        "-.e5",
        "1e",
        "1e+",
        "1e-",
        "1e5e3",
        "1e1.5",
        "1e--1",
        "1.2.3e4",
        "0x1e5",
        "1-2e3",
        "1,5e3",
        " 1e5",
        "1_0e5",
        "true",
        "false",
        "one",
        "ETH",
        "\x00e1",
        "\u00b2e5",  # a digit, yet no decimal
        f"1e{LONGEST + 1}",
        f"1e-{LONGEST + 1}",
        "1e999999999",
        "-1E-999999999",
        "1e" + "9" * 100_000,
        "e" * 100_000,
        "x" * 100_000 + "e1",
    ],
    ids=short,
)
def test_an_exponent_of_no_number_is_a_bad_frame(digits: str) -> None:
    with pytest.raises(BadFrame) as raised:
        wire.number(digits)
    assert len(str(raised.value)) < 300  # a log line, however long the frame was


@pytest.mark.parametrize(
    "digits",
    ["", "Infinity", "-Infinity", "NaN", "--1", "1.2.3", "null", "\u0661\u0662", " 1", "9" * 100_000],
    ids=short,
)
def test_text_without_an_exponent_is_not_looked_at(digits: str) -> None:
    """It comes from JSON's own numbers, or is checked by who reckons with it: a book its prices, a time its digits."""
    assert wire.number(digits) is digits


@pytest.mark.parametrize("digits", ["--1e5", "+-1e2", "-+1e2", "1e 5", "1e5 ", "1e1_0", "1e\u0663", "\u0661e2"])
def test_an_exponent_among_other_than_digits_is_a_bad_frame(digits: str) -> None:
    with pytest.raises(BadFrame):
        wire.number(digits)


@given(st.text(max_size=20) | st.text("0123456789eE+-._ \u0663", max_size=20))
def test_any_text_gives_a_number_or_a_bad_frame(digits: str) -> None:
    try:
        written = wire.number(digits)
    except BadFrame:
        return
    assert "e" not in written
    assert "E" not in written


@given(scientific(100))
def test_a_float_of_json_never_passes_through_a_float(digits: str) -> None:
    sent = f"{Decimal(digits):e}"
    assert Decimal(decode(b"[%b]" % sent.encode())[0]) == Decimal(digits)


def test_a_number_of_json_that_is_too_large_is_a_bad_frame() -> None:
    with pytest.raises(BadFrame):
        decode(b"[1e400]")


# --- text, optional, levels


@pytest.mark.parametrize(
    ("value", "written"),
    [("1.50", "1.50"), ("1e-3", "0.001"), (7, "7"), (0, "0"), (-3, "-3"), (10**40, "1" + "0" * 40)],
)
def test_text_is_the_digits_of_strings_and_integers(value: str | int, written: str) -> None:
    assert wire.text(value) == written


@pytest.mark.parametrize("value", [None, True, False, 1.5, float("nan"), [], ["1"], {}, {"a": 1}, b"1", Decimal(1)])
def test_text_of_anything_else_is_a_bad_frame(value: object) -> None:
    with pytest.raises(BadFrame, match="expected a number"):
        wire.text(value)


@pytest.mark.parametrize("value", ["-0.5", "+5", ".5", "5.", "007", "9" * 400, "0.0"])
def test_text_of_a_number_is_the_number_however_it_is_spelled(value: str) -> None:
    assert wire.text(value) == wire.optional(value) == value
    assert wire.levels([[value, value]]) == [(value, value)]


@pytest.mark.parametrize(
    "value", ["abc", "1,234.5", "NaN", "inf", "1.2.3", ".", "-", "null", "1_0", "\u0661", "\ud800", "{}"]
)
def test_text_that_is_no_number_is_a_bad_frame(value: str) -> None:
    for read in (
        wire.text,
        wire.optional,
        wire.nonzero,
        lambda word: wire.bbo("A", word, "1", "1", "1"),
        lambda word: wire.bbo("A", "1", "1", word, "1"),
        lambda word: wire.levels([["1", word]]),
        lambda word: wire.levels([[word, 2]]),
    ):
        with pytest.raises(BadFrame, match="is not a number"):
            read(value)


@pytest.mark.parametrize("row", [["", "1"], ["1", ""], ["1,2", "3"], ["1],[2", "3"]])
def test_no_row_of_a_book_is_empty_or_holds_more_numbers_than_two(row: list[str]) -> None:
    for rows in ([row], [["1", "2"], row]):
        with pytest.raises(BadFrame, match="is not a number"):
            wire.levels(rows)


def test_a_large_value_is_not_repeated_in_the_error() -> None:
    with pytest.raises(BadFrame) as raised:
        wire.text(["1" * 1000] * 1000)
    assert len(str(raised.value)) < 100


@given(st.integers())
def test_text_of_an_integer_is_the_integer(value: int) -> None:
    assert int(wire.text(value)) == value


@pytest.mark.parametrize("value", [None, ""])
def test_optional_of_nothing_is_none(value: str | None) -> None:
    assert wire.optional(value) is None


@pytest.mark.parametrize(("value", "written"), [("0", "0"), (0, "0"), ("1e2", "100"), ("0.0", "0.0")])
def test_optional_of_zero_is_zero(value: str | int, written: str) -> None:
    assert wire.optional(value) == written


@pytest.mark.parametrize("value", [False, True, [], {}, 0.0])
def test_optional_of_no_number_is_a_bad_frame(value: object) -> None:
    with pytest.raises(BadFrame):
        wire.optional(value)


@pytest.mark.parametrize(
    ("price", "size", "side"),
    [
        ("67.10", "2", ("67.10", "2")),
        (67, "1e-3", ("67", "0.001")),
        ("67.10", "", ("67.10", None)),
        ("67.10", "0", ("67.10", "0")),
        (None, "2", (None, None)),
        ("", "2", (None, None)),
        ("0.000", "2", (None, None)),
        (0, 0, (None, None)),
    ],
)
def test_a_best_price_of_nothing_is_an_empty_side(price: wire.Text, size: wire.Text, side: object) -> None:
    assert wire.best(price, size) == side


@pytest.mark.parametrize(
    ("value", "price"),
    [("67.10", "67.10"), (67, "67"), ("1e-7", "0.0000001"), ("-0.5", "-0.5"), ("100", "100"), ("0.10", "0.10")]
    + [(small, small) for small in ("0.0000000001", f"0.{'0' * 400}1", "00.10")]
    + [(nothing, None) for nothing in (None, "", "0", "0.0", "0.00000000", 0, "0e-8", "00.0")],
)
def test_a_price_of_zero_is_none(value: wire.Text, price: str | None) -> None:
    assert wire.nonzero(value) == price


@pytest.mark.parametrize(
    ("decimals", "step"),
    [
        (3, "0.001"),
        ("3", "0.001"),
        (1, "0.1"),
        (0, "1"),
        ("0", "1"),
        ("-0", "1"),
        (-1, "10"),
        ("-3", "1000"),
        (-6, "1000000"),
        (18, "0.000000000000000001"),
        (None, None),
    ],
)
def test_a_step_of_so_many_decimals_may_be_above_one(decimals: wire.Text, step: str | None) -> None:
    assert wire.step(decimals) == step


@pytest.mark.parametrize(
    ("number", "places", "text"),
    [(0, 8, "0"), (1, 8, "0.00000001"), (-123400, 4, "-12.34"), (5 * 10**8, 8, "5"), (100, 2, "1"), (12, 4, "0.0012")],
)
def test_a_scaled_integer_has_no_digits_that_only_its_scale_gives(number: int, places: int, text: str) -> None:
    assert wire.unscaled(number, places) == text


@pytest.mark.parametrize("decimals", ["", "x", "1.5", "--3", "9999", True, []])
def test_a_step_of_no_number_of_decimals_is_a_bad_frame(decimals: object) -> None:
    with pytest.raises(BadFrame):
        wire.step(decimals)


@pytest.mark.parametrize("digits", ["0.10", "1e-7", "-12.500", "67123.4700"])
def test_a_number_keeps_its_digits_as_written(digits: str) -> None:
    (found,) = Decoder(list[wire.Text], float_hook=wire.as_written).decode(f"[{digits}]")
    assert found == digits


def test_levels_take_the_first_two_of_each_row() -> None:
    assert wire.levels([["1", "2"], [3, "4e-1", 5, None], ["6", 0, {}]]) == [("1", "2"), ("3", "0.4"), ("6", "0")]
    assert wire.levels([]) == []


@pytest.mark.parametrize("row", [["1", None], [None, "1"], [["1"], "2"], ["1", True]])
def test_levels_of_no_numbers_are_a_bad_frame(row: list[object]) -> None:
    with pytest.raises(BadFrame):
        wire.levels([["1", "1"], row])


# --- times

UNITS = [(wire.seconds, 9), (wire.ms, 6), (wire.us, 3)]


@given(st.sampled_from(UNITS), st.integers(-(10**20), 10**20))
def test_a_whole_time_is_exact_as_number_and_as_text(unit: Any, value: int) -> None:
    read, places = unit
    assert read(value) == read(str(value)) == value * 10**places


@given(st.sampled_from(UNITS), plain() | scientific(20))
def test_a_time_is_cut_off_below_a_nanosecond(unit: Any, value: str) -> None:
    read, places = unit
    assert read(value) == int(Fraction(wire.number(value)) * 10**places)


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        ("1714564800", NOON),
        ("1714564800.5", NOON + 500_000_000),
        ("1714564800.123456789", NOON + 123_456_789),
        ("1714564800.1234567899", NOON + 123_456_789),
        ("1.7145648e9", NOON),
        ("-0.5", -500_000_000),
        ("0", 0),
    ],
)
def test_seconds_as_exchanges_write_them(value: str, ns: int) -> None:
    assert wire.seconds(value) == ns


@pytest.mark.parametrize(
    "value", ["x", "1.x", "NaN", "Infinity", "--1", "1e999", "1 2", "1,5", "9" * 100_000, "None"], ids=short
)
@pytest.mark.parametrize("read", [wire.seconds, wire.ms, wire.us])
def test_a_time_that_is_no_number_is_a_bad_frame(read: Any, value: str) -> None:
    with pytest.raises(BadFrame):
        read(value)


@pytest.mark.parametrize("value", [1.5, 1e9, float("nan"), float("inf")])
def test_a_time_as_a_float_is_a_bad_frame(value: float) -> None:
    with pytest.raises(BadFrame, match="float_hook"):
        wire.seconds(value)


@pytest.mark.parametrize("value", ["", ".", "-", "+", "1.123456789abc", "1_0", " 1"])
def test_a_time_without_digits_is_a_bad_frame(value: str) -> None:
    with pytest.raises(BadFrame):
        wire.seconds(value)


# --- ISO times


@pytest.mark.parametrize(
    ("stamp", "ns"),
    [
        ("2024-05-01T12:00:00Z", NOON),
        ("2024-05-01T12:00:00", NOON),
        ("2024-05-01 12:00:00", NOON),
        ("2024-05-01T12:00Z", NOON),
        ("2024-05-01T12:00:00.5Z", NOON + 500_000_000),
        ("2024-05-01T12:00:00.5", NOON + 500_000_000),
        ("2024-05-01T12:00:00.123456789Z", NOON + 123_456_789),
        ("2024-05-01T12:00:00.1234567899Z", NOON + 123_456_789),
        ("2024-05-01T12:00:00.000000001", NOON + 1),
        ("2024-05-01T12:00:00+00:00", NOON),
        ("2024-05-01T20:00:00+08:00", NOON),
        ("2024-05-01T17:30:00.25+05:30", NOON + 250_000_000),
        ("2024-05-01T08:30:00-03:30", NOON),
        ("2024-05-02T01:00:00+13:00", NOON),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.75Z", -250_000_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * SECOND),
        ("2016-12-31T23:59:60Z", 1_483_228_800 * SECOND),  # a leap second
    ],
)
def test_iso_times_as_exchanges_write_them(stamp: str, ns: int) -> None:
    assert wire.from_iso(stamp) == ns


MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001 - its zone is drawn beside it


@given(MOMENTS, st.integers(-14 * 60, 14 * 60), st.sampled_from(["auto", "milliseconds", "microseconds"]))
def test_an_iso_time_of_any_zone_is_exact(moment: datetime, minutes: int, spec: str) -> None:
    local = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    written = local.isoformat(timespec=spec)
    since = datetime.fromisoformat(written) - datetime(1970, 1, 1, tzinfo=UTC)
    assert wire.from_iso(written) == since // timedelta(microseconds=1) * 1000


@given(MOMENTS, st.text("0123456789", min_size=1, max_size=12))
def test_an_iso_time_keeps_nanoseconds(moment: datetime, fraction: str) -> None:
    second = moment.replace(microsecond=0, tzinfo=UTC)
    ns = (second - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * SECOND + int(fraction[:9].ljust(9, "0"))
    stamp = f"{second:%Y-%m-%dT%H:%M:%S}.{fraction}"
    assert wire.from_iso(stamp + "Z") == wire.from_iso(stamp) == ns


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "Z",
        "T",
        ".",
        "2024-05-01",
        "2024-05-01T",
        "2024-05-01T12",
        "2024-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-05-01Txx:00:00Z",
        "2024-05-01T12:00:00.xZ",
        "2024-05-01T12:00:00.1.2Z",
        "2024-05-01T12:00:00+xx:00",
        "1714564800",
        "\u0662" * 19,
        "0" * 100_000,
        "\x00" * 20,
    ],
    ids=short,
)
def test_what_is_no_iso_time_is_a_bad_frame(stamp: str) -> None:
    with pytest.raises(BadFrame) as raised:
        wire.from_iso(stamp)
    assert len(str(raised.value)) < 300


@given(st.text(max_size=30) | st.text("0123456789-:.TZ+ ", max_size=30))
def test_any_text_gives_a_time_or_a_bad_frame(stamp: str) -> None:
    with contextlib.suppress(BadFrame):
        assert type(wire.from_iso(stamp)) is int


@pytest.mark.parametrize(
    "stamp",
    [
        "2024-05-01T20:00:00+0800",  # read as 20:00 UTC
        "2024-05-01T20:00:00+08",
        "2024-05-01T12:00:00 PM",
        "2024-05-01T25:00:00Z",
        "2024-05-01T12:61:00Z",
        "2024-05-01T12x00x00Z",
        "2024-05-01T-1:00:00Z",
        "2024-05-01T12:00:00.-5Z",
    ],
)
def test_an_iso_time_is_read_to_its_end(stamp: str) -> None:
    try:
        ns = wire.from_iso(stamp)
    except BadFrame:
        return
    assert (stamp[19], ns) == ("+", NOON)  # an offset is refused, or heeded


# --- compressed frames

PLAIN = b'{"price":"1"}'


@given(st.binary(max_size=2000))
def test_what_was_deflated_comes_back(body: bytes) -> None:
    assert wire.gunzip(gzip.compress(body, 1)) == body
    assert wire.unzlib(zlib.compress(body)) == body


@pytest.mark.parametrize("inflate", [wire.gunzip, wire.unzlib])
@pytest.mark.parametrize("frame", [PLAIN, b"[]", b"{"])
def test_json_as_it_is_passes_through(inflate: Any, frame: bytes) -> None:
    assert inflate(frame) is frame


@pytest.mark.parametrize(
    "frame", [b"", b"pong", b"\x1f\x8b", b"\x1f\x8b\x08" + b"\xff" * 40, gzip.compress(PLAIN, mtime=0)[:-9]]
)
@pytest.mark.parametrize("inflate", [wire.gunzip, wire.unzlib])
def test_a_frame_that_cannot_be_inflated_is_a_bad_frame(inflate: Any, frame: bytes) -> None:
    with pytest.raises(BadFrame, match=f"a frame of {len(frame)} bytes"):
        inflate(frame)


def test_a_frame_with_a_wrong_checksum_is_a_bad_frame() -> None:
    frame = bytearray(gzip.compress(PLAIN))
    frame[-8] ^= 1
    with pytest.raises(BadFrame):
        wire.gunzip(bytes(frame))


def test_a_bomb_is_a_bad_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflating, "LARGEST_INFLATED_BYTES", 1000)
    assert wire.gunzip(gzip.compress(b" " * 999)) == b" " * 999
    with pytest.raises(Bomb, match="a frame of 1004 bytes inflates to more than 1000"):
        wire.gunzip(gzip.compress(b" " * 1_000_000))


def test_so_is_one_that_unpacks_to_very_many_values() -> None:
    rows = b"[%s]" % b",".join([b'["1","2"]'] * MOST_ROWS)
    with pytest.raises(Bomb, match="holds more than 400000 values"):
        wire.gunzip(gzip.compress(rows))


@given(st.binary(max_size=100))
def test_any_bytes_are_inflated_or_a_bad_frame(frame: bytes) -> None:
    for inflate in (wire.gunzip, wire.unzlib):
        with contextlib.suppress(BadFrame):
            assert isinstance(inflate(frame), bytes)


# --- either


class Many(msgspec.Struct):
    price: str


class Few(msgspec.Struct):
    error: str


both = wire.either(msgspec.json.Decoder(Many).decode, msgspec.json.Decoder(Few).decode)


def test_either_reads_both_shapes() -> None:
    assert both(PLAIN) == Many("1")
    assert both(b'{"error":"no"}') == Few("no")


def test_either_raises_what_the_second_raises() -> None:
    with pytest.raises(msgspec.ValidationError, match="error"):
        both(b'{"neither":1}')


@pytest.mark.parametrize("frame", [b"", b"{", b"pong", b"\xff"])
def test_either_raises_for_no_json(frame: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        both(frame)


class Leaf(msgspec.Struct):
    name: Annotated[str, 1]
    count: Annotated[int, 2] = 0


class Tree(msgspec.Struct):
    leaf: Annotated[Leaf | None, 301] = None
    leaves: Annotated[list[Leaf], 15] = []
    count: Annotated[int, 16] = 0


read_leaf, read_tree = wire.protobuf(Leaf), wire.protobuf(Tree)


def varint(value: int) -> bytes:
    value %= 2**64
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def written(*fields: tuple[int, int | str | bytes]) -> bytes:
    """A protobuf message: integers as such, text and messages with their length."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            part = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(part)) + part
    return out


@given(st.text(max_size=300), st.integers(-(2**63), 2**63 - 1))
def test_a_protobuf_message_is_read_as_it_was_written(name: str, count: int) -> None:
    assert read_leaf(written((1, name), (2, count))) == Leaf(name, count)


def test_protobuf_messages_hold_messages_and_lists_of_them() -> None:
    one, two = written((1, "one"), (2, 1)), written((2, 200), (1, "two"))
    whole = read_tree(written((15, one), (301, two), (15, two), (16, 300)))
    assert whole == Tree(Leaf("two", 200), [Leaf("one", 1), Leaf("two", 200)], 300)
    assert read_tree(b"") == Tree(None, [], 0)


def test_protobuf_fields_of_no_known_number_or_of_another_kind_are_passed_over() -> None:
    eight, four = varint(9 << 3 | 1) + bytes(8), varint(10 << 3 | 5) + bytes(4)
    frame = eight + written((1, "a"), (7, "new"), (8, 5), (1000, b"x" * 200)) + four
    assert read_leaf(frame) == Leaf("a", 0)
    assert read_leaf(written((1, "a"), (2, "text"))) == Leaf("a", 0)


@pytest.mark.parametrize(
    "frame",
    [
        b"",  # without the name, which has no default
        written((2, 5)),
        written((1, "name"))[:-1],
        written((1, b"\xff\xfe")),
        b"\x0a",
        b"\x0a\xff",
        b"\x10" + b"\xff" * 11,  # a number of eleven bytes
        b"\x0b",  # a group, which nobody writes any more
        written((1, "a")) + varint(9 << 3 | 1) + bytes(7),
    ],
)
def test_what_is_no_such_protobuf_message_is_refused(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        read_leaf(frame)


def test_a_protobuf_message_ends_where_it_says() -> None:
    inner = written((1, "one"))
    cut = varint(301 << 3 | 2) + varint(len(inner) - 1) + inner
    with pytest.raises(BadFrame):
        read_tree(cut)
    number_cut = varint(301 << 3 | 2) + varint(6) + written((1, "on")) + b"\x10\x80\x01"
    with pytest.raises(BadFrame):
        read_tree(number_cut)


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader_of_protobuf(frame: bytes) -> None:
    with contextlib.suppress(BadFrame):
        assert isinstance(read_tree(frame), Tree)


# --- signed


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("0.4", ("buy", "0.4")),
        ("-0.4", ("sell", "0.4")),
        ("-12", ("sell", "12")),
        ("0", (None, "0")),
        ("-0.00", (None, "0.00")),
    ],
)
def test_the_sign_of_an_amount_is_its_side_and_one_of_zero_has_none(amount: str, said: tuple[str | None, str]) -> None:
    assert wire.signed(amount) == said


# --- rows, words and records that many exchanges have alike


def test_rows_are_found_where_the_answer_has_them() -> None:
    assert wire.at("data")(b'{"code":0,"data":[{"a":1},2]}') == [msgspec.Raw(b'{"a":1}'), msgspec.Raw(b"2")]
    assert wire.at("result", "list")(b'{"result":{"list":[3]}}') == [msgspec.Raw(b"3")]
    assert wire.at("err-rows")(b'{"err-rows":[]}') == []


@pytest.mark.parametrize("body", [b"{}", b'{"data":null}', b'{"data":{}}', b"[]", b"", b'{"result":[]}'])
def test_an_answer_without_its_rows_is_an_error(body: bytes) -> None:
    for path in (("data",), ("result", "data")):
        with pytest.raises(msgspec.DecodeError):
            wire.at(*path)(body)


class Ping(msgspec.Struct):
    ch: str
    ping: int


def test_a_reader_is_found_by_the_word_behind_a_mark() -> None:
    ping = Decoder(Ping).decode
    parse = wire.by_word(b'"ch":"', {"ping": lambda frame: ping(frame).ping, "pong": len}, lambda _: -1)
    assert parse(b'{"ch":"ping","ping":7}') == 7
    assert parse(b'{"ch":"pong"}') == 13
    assert [parse(frame) for frame in (b'{"ch":"ping"}', b'{"ch":"other"}', b"pong", b"", b'{"ch":"ping')] == [-1] * 5


def test_a_reader_may_find_a_frame_unreadable() -> None:
    def unreadable(_: bytes) -> int:
        raise BadFrame("no")

    with pytest.raises(BadFrame):
        wire.by_word(b'"ch":"', {"a": unreadable}, len)(b'{"ch":"a"}')


@pytest.mark.parametrize(
    ("interval", "length"),
    [("1s", 1), ("90s", 90), ("1m", 60), ("15m", 900), ("4h", 14_400), ("1d", 86_400), ("2w", 1_209_600)]
    + [(other, None) for other in ("1M", "3M", "1y", "1H", "", "m", "xm", "-1m", "1.5h")],
)
def test_an_interval_has_a_length_unless_it_is_of_months(interval: str, length: int | None) -> None:
    assert wire.interval_s(interval) == length
    assert wire.end_of(interval, NOON) == (None if length is None else NOON + length * SECOND)


def test_the_latest_is_asked_for_by_whole_seconds() -> None:
    assert wire.latest(300)(1_700_000_000 * SECOND + 999_999_999) == "from=1699999700&to=1700000000"


@pytest.mark.parametrize(
    ("theirs", "ours"), [("1m", "1m"), ("4H", "4h"), ("1D", "1d"), ("1W", "1w"), ("1M", "1M"), ("1s", "1s"), ("", "")]
)
def test_units_in_capitals(theirs: str, ours: str) -> None:
    assert wire.lower_unit(theirs) == ours
    assert wire.upper_unit(ours) == theirs


def test_the_best_prices_of_an_empty_side_are_null() -> None:
    assert wire.bbo("X", "1.5", "2", "0.00", "3", ts_event=4, ts_sent=5, sequence=6) == Bbo(
        raw_symbol="X", bid_price="1.5", bid_size="2", ts_event=4, ts_sent=5, sequence=6
    )
    assert wire.bbo("X", None, None, 2, "1e1") == Bbo(raw_symbol="X", ask_price="2", ask_size="10")


def test_what_is_past_is_marked() -> None:
    trades = [Trade(id=id, price="1", size="1", side="buy") for id in "ab"]
    assert [(trade.id, trade.flags) for trade in wire.past(reversed(trades))] == [
        ("b", ("snapshot",)),
        ("a", ("snapshot",)),
    ]


def test_trades_of_a_list_that_is_sent_again_are_those_that_the_one_before_did_not_hold() -> None:
    def told(rows: str, before: str | None) -> list[tuple[str | None, bool]]:
        trades = wire.unseen(rows, before, lambda row: Trade(id=row, price="1", size="1"))
        return [(trade.id, trade.flags == ("snapshot",)) for trade in trades]

    assert told("cba", None) == [("a", True), ("b", True), ("c", True)]
    assert told("dcb", "cba") == [("d", False)]
    assert told("cba", "cba") == []
    assert told("fed", "cba") == [("d", False), ("e", False), ("f", False)]  # the list is shorter than what was missed
    assert told("bba", "ba") == [("b", False)]  # two alike
    assert told("", "cba") == told("", None) == []


def test_trades_of_a_frame_are_put_in_the_order_of_their_times() -> None:
    def ids(*times: tuple[str, int]) -> str:
        trades = (Trade(id=id, price="1", size="1", ts_event=at) for id, at in times)
        return "".join(trade.id or "" for trade in wire.oldest_first(trades))

    assert ids() == ""
    assert ids(("a", 1), ("b", 1), ("c", 2)) == "abc"
    assert ids(("c", 2), ("b", 1), ("a", 1)) == "abc"  # the newest stands first: all are turned
    assert ids(("c", 3), ("a", 1), ("b", 2)) == "abc"  # they stand in no order


def test_changes_have_sides() -> None:
    changes = [("b", "2", "1"), ("s", "3", "0"), ("b", "1", "4")]
    assert wire.sides(changes, "b") == ([("2", "1"), ("1", "4")], [("3", "0")])


def test_symbols_are_grouped_by_the_exchange_s_word_each_once() -> None:
    wanted = [Subscription(channel, name) for name in "AB" for channel in ("ticker", "bbo", "trades")]
    words = {"ticker": "t", "bbo": "t", "trades": "d"}
    assert wire.symbols_by(lambda s: words[s.channel], wanted) == {"t": ["A", "B"], "d": ["A", "B"]}
    assert wire.symbols_by(lambda s: s.channel, []) == {}


def test_a_word_may_carry_several_channels_of_several_tables() -> None:
    assert wire.channels_by_word({"ticker": "t", "bbo": "t"}, {"trades": "d", "bbo": "t", "book": "b"}) == {
        "t": ("ticker", "bbo"),
        "d": ("trades",),
        "b": ("book",),
    }


def test_no_time_needs_a_file_to_be_read() -> None:
    """A process that has no descriptor left can import nothing: frames would be lost for that."""
    code = (
        "import sys, aggregator.wire as wire; before = len(sys.modules); wire.from_iso('2026-11-28T17:00:00Z');"
        "print(len(sys.modules) - before)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert said.stdout == "0\n"


@pytest.mark.parametrize(
    ("percent", "part"), [("45.2", "0.452"), ("-0.01", "-0.0001"), ("5e-05", "0.0000005"), (3, "0.03"), (None, None)]
)
def test_a_percentage_is_made_a_fraction_exactly(percent: wire.Text, part: str | None) -> None:
    assert wire.fraction(percent) == part


def test_a_candle_has_its_prices_in_order_and_ends_with_its_interval() -> None:
    start = 1_760_000_040_000_000_000
    made = wire.candle("BTC-AUD", "1m", start, ("9", 10, "8.50", "9.1e0"), base="0", quote="", trades=2)
    assert (made.raw_symbol, made.interval, made.ts_open, made.ts_close) == ("BTC-AUD", "1m", start, start + 60 * 10**9)
    assert (made.open, made.high, made.low, made.close) == ("9", "10", "8.50", "9.1")
    assert (made.base_volume, made.quote_volume, made.trades) == ("0", None, 2)
    with pytest.raises(BadFrame):
        wire.candle("BTC-AUD", "1m", start, ("9", "10", "8", None))


def test_orders_of_one_price_are_one_level() -> None:
    assert summed([("2", "0.10"), ("1", "0.2"), ("1", "1E-8"), ("1.0", "3")]) == [
        ("2", "0.10"),
        ("1", "0.20000001"),
        ("1.0", "3"),
    ]
    assert summed([]) == []
    long = "12345678901234567890.123456789012345678"
    assert summed([("1", long), ("1", "0.000000000000000001")]) == [("1", f"{long[:-1]}9")]  # not rounded
