"""Drift: what is told of frames that are not as they always were, and what is not."""

import json
from typing import Any

import msgspec
import pytest

from aggregator.ingest import drift
from aggregator.ingest.drift import LARGEST_BYTES, LEARN_NS, MISSING, MOST_FINDINGS, MOST_KINDS, SEEN, Drift, Normal

LATER = 1 + LEARN_NS


def frame(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def trade(**changes: Any) -> bytes:
    row = {"px": "5", "sz": "1", "side": "buy"} | changes
    return frame(arg={"channel": "trades", "instId": "BTC-USDT"}, data=[{k: v for k, v in row.items() if v != ""}])


def learnt() -> Drift:
    """Know trades, and an answer, for as long as that takes."""
    found = Drift(is_market={"BTCUSDT", "ETHUSDT"}.__contains__)
    for _ in range(SEEN):
        found.see(trade(), 1, channels=["trades"])
    found.see(frame(event="subscribe", arg={"channel": "trades", "instId": "BTC-USDT"}), 1)
    return found


def told(found: Drift) -> list[tuple[str, str, str | None]]:
    return [(each.what, each.kind, each.field) for each in found.findings.values()]


def test_a_field_that_has_another_name_is_told_by_both() -> None:
    found = learnt()
    for at in range(MISSING):
        found.see(trade(px="", price="5"), LATER + at, unread="ValidationError: missing `px`")
    assert told(found) == [
        ("unread frame", "trades", None),
        ("new field", "trades", "data[].price"),
        ("missing field", "trades", "data[].px"),
    ]
    unread, new, missing = found.findings.values()
    assert (unread.reason, unread.count, unread.channels) == ("ValidationError: missing `px`", MISSING, ["trades"])
    assert (new.since, new.latest, new.count) == (LATER, LATER + MISSING - 1, MISSING)
    assert json.loads(new.example)["data"][0]["price"] == "5"
    assert missing.words == "`data[].px` is missing from frames of trades (trades), which all had it before"
    assert found.counts == {"unread frame": 1, "new field": 1, "missing field": 1}


def test_a_field_that_nobody_reads_is_normal_while_it_is_learnt_and_drift_later() -> None:
    found = Drift()
    for _ in range(SEEN):
        found.see(trade(extra=1), 1, channels=["trades"])
    found.see(trade(extra=1), LATER, channels=["trades"])
    assert told(found) == []
    found.see(trade(extra=1, more={"a": 1, "b": [2]}), LATER, channels=["trades"])
    assert told(found) == [("new field", "trades", "data[].more")]  # what is in it goes without saying


def test_a_frame_from_which_nothing_is_read_is_unknown_when_its_kind_is_new() -> None:
    found = learnt()
    news = frame(arg={"channel": "wibble", "instId": "BTC-USDT"}, data=[{"a": 1}])
    found.see(news, LATER, is_understood=lambda: False)
    found.see(news, LATER + 1, is_understood=lambda: False)
    assert told(found) == [("unknown frame", "wibble", None)]
    assert [each.count for each in found.findings.values()] == [2]
    found.see(frame(event="unsubscribe"), LATER, is_understood=lambda: True)
    found.see(frame(arg={"channel": "bbo"}, data=[{"a": 1}]), LATER, channels=["bbo"], is_understood=lambda: False)
    assert len(found.findings) == 1  # an answer, and a channel that was asked for later


def test_markets_are_no_kinds() -> None:
    found = Drift(is_market={"BTCUSDT", "ETHUSD"}.__contains__)
    for name in ("btcusdt@trade", "trade.BTC-USDT", "live_trades_ethusd", "spot:ETH/USD:trade", "book.50.BTC_USDT"):
        found.see(frame(stream=name), 1)
    assert list(found.normal.kinds) == ["*@trade", "trade.*", "live_trades_*", "spot:*:trade", "book.*.*"]
    for key in ("BTC-USDT", "1.5"):
        found.see(frame(topic="all", data={key: {"last": "1"}}), 1)
    assert set(found.normal.kinds["all"].fields) == {"topic", "data", "data.*", "data.*.last"}


def test_a_field_that_comes_now_and_then_is_not_missed() -> None:
    found = learnt()
    for fields in ({}, {"liq": 1}, {}, {}, {}, {}):
        found.see(trade(**fields), 1, channels=["trades"])
    for at in range(9):
        found.see(trade(), LATER + at, channels=["trades"])
    assert told(found) == []


@pytest.mark.parametrize("nothing", [[], None, {}])
def test_what_would_be_in_an_empty_place_is_not_missed(nothing: object) -> None:
    found = learnt()
    for at in range(9):
        empty = frame(arg={"channel": "trades", "instId": "BTC-USDT"}, data=nothing)
        found.see(empty, LATER + at, channels=["trades"])
    assert told(found) == []


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_what_comes_in_a_place_that_was_always_empty_is_not_new(nothing: object) -> None:
    found = Drift()
    for _ in range(SEEN):
        found.see(frame(type="update", bids=nothing, asks=[{"px": "1"}]), 1, channels=["book"])
    found.see(frame(type="update", bids=[{"px": "1", "by": {"id": 1}}], asks=[{"px": "1"}]), LATER, channels=["book"])
    assert told(found) == []
    found.see(frame(type="update", bids=[{"px": "1", "qty": "2"}], asks=[{"px": "1"}]), LATER, channels=["book"])
    assert told(found) == [("new field", "update", "bids[].qty")]


def test_one_frame_without_a_field_is_no_drift() -> None:
    found = learnt()
    for changes in ({"px": ""}, {}, {"px": ""}, {"px": ""}, {}):
        found.see(trade(**changes), LATER, channels=["trades"])
    assert told(found) == []


def test_what_is_normal_outlives_the_daemon() -> None:
    kept = msgspec.json.decode(msgspec.json.encode(learnt().normal), type=Normal)
    found = Drift(kept, is_market={"BTCUSDT"}.__contains__)
    for at in range(MISSING):
        found.see(trade(px="", price="5"), LATER + at, channels=["trades"])
    assert [field for _, _, field in told(found)] == ["data[].price", "data[].px"]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"\xff\xfe",
        b"[" * 10**5,
        b'{"a":' * 50 + b"1" + b"}" * 50,
        b"7",
        b'"text"',
        b"null",
        b"x" * LARGEST_BYTES * 2,
    ],
)
def test_rubbish_is_looked_at_in_peace(rubbish: bytes) -> None:
    found = learnt()
    found.see(rubbish, LATER, unread="it cannot be read")
    assert all(each.what == "unread frame" for each in found.findings.values())


def test_numbers_before_the_frame_of_a_protocol_over_another_are_passed_over() -> None:
    found = Drift()
    found.see(b'42["message",{"room_name":"depth"}]', 1)
    assert list(found.normal.kinds) == ["message"]


def test_a_hostile_exchange_fills_nothing() -> None:
    found = learnt()
    for number in range(MOST_KINDS + 50):
        word = "x" + "".join(chr(ord("a") + int(digit)) for digit in str(number))
        found.see(frame(event=word, **{f"f{word}": 1}), LATER, is_understood=lambda: False)
    assert len(found.normal.kinds) == MOST_KINDS
    assert len(found.findings) == MOST_FINDINGS
    assert found.counts["unknown frame"] == MOST_KINDS - 2
    many = {f"k{number}": 1 for number in range(drift.MOST_KEYS + 1)}
    found.see(frame(event="subscribe", **many), LATER)
    assert len(found.normal.kinds["subscribe trades"].fields) <= drift.MOST_KEYS
