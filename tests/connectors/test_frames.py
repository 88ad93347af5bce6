"""Each connector against frames of its own: a frame in, exactly these records and events out.

`tests/frames/<id>.jsonl` has one JSON object a line: `stream` and `frame` (or `frame_b64`), or `rest` (`listing`,
`details` with their `place`, `snapshot`, `backfill` or `poll`, the latter with `name`), `raw_symbol` and `body`;
`about` says what it shows, and `after` which frames the same parser has read before. `gives` lists what comes out: a
record with its `type` and every field that is not at its default, an event as `{"event": "Accepted", ...}`, and
`{"event": "error"}` where the frame must be refused as unreadable.
"""

import base64
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TypeGuard

import msgspec
import pytest

from aggregator.catalog.registry import archived_ids, connector_ids, load_exchange
from aggregator.exchange import Exchange, Listing, Stream
from aggregator.records import CHANNEL_OF, Gap, Record, defaults
from aggregator.session.moment import Now
from aggregator.session.session import Session

FRAMES = Path(__file__).parents[1] / "frames"
START = 1_760_000_000_000_000_000
IDS = [*connector_ids(), *archived_ids()]
Row = dict[str, object]


@cache
def load(id: str) -> Exchange:
    exchange = load_exchange(id)
    assert exchange is not None
    return exchange


