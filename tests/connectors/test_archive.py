"""Formats that are not spoken any more: what declares them, which one reads a capture, and that nobody is asked."""

import json
from datetime import date
from itertools import pairwise
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from msgspec import structs

from aggregator.capture.line import CaptureLine
from aggregator.capture.replay import ParseOnly, Replay
from aggregator.catalog.catalog import load_catalog
from aggregator.catalog.registry import archived_ids, connector_ids, every_exchange, known_channels, load_exchange
from aggregator.cli.normalize import command as normalize
from aggregator.cli.replay import command as replay
from aggregator.cli.symbols import command as symbols
from aggregator.config.schema import why_not
from aggregator.docgen.known import old_formats
from aggregator.errors import BadFrame
from aggregator.exchange import Archive, Exchange, Ignored, Stream, nothing_to_ask
from aggregator.records import SECOND_NS, BookSnapshot, Gap, Trade
from tests.support.toy import toy

ARCHIVED = {id: found for id in archived_ids() if (found := load_exchange(id)) is not None}
EVERY = [*every_exchange(), *ARCHIVED.values()]


# --- what is declared


def test_what_is_archived_is_declared_by_its_id_and_has_no_other_connector() -> None:
    assert list(ARCHIVED) == archived_ids()
    assert all(exchange.id == id for id, exchange in ARCHIVED.items())
    assert set(ARCHIVED).isdisjoint(connector_ids())


def test_the_catalogue_has_the_formats_that_connectors_read_and_no_other() -> None:
    declared = {one.id: old_formats(one) for one in EVERY if one.archives or one.older}
    assert {id: entry.archives for id, entry in load_catalog().items() if entry.archives} == declared
    as_others = {id: entry.read_as for id, entry in load_catalog().items() if entry.read_as}
    assert as_others
    assert set(as_others.values()) <= {one.id for one in EVERY}
    assert not as_others.keys() & declared.keys()


@pytest.mark.parametrize("exchange", [one for one in EVERY if one.archives], ids=lambda one: one.id)
def test_an_archive_says_until_when_and_asks_nobody(exchange: Exchange) -> None:
    days = [date.fromisoformat(archive.until) for archive in exchange.archives]
    assert all(earlier < later for earlier, later in pairwise(days))
    assert days[-1] <= date(2026, 11, 29)
    names = [feed.name for feed in (*exchange.feeds, *exchange.archived)]
    assert len(set(names)) == len(names)
    for archive in exchange.archives:
        assert {"trades", "book"} <= set(archive.channels)
        assert not archive.listing.all_requests
    for stream in exchange.archived:
        bare = Stream(name=stream.name, channels=stream.channels, parse=stream.reader())
        asked = ("url", "mirrors", "ticket", "login", "sign", "subscribe", "unsubscribe", "heartbeat", "backfill")
        assert [getattr(stream, name) for name in asked] == [getattr(bare, name) for name in asked]
        assert stream.snapshot is None


@pytest.mark.parametrize("exchange", list(every_exchange()), ids=lambda one: one.id)
def test_an_exchange_that_is_asked_declares_how(exchange: Exchange) -> None:
    assert exchange.feeds
    assert exchange.listing.requests or exchange.listing.fixed
    assert all(stream.subscribe is not nothing_to_ask or not isinstance(stream.url, str) for stream in exchange.streams)


@pytest.mark.parametrize("id", archived_ids())
def test_what_is_archived_is_over_and_cannot_be_run(id: str) -> None:
    entry = load_catalog()[id]
    assert entry.status != "live"
    assert known_channels(id) is None
    said = why_not(id, is_built=known_channels(id) is not None)
    assert said is not None
    assert all(day in said for day in (entry.closed or "").split(".."))


# --- which format reads a line


def parse_as(word: str, exchange: Exchange) -> Stream:
    return structs.replace(
        exchange.streams[0], name=word, url="", parse=lambda _: (Trade(raw_symbol=word, price="1", size="1"),)
    )


def changed_twice() -> Exchange:
    today = toy()
    archives = (
        Archive(until="2020-01-01", streams=(parse_as("first", today),)),
        Archive(until="2022-01-01", streams=(parse_as("second", today),)),
    )
    return structs.replace(today, feeds=(parse_as("third", today),), archives=archives)


