import json
from collections.abc import Mapping
from types import NoneType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import NODEFAULT, UNSET, UnsetType
from msgspec.structs import fields

from aggregator.records import (
    CHANNEL_OF,
    CHANNELS,
    DERIVED_OF,
    RECORD_TYPES,
    SCHEMA,
    Absent,
    BookDelta,
    BookSnapshot,
    Contributor,
    Gap,
    Health,
    Lag,
    Liquidation,
    Record,
    Summary,
    Trade,
    Upstream,
    channel_of,
    defaults,
)

ENVELOPE: Final = {
    "exchange": "str",
    "symbol": "str?",
    "raw_symbol": "str?",
    "ts_event": "int?",
    "ts_sent": "int?",
    "ts_recv": "int",
    "offset": "int",
    "sequence": "int?",
    "sequence_first": "int?",
    "sequence_prev": "int?",
    "conn": "str",
    "source": "ws|rest|backfill|derived|replay",
    "upstream": "upstream?",
}
FLAGS: Final = {"snapshot", "backfill", "late", "bad_ts"}
STATES: Final = "trading|pre_open|post_only|reduce_only|cancel_only|halt|settling|maintenance|delisted|unknown"
UNITS: Final = "base|quote|contract"
TOPIC_STATES: Final = "subscribing|syncing|live|quiet|stalled|suspect|down"
CAUSES: Final = (
    "disconnect|no_first_frame|stalled|sequence|checksum|crossed|parse_error|overflow|restart|paused|expired|damaged"
)


def texts(names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), "str?")


# Version 1 as readers know it. A field may be added; none of these may go, be renamed, or change its type.
# `upstream`: [epoch, offset, daemons].
# `?`: may be null. `a|b`: one of these words. `levels`: [[price, size], ...], both text; `orders`: [[id, price, size],
# ...], likewise.
VERSION_1: Final[Mapping[str, tuple[str | None, Mapping[str, str]]]] = {
    "trade": (
        "trades",
        {"price": "str", "size": "str", "side": "buy|sell?", "size_unit": UNITS, "count": "int?"}
        | {"kind": "trade|aggregate|block|rfq|auction|liquidation"}
        | texts("id base_size quote_size first_id last_id"),
    ),
    "book_snapshot": (
        "book",
        {"bids": "levels", "asks": "levels", "depth": "int?", "checksum": "int?"}
        | {"reason": "initial|resync|periodic|request"}
        | texts("bid_floor ask_cap"),
    ),
    "book_delta": ("book", {"bids": "levels", "asks": "levels", "checksum": "int?"}),
    "orders_snapshot": ("orders", {"bids": "orders", "asks": "orders", "reason": "initial|resync|periodic"}),
    "orders_delta": ("orders", {"bids": "orders", "asks": "orders"}),
    "bbo": ("bbo", {"origin": "native|book"} | texts("bid_price bid_size ask_price ask_size")),
    "consolidated": (
        None,
        {"contributors": "contributors", "absent": "absent"}
        | texts("bid_price bid_size bid_exchange ask_price ask_size ask_exchange"),
    ),
    "ticker": (
        "ticker",
        {"trades": "int?", "window_s": "int?"}
        | texts("last open high low base_volume quote_volume contract_volume vwap change"),
    ),
    "candle": (
        "candles",
        {"interval": "str", "ts_open": "int", "ts_close": "int?", "trades": "int?"}
        | {"open": "str", "high": "str", "low": "str", "close": "str"}
        | {"closed": "bool?", "origin": "exchange|computed", "complete": "bool?"}
        | texts("base_volume quote_volume contract_volume"),
    ),
    "funding": (
        "funding",
        {"rate": "str", "kind": "current|predicted|settled", "interval_s": "int?", "ts_next": "int?"},
    ),
    "open_interest": ("open_interest", {"size": "str", "size_unit": UNITS} | texts("base_size quote_value")),
    "liquidation": (
        "liquidations",
        {"side": "buy|sell?", "position": "long|short?", "size": "str", "size_unit": UNITS, "sampled": "bool"}
        | {"price_kind": "order|average|bankruptcy|trade?"}
        | texts("id price base_size quote_size status"),
    ),
    "mark_price": ("mark_price", {"price": "str"}),
    "index_price": ("index_price", {"price": "str"} | texts("index")),
    "option_summary": (
        "options",
        texts("mark_price mark_iv bid_iv ask_iv bid_price bid_size ask_price ask_size delta gamma vega theta rho")
        | texts("underlying_price underlying open_interest"),
    ),
    "instrument": (
        "instruments",
        {"kind": "spot|perpetual|future|option|index", "linear": "bool?", "option_type": "call|put?", "state": STATES}
        | {"expiry": "int?", "ts_listed": "int?", "valid_from": "int?", "change": "new|update|delist"}
        | {"funding_interval_s": "int?", "funding_offset_s": "int?"}
        | texts("index base quote settle contract_size tick_size lot_size min_size max_size min_notional strike"),
    ),
    "status": ("status", {"state": STATES, "origin": "exchange"} | texts("reason")),
    "gap": (
        None,
        {"gap_id": "str", "phase": "open|close", "channel": f"{'|'.join(CHANNELS)}?", "cause": CAUSES}
        | {"ts_from": "int", "ts_to": "int?", "expected": "int?", "got": "int?", "missed": "int?"}
        | {"repair": "none|partial|full|not_needed?", "recovered": "int?"},
    ),
    "health": (
        None,
        {"channel": "|".join(CHANNELS), "state": TOPIC_STATES, "age_ms": "int?", "rate": "float?"} | texts("reason"),
    ),
    "summary": (
        None,
        dict.fromkeys(["ts_from", "frames", "bytes", "records", "unread"], "int")
        | dict.fromkeys(["gaps_opened", "gaps_closed", "refused"], "int")
        | dict.fromkeys(["subscribing", "syncing", "live", "quiet", "stalled", "suspect", "down"], "int")
        | dict.fromkeys(["latency_ms", "latency_max_ms", "clock_offset_ms", "behind_ms"], "float?")
        | {"pause_ms": "float", "first": "int?", "second": "int?"}
        | texts("bye"),
    ),
    "lag": (None, {"missed": "int", "offset_from": "int", "offset_to": "int"}),
}