def cases() -> Iterable[object]:
    for path in sorted(FRAMES.glob("*.jsonl")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            case = json.loads(line)
            yield pytest.param(path.stem, case, id=f"{path.stem}:{number} {case.get('about', '')}")


def stream_of(exchange: Exchange, name: str) -> Stream:
    return next(stream for stream in (*exchange.streams, *exchange.archived) if stream.name == name)


def listing_of(exchange: Exchange, case: Row) -> Listing:
    """Today's, or the one of the archive that ended on the day which the case names."""
    archived = (archive.listing for archive in exchange.archives if archive.until == case.get("until"))
    return next(archived, exchange.listing)


def read(exchange: Exchange, case: Row) -> Iterable[object]:
    """What the connector makes of a case; raises what it raises."""
    if "rest" not in case:
        return read_frame(stream_of(exchange, str(case.get("stream", "main"))), case)
    body, raw_symbol = str(case["body"]).encode(), str(case.get("raw_symbol", ""))
    if case["rest"] == "listing":
        listing = listing_of(exchange, case)
        return [listing.read(row) for row in listing.rows(body)]
    if case["rest"] == "details":
        details = exchange.listing.details[int(str(case.get("place", 0)))]
        return [details.read(row) for row in details.rows(body)]
    if case["rest"] == "poll":
        poll = next(poll for poll in exchange.polls if poll.name == case["name"])
        return list(poll.parse(raw_symbol, body))
    stream = stream_of(exchange, str(case.get("stream", "main")))
    if case["rest"] == "snapshot":
        assert stream.snapshot is not None
        assert stream.snapshot.parse is not None
        return [stream.snapshot.parse(raw_symbol, body)]
    assert case["rest"] == "backfill"
    assert stream.backfill is not None
    return list(stream.backfill.parse(raw_symbol, body))


def frame_of(case: Row) -> bytes:
    return base64.b64decode(str(case["frame_b64"])) if "frame_b64" in case else str(case["frame"]).encode()


def read_frame(stream: Stream, case: Row) -> Iterable[object]:
    frame = frame_of(case)
    parse = stream.reader()
    earlier = case.get("after", [])
    assert isinstance(earlier, list)
    for before in earlier:
        list(parse(before.encode()))
    packed = stream.inflate is not None and "frame_b64" in case
    return list(parse(stream.inflate(frame) if packed and stream.inflate else frame))


def plain(given: object) -> object:
    """A record or event as the case files spell it: only what is not at its default."""
    if given is None:
        return None
    assert isinstance(given, msgspec.Struct)
    kind = type(given)
    words: Row = {"type": kind.__struct_config__.tag} if kind in CHANNEL_OF else {"event": kind.__name__}
    usual = defaults(kind)
    for field in msgspec.structs.fields(given):
        value = getattr(given, field.name)
        if field.name in usual and value == usual[field.name]:
            continue
        words[field.encode_name] = value.decode() if isinstance(value, bytes) else msgspec.to_builtins(value)
    return json.loads(json.dumps(words))


@pytest.mark.parametrize(("id", "case"), list(cases()))
def test_a_frame_gives_what_it_says(id: str, case: Row) -> None:
    if case["gives"] == {"event": "error"} or case["gives"] == [{"event": "error"}]:
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it raises, a session makes it a `parse_error`
            read(load(id), case)
        return
    assert [plain(given) for given in read(load(id), case)] == case["gives"]


def is_unread(record: Record) -> TypeGuard[Gap]:
    """Whether this tells of frames that cannot be read: those that come one behind the other in a read are one gap."""
    return isinstance(record, Gap) and record.cause == "parse_error" and record.channel is None


@pytest.mark.parametrize("id", IDS)
def test_changes_of_a_book_have_a_whole_one_to_follow(id: str) -> None:
    """It is asked for, or the stream brings it; where it brings none but periodic ones, these must be followed."""
    rows = [json.loads(line) for line in (FRAMES / f"{id}.jsonl").read_text().splitlines()]
    for stream in (*load(id).streams, *load(id).archived):
        told = {
            (str(given.get("type")), given.get("reason", "initial"))
            for row in rows
            if "rest" not in row and row.get("stream", "main") == stream.name and isinstance(row["gives"], list)
            for given in row["gives"]
        }
        if ("book_delta", "initial") in told and ("book_snapshot", "periodic") in told:
            is_had = ("book_snapshot", "initial") in told or stream.snapshot is not None
            assert is_had or stream.periodic_joins, f"no book of {id} ({stream.name}) is ever changed"


@pytest.mark.parametrize("id", IDS)
def test_however_many_frames_a_read_brings_they_give_the_same_records(id: str) -> None:
    """What one of them provokes, be it an error or the end of the connection, takes nothing from the others."""
    exchange, now = load(id), Now(START, START)
    rows = [json.loads(line) for line in (FRAMES / f"{id}.jsonl").read_text().splitlines()]
    for stream in (*exchange.streams, *exchange.archived):
        frames = [frame_of(row) for row in rows if "rest" not in row and row.get("stream", "main") == stream.name]
        one, other = (Session(id, stream, conn="test", instruments={}) for _ in range(2))
        apart = [record for frame in frames for record in one.receive([frame], now)]
        together = other.receive(frames, now)
        assert [r for r in apart if not is_unread(r)] == [r for r in together if not is_unread(r)]
        assert sum(r.missed or 0 for r in apart if is_unread(r)) == sum(r.missed or 0 for r in together if is_unread(r))
        assert [seen.frame for seen in one.bad_frames] == [seen.frame for seen in other.bad_frames]
        assert (one.close_reason, one.wanted) == (other.close_reason, other.wanted)
        assert sorted(one.outbox) == sorted(other.outbox)  # whole books are asked for once the read is through


@pytest.mark.parametrize("id", IDS)
def test_every_declared_channel_has_a_frame(id: str) -> None:
    path = FRAMES / f"{id}.jsonl"
    given = {
        (case.get("stream") or case.get("name") or case["rest"], record["type"])
        for case in map(json.loads, path.read_text().splitlines())
        for record in case["gives"]
        if record and "type" in record
    }
    channel_of = {str(record.__struct_config__.tag): channel for record, channel in CHANNEL_OF.items()}
    shown = {(feed, channel_of[kind]) for feed, kind in given}
    shown |= {(feed, "book") for feed, channel in shown if channel == "orders"}  # which is made of them
    feeds = (*load(id).feeds, *load(id).archived)
    declared = {(feed.name, channel) for feed in feeds for channel in feed.channels}
    assert declared <= shown, f"tests/frames/{id}.jsonl shows nothing of {sorted(declared - shown)}"
    listing = load(id).listing
    assert any(feed == "listing" for feed, _ in given) or listing.fixed
    assert any(feed == "details" for feed, _ in given) or not listing.details


def test_no_frames_are_left_over() -> None:
    assert {path.stem for path in FRAMES.glob("*.jsonl")} == set(IDS)


NUMBERS = {"funding": "rate", "mark_price": "price", "index_price": "price", "open_interest": "size"}


def emptied() -> Iterable[object]:
    """Frames of figures whose number is text on the wire, with that text taken away."""
    for path in sorted(FRAMES.glob("*.jsonl")):
        for case in map(json.loads, path.read_text().splitlines()):
            gives = case["gives"] if isinstance(case["gives"], list) and "frame" in case else []
            for given in gives:
                type = (given or {}).get("type", "")
                number = (given or {}).get(NUMBERS.get(type, ""))
                if number is not None and f'"{number}"' in case["frame"]:
                    changed = case | {"frame": case["frame"].replace(f'"{number}"', '""')}
                    yield pytest.param(path.stem, changed, type, id=f"{path.stem} {type}: {case.get('about')}")


@pytest.mark.parametrize(("id", "case", "type"), list(emptied()))
def test_a_figure_that_is_empty_is_not_told_and_no_error(id: str, case: Row, type: str) -> None:
    """Saying nothing is not being unreadable: OKX sends an empty rate of a swap that has none yet (2026)."""
    for given in map(plain, read(load(id), case)):
        assert isinstance(given, dict)
        assert "" not in given.values(), f"{given['type']} with an empty number"