def deaf(_: bytes) -> list[Trade]:
    raise BadFrame("of another format")


@pytest.mark.parametrize(
    ("ts", "read"),
    [
        ("1577836799.999999999", "first"),  # the last moment of 2019
        ("1577836800", "second"),
        ("1640995199", "second"),
        ("1640995200", "third"),
        ("1790000000", "third"),
        (None, "third"),  # it does not say when it came
    ],
)
def test_a_line_is_read_in_the_format_of_its_time(ts: str | None, read: str) -> None:
    line = CaptureLine(ts=ts, dir="in", raw="{}", url="wss://anything.example")
    for reader in (ParseOnly(changed_twice(), [], None), Replay(changed_twice(), [])):
        assert [record.raw_symbol for record in reader.feed(line)] == [read]


def test_a_capture_over_the_day_of_the_change_is_read_in_both_formats() -> None:
    reader = Replay(changed_twice(), [])
    lines = [CaptureLine(ts=str(1640995200 + second), dir="in", raw="{}") for second in (-1, 0)]
    assert [record.raw_symbol for line in lines for record in reader.feed(line)] == ["second", "third"]


def test_a_format_that_began_before_the_older_one_ended_is_read_too() -> None:
    first, second = changed_twice().archives
    overlapping = (structs.replace(first, streams=(structs.replace(first.streams[0], parse=deaf),)), second)
    reader = ParseOnly(structs.replace(changed_twice(), archives=overlapping), [], None)
    (record,) = reader.feed(CaptureLine(ts="1577836799", dir="in", raw="{}"))
    assert record.raw_symbol == "second"


def test_a_frame_of_an_older_format_that_cannot_be_read_is_told_though_it_means_nothing_to_today() -> None:
    exchange = changed_twice()
    silent = structs.replace(exchange.streams[0], parse=lambda _: ())
    archive = Archive(until="2022-01-01", streams=(structs.replace(silent, name="older", parse=deaf),))
    exchange = structs.replace(exchange, feeds=(silent,), archives=(archive,))
    with pytest.raises(BadFrame, match="of another format"):
        ParseOnly(exchange, [], None).feed(CaptureLine(ts="1577836799", dir="in", raw="{}"))
    assert ParseOnly(exchange, [], None).feed(CaptureLine(ts="1790000000", dir="in", raw="{}")) == []


@pytest.mark.parametrize("ts", ["1577836799", None])
@pytest.mark.parametrize("broken", [0, 1])
def test_a_frame_that_one_format_cannot_read_and_the_other_takes_for_nothing_is_told(
    ts: str | None, broken: int
) -> None:
    """Whichever of them is asked first: a capture without times is read in the format of today first."""
    exchange = changed_twice()
    parses = [lambda _: (), deaf] if broken else [deaf, lambda _: ()]
    older, today = (
        structs.replace(exchange.streams[0], name=name, parse=parse)
        for name, parse in zip(("older", "today"), parses, strict=True)
    )
    archive = Archive(until="2022-01-01", streams=(older,))
    exchange = structs.replace(exchange, feeds=(today,), archives=(archive,))
    line = CaptureLine(ts=ts, dir="in", raw="{}")
    with pytest.raises(BadFrame, match="of another format"):
        ParseOnly(exchange, [], None).feed(line)
    replay = Replay(exchange, [])
    replay.feed(line)
    assert [bad.frame for bad in replay.bad_frames] == [b"{}"]


def test_a_frame_that_a_format_passes_over_by_its_own_word_is_no_broken_one() -> None:
    exchange = changed_twice()
    passing = structs.replace(exchange.streams[0], name="older", parse=lambda _: (Ignored("told by another book"),))
    today = structs.replace(exchange.streams[0], name="today", parse=deaf)
    archive = Archive(until="2022-01-01", streams=(passing,))
    exchange = structs.replace(exchange, feeds=(today,), archives=(archive,))
    for ts in ("1577836799", None):
        assert ParseOnly(exchange, [], None).feed(CaptureLine(ts=ts, dir="in", raw="{}")) == []


def test_a_format_can_be_named_whatever_the_time() -> None:
    line = CaptureLine(ts="1790000000", dir="in", raw="{}")
    (record,) = ParseOnly(changed_twice(), [], "first").feed(line)
    assert record.raw_symbol == "first"
    with pytest.raises(ValueError, match="it has: third, first, second"):
        ParseOnly(changed_twice(), [], "fourth")