TYPES: Final = {tag: kind for kind in RECORD_TYPES if isinstance(tag := kind.__struct_config__.tag, str)}
decode: Any = msgspec.json.Decoder(Union[RECORD_TYPES]).decode  # noqa: UP007 - a tuple of types
unpack: Any = msgspec.msgpack.Decoder(Union[RECORD_TYPES]).decode  # noqa: UP007 - likewise


def spoken(type: Any) -> str:
    """A field's type, as `VERSION_1` writes it."""
    if NoneType in get_args(type):
        (part,) = (part for part in get_args(type) if part is not NoneType)
        return f"{spoken(part)}?"
    if get_origin(type) is Literal:
        return "|".join(get_args(type))
    if type == list[tuple[str, str, str]]:
        return "orders"
    if type == Upstream:
        return "upstream"
    if type in {list[Contributor], list[Absent]}:
        return "contributors" if type == list[Contributor] else "absent"
    return "levels" if type == list[tuple[str, str]] else str(type.__name__)


def sketch(kind: type[Record]) -> Record:
    """A record in which only what must be said is said."""
    samples: dict[str, object] = {
        "str": "1",
        "int": 7,
        "float": 1.5,
        "levels": [("1", "2")],
        "orders": [("a", "1", "2")],
        "contributors": [("a", "live", 7, "1", None, "2", "3")],
        "absent": [("b", "down", None)],
    }
    said = {f.name: samples.get(spoken(f.type), spoken(f.type).split("|")[0]) for f in fields(kind) if f.required}
    return msgspec.convert({"type": kind.__struct_config__.tag, **said}, kind)


