import json
from decimal import Decimal
from typing import get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from aggregator.bus.bus import encode_lines
from aggregator.feed.formats import LENGTH_BYTES, PLAIN, Options, encode, encode_message, pieces, schema
from aggregator.feed.protocol import Encoding, Layout, Pong, Time
from aggregator.records import (
    DECIMALS,
    RECORD_TYPES,
    BookDelta,
    Candle,
    Consolidated,
    Gap,
    Health,
    Instrument,
    Lag,
    OrdersDelta,
    Record,
    Trade,
)

# fmt: off
WORDS = {
    "exchange", "symbol", "raw_symbol", "conn", "id", "first_id", "last_id", "interval", "index", "underlying",
    "base", "quote", "settle", "reason", "gap_id", "status", "bye", "bid_exchange", "ask_exchange",
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
    assert (row["ts_event"], row["price"]) == (expected, "0.3500")
    assert "ts_sent" not in row, "what is null is left out, as without options"


def test_a_time_outside_of_the_calendar_stays_a_number() -> None:
    candle = Candle(interval="1m", ts_open=10**30, open="1", high="1", low="1", close="1")
    assert written(candle, Options(time="iso"))["ts_open"] == 10**30


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_prices_of_contributors_are_numbers_too(encoding: Encoding) -> None:
    made = Consolidated(contributors=[("alpha", "live", 12, "1.50", None, "2.5", "3")], absent=[("beta", "down", None)])
    line = encode([made], Options(numbers="float", encoding=encoding))
    if encoding == "json":
        assert b'"contributors":[["alpha","live",12,1.50,null,2.5,3]],"absent":[["beta","down",null]]' in line
    else:
        assert msgspec.msgpack.decode(line[4:])["contributors"] == [["alpha", "live", 12, 1.5, None, 2.5, 3.0]]


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


# --- MessagePack, arrays, fields

PACKED = Options(encoding="msgpack")


def test_messagepack_holds_the_same_records_each_behind_its_length() -> None:
    records = [TRADE, BookDelta(bids=[("1.50", "0")], asks=[]), TRADE]
    found = pieces(encode(records, PACKED), PACKED)
    assert [int.from_bytes(piece[:4], "big") for piece in found] == [len(piece) - 4 for piece in found]
    assert [msgspec.msgpack.decode(piece[4:]) for piece in found] == [
        msgspec.json.decode(msgspec.json.encode(record)) for record in records
    ]


@pytest.mark.parametrize("layout", ["object", "array"])
def test_an_integer_that_messagepack_has_none_for_is_text(layout: Layout) -> None:
    trade = Trade(price="1", size="1", sequence=10**30)
    (piece,) = pieces(encode([trade], Options(encoding="msgpack", layout=layout)), PACKED)
    said = msgspec.msgpack.decode(piece[4:])
    assert str(10**30) in (said if layout == "array" else said.values())


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@pytest.mark.parametrize("fields", [(), ("price", "offset", "bids")])
def test_an_array_holds_the_fields_in_the_order_of_the_schema(encoding: Encoding, fields: tuple[str, ...]) -> None:
    options = Options(encoding=encoding, layout="array", fields=fields)
    orders = schema(fields).types
    for record in (TRADE, BookDelta(bids=[("1.50", "0")], asks=[])):
        (piece,) = pieces(encode([record], options), options)
        values = msgspec.json.decode(piece) if encoding == "json" else msgspec.msgpack.decode(piece[4:])
        said = msgspec.json.decode(msgspec.json.encode(record))
        assert dict(zip(orders[said["type"]], values, strict=True)) == {
            name: said.get(name) for name in orders[said["type"]]
        }
    if fields:
        assert orders["trade"] == ["type", "offset", "price"]


def test_only_the_fields_that_are_wanted_and_the_type() -> None:
    assert written(TRADE, Options(fields=("price", "side", "bids"))) == {"type": "trade", "price": "0.3500"}


@pytest.mark.parametrize(
    "record",
    [
        Lag(missed=3, offset_from=5, offset_to=9, offset=9),
        Gap(gap_id="1", phase="open", cause="sequence", ts_from=1, exchange="alpha", symbol="A/B"),
        Health(channel="book", state="suspect", exchange="alpha", symbol="A/B"),
    ],
)
def test_a_hole_is_told_in_full_whatever_fields_are_wanted(record: Record) -> None:
    chosen = ("price", "size")
    assert written(record, Options(fields=chosen)) == written(record, PLAIN)
    values = json.loads(encode([record], Options(fields=chosen, layout="array")))
    named = dict(zip(schema(chosen).types[values[0]], values, strict=True))
    assert {name: value for name, value in named.items() if value is not None} == {
        name: value for name, value in written(record, PLAIN).items() if value is not None
    }


def test_numbers_of_messagepack_are_the_nearest() -> None:
    options = Options(encoding="msgpack", numbers="float")
    (piece,) = pieces(encode([TRADE], options), options)
    assert msgspec.msgpack.decode(piece[4:])["price"] == 0.35


def test_the_numbers_of_orders_have_their_ids_before_them() -> None:
    orders = OrdersDelta(exchange="alpha", bids=[("12", "1.50", "2")], asks=[])
    assert written(orders, Options(numbers="float"))["bids"] == [["12", Decimal("1.50"), 2]]


def test_an_answer_gives_back_whatever_number_it_was_asked_by() -> None:
    """MessagePack has none of more than 64 bits: such a one is text there, and the connection lives."""
    options = Options(encoding="msgpack")
    data = encode_message(Pong(2**70), options)
    assert msgspec.msgpack.decode(data[LENGTH_BYTES:]) == {"type": "pong", "id": str(2**70)}
    assert msgspec.msgpack.decode(encode_message(Pong(7), options)[LENGTH_BYTES:]) == {"type": "pong", "id": 7}