def test_what_is_over_is_read_in_its_last_format_after_its_end_too() -> None:
    exchange = structs.replace(changed_twice(), feeds=())
    ts = 1_790_000_000 * SECOND_NS
    assert [stream.name for stream in exchange.streams_at(ts)] == ["second"]
    assert [stream.name for stream in exchange.streams_at(0)] == ["second", "first"]


# --- the commands


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A trade, and a listing in the capture and beside it, as somebody's recorder kept them."""
    market = {"name": "SOL/USD", "type": "spot", "priceIncrement": 0.0025, "sizeIncrement": 0.01}
    listing = json.dumps({"result": [{**market, "baseCurrency": "SOL", "quoteCurrency": "USD"}]})
    trade = {"id": 7, "price": 200.5, "size": 0.5, "side": "sell", "time": "2021-12-03T08:00:00+00:00"}
    frame = json.dumps({"channel": "trades", "market": "SOL/USD", "type": "update", "data": [trade]})
    lines = [
        {"ts": "1638518400.1", "dir": "rest", "url": "https://anything.example/markets", "raw": listing},
        {"ts": "1638518400.2", "dir": "in", "raw": frame},
    ]
    path = tmp_path / "ftx-1.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "listing.json").write_text(listing)
    return path


def run(command: click.Command, words: list[str], capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """The records that a command writes."""
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in (done.stdout or capfd.readouterr().out).splitlines()]


def test_normalize_takes_the_listing_from_a_file(capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    listing = str(capture.with_name("listing.json"))
    (trade,) = run(normalize, ["--exchange", "ftx", "--instruments", listing, str(capture)], capfd)
    assert (trade["exchange"], trade["symbol"], trade["side"], trade["price"]) == ("ftx", "SOL/USD", "sell", "200.5")


def test_replay_finds_the_listing_in_the_capture(capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert [record["symbol"] for record in run(replay, [str(capture)], capfd)] == ["SOL/USD"]


def test_symbols_reads_a_file_and_asks_nobody(capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = CliRunner().invoke(symbols, ["ftx"])
    assert asked.exit_code == 2
    assert '"ftx" closed on 2022-11-11' in asked.output
    words = ["ftx", "--json", "--body", str(capture.with_name("listing.json"))]
    assert [record["symbol"] for record in run(symbols, words, capfd)] == ["SOL/USD"]


# --- single exchanges


@pytest.mark.parametrize(("checksum", "told"), [(1234600365, BookSnapshot), (1234600366, Gap)])
def test_the_sum_of_ftx_is_over_floats_as_python_writes_them(checksum: int, told: type) -> None:
    """The right one is that of `200.25:10.5:200.5:1.25:200.0:5e-05`."""
    book = {"bids": [[200.25, 10.5], [200.0, 5e-05]], "asks": [[200.5, 1.25]]}
    data = {"time": 1638518400.5, "checksum": checksum, **book, "action": "partial"}
    frame = json.dumps({"channel": "orderbook", "market": "SOL/USD", "type": "partial", "data": data})
    records = Replay(ARCHIVED["ftx"], []).feed(CaptureLine(ts="1638518400.6", dir="in", raw=frame))
    assert [type(record) for record in records] == [told]


@pytest.mark.parametrize("ts", [None, "1650000000", "1795000000"], ids=["untimed", "of the older format", "today"])
@pytest.mark.parametrize(
    ("id", "frame"),
    [
        ("okx", "pong"),
        ("okcoin", "pong"),
        ("bitmart", "pong"),
        ("coinbaseinternational", '{"channels":[{"name":"MATCH"}],"channel":"SUBSCRIPTIONS","type":"SNAPSHOT"}'),
    ],
)
def test_an_answer_without_data_is_no_frame_that_cannot_be_read(id: str, frame: str, ts: str | None) -> None:
    """A frame that one of the formats cannot read counts as lost, whatever the others make of it."""
    if (id, ts) == ("coinbaseinternational", "1795000000"):
        pytest.skip("it speaks another protocol since October 2026")
    exchange = load_exchange(id)
    assert exchange is not None
    assert ParseOnly(exchange, [], stream=None).feed(CaptureLine(ts=ts, dir="in", raw=frame)) == []