def values(type: Any) -> st.SearchStrategy[Any]:
    """Whatever a field may hold."""
    if get_origin(type) is list:
        return st.lists(st.tuples(*map(values, get_args(get_args(type)[0]))), max_size=3)
    if type == Upstream:
        return st.tuples(*map(values, get_args(type)))
    if get_origin(type) is tuple:
        return st.lists(values(get_args(type)[0]), max_size=3).map(tuple)
    if get_origin(type) is Literal:
        return st.sampled_from(get_args(type))
    if get_args(type):
        return st.one_of([values(part) for part in get_args(type)])
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(),
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        NoneType: st.none(),
        UnsetType: st.just(UNSET),
    }
    return plain[type]


RECORDS = st.one_of([st.builds(kind, **{f.name: values(f.type) for f in fields(kind)}) for kind in RECORD_TYPES])


# --- the schema


def test_the_schema_is_of_version_1() -> None:
    assert SCHEMA == 1


def test_every_type_of_version_1_is_there_and_no_other() -> None:
    assert TYPES.keys() == VERSION_1.keys()
    assert len(RECORD_TYPES) == len(TYPES)


@pytest.mark.parametrize("tag", VERSION_1)
def test_the_fields_of_version_1_are_as_readers_know_them(tag: str) -> None:
    types = {f.name: spoken(f.type) for f in fields(TYPES[tag]) if f.name != "flags"}
    assert types == {**ENVELOPE, **VERSION_1[tag][1]}


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_every_record_may_carry_the_flags(kind: type[Record]) -> None:
    flags, unset = get_args(get_type_hints(kind)["flags"])
    assert unset is UnsetType
    assert set(get_args(get_args(flags)[0])) == FLAGS


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_no_number_of_the_market_is_a_float(kind: type[Record]) -> None:
    floats = {f.name for f in fields(kind) if float in (f.type, *get_args(f.type))}
    allowed = {Health: {"rate"}, Summary: {n for n in Summary.__struct_fields__ if n.endswith("_ms")}}
    assert floats == allowed.get(kind, set())


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_what_may_be_null_is_null_until_it_is_said(kind: type[Record]) -> None:
    """Never 0, never a copy of another field."""
    nullable = [f for f in fields(kind) if NoneType in get_args(f.type)]
    assert nullable
    assert [f.name for f in nullable if f.default not in (None, NODEFAULT)] == ["symbol"]  # until it is stamped


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_no_field_is_shared_between_records(kind: type[Record]) -> None:
    assert not any(isinstance(value, list | dict | set) for value in defaults(kind).values())


# --- channels


def test_channel_of_covers_every_type_that_is_subscribed_to() -> None:
    always = {Gap, Health, Summary, Lag}
    assert set(CHANNEL_OF) == set(RECORD_TYPES) - always - set(DERIVED_OF)
    assert not set(DERIVED_OF.values()) & set(CHANNELS)
    assert set(CHANNEL_OF.values()) == set(CHANNELS)
    assert len(set(CHANNELS)) == len(CHANNELS)


@pytest.mark.parametrize("tag", [tag for tag in VERSION_1 if tag != "health"])
def test_a_record_goes_to_its_channel(tag: str) -> None:
    assert channel_of(sketch(TYPES[tag])) == VERSION_1[tag][0]


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_gap_or_health_goes_to_the_channel_that_it_is_about(channel: Any) -> None:
    assert channel_of(msgspec.structs.replace(sketch(Gap), channel=channel)) == channel
    assert channel_of(msgspec.structs.replace(sketch(Health), channel=channel)) == channel
    assert channel_of(msgspec.structs.replace(sketch(Gap), channel=None)) is None


def test_what_is_no_type_of_record_has_no_channel() -> None:
    assert channel_of(Record()) is None


# --- on the wire


@given(RECORDS)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_every_record_comes_back_from_json_and_messagepack(record: Record) -> None:
    line = msgspec.json.encode(record)
    assert b"\n" not in line
    for back in (decode(line), unpack(msgspec.msgpack.encode(record))):
        assert type(back) is type(record)
        assert back == record


@pytest.mark.parametrize("tag", VERSION_1)
def test_a_line_is_one_flat_object_that_leaves_out_what_is_null_and_nothing_else(tag: str) -> None:
    record = sketch(TYPES[tag])
    record.exchange, record.conn, record.ts_recv, record.offset = "toy", "toy/main.1#1", 1, 2  # as every one is stamped
    record.symbol, record.source = None, "ws"
    said = json.loads(msgspec.json.encode(record))
    assert said["type"] == tag
    assert next(iter(said)) == "type"
    names = {"symbol", "raw_symbol"} | ({"channel"} if tag == "gap" else set())  # of a topic
    fields = {name for name in (*ENVELOPE, *VERSION_1[tag][1]) if getattr(record, name) is not None}
    assert said.keys() == {"type", *fields, *names}
    assert {name for name, value in said.items() if value is None} <= names
    assert not any(isinstance(value, dict) for value in said.values())
    assert decode(msgspec.json.encode(record)) == record


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_a_default_that_means_something_is_written(kind: type[Record]) -> None:
    """A size without its unit would be read as whatever the reader is used to."""
    meaningful = {name: value for name, value in defaults(kind).items() if value not in (None, "", UNSET)}
    stamped = {"ts_recv", "offset"}
    said = json.loads(msgspec.json.encode(sketch(kind)))
    assert meaningful.keys() - stamped <= said.keys()


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_flags_are_left_out_when_there_are_none(kind: type[Record]) -> None:
    record = sketch(kind)
    assert record.flags is UNSET
    assert "flags" not in json.loads(msgspec.json.encode(record))
    record.flags = ("snapshot", "late")
    assert json.loads(msgspec.json.encode(record))["flags"] == ["snapshot", "late"]


def test_levels_are_pairs_of_text() -> None:
    delta = BookDelta(bids=[("1.00", "0")], asks=[("0.00003426", "2"), ("3", "4")])
    said = json.loads(msgspec.json.encode(delta))
    assert (said["bids"], said["asks"]) == ([["1.00", "0"]], [["0.00003426", "2"], ["3", "4"]])


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_a_reader_passes_over_fields_that_it_does_not_know(kind: type[Record]) -> None:
    record = sketch(kind)
    said = json.loads(msgspec.json.encode(record)) | {"from_a_later_version": [1, {"a": None}]}
    assert decode(json.dumps(said).encode()) == record


def test_a_reader_fills_in_what_an_older_writer_did_not_say() -> None:
    assert decode(b'{"type":"trade","price":"1","size":"2"}') == Trade(price="1", size="2")


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_what_must_be_said_must_be_said(kind: type[Record]) -> None:
    said = json.loads(msgspec.json.encode(sketch(kind)))
    for name in [f.name for f in fields(kind) if f.required]:
        with pytest.raises(msgspec.ValidationError, match=name):
            decode(json.dumps({key: value for key, value in said.items() if key != name}).encode())


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"trade","price":1.5,"size":"1"}',
        b'{"type":"trade","price":"1","size":1}',
        b'{"type":"trade","price":null,"size":"1"}',
        b'{"type":"trade","price":"1","size":"1","side":"BUY"}',
        b'{"type":"trade","price":"1","size":"1","ts_event":"1"}',
        b'{"type":"trade","price":"1","size":"1","ts_event":1.5}',
        b'{"type":"trade","price":"1","size":"1","flags":["odd"]}',
        b'{"type":"book_delta","bids":[["1"]],"asks":[]}',
        b'{"type":"book_delta","bids":[["1","2","3"]],"asks":[]}',
        b'{"type":"book_delta","bids":null,"asks":[]}',
        b'{"type":"nosuch"}',
        b'{"price":"1","size":"1"}',
        b"[]",
    ],
)
def test_a_line_that_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(line)


def test_what_a_record_says_of_itself_until_told_otherwise() -> None:
    """A default must be true of most exchanges: these are."""
    trade, snapshot = Trade(price="1", size="1"), BookSnapshot(bids=[], asks=[])
    assert (trade.kind, trade.size_unit, trade.side) == ("trade", "base", None)
    assert (snapshot.reason, snapshot.depth) == ("initial", None)
    assert Liquidation(size="1").sampled is False
