"""Bitget: what the numbers of its books show, and its checksums, which may stop."""

import json

import pytest

from aggregator.book import OrderBook
from aggregator.exchange import Stream
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.bitget import EXCHANGE, QUOTES
from connectors.bitget.frames import KEPT
from connectors.families.okx import checksum

SECOND = 10**9
START = 1_795_860_000 * SECOND
BOOKS = [stream for stream in EXCHANGE.streams if "book" in stream.channels]
TYPES = ("SPOT", *QUOTES)

Side = list[list[str]]


def frame(type: str, seq: int, before: int | None, *, sum: int | None = None, **sides: Side) -> bytes:
    row: dict[str, object] = {"asks": [], "bids": [], "ts": str(START // 10**6 + seq), "seq": seq} | dict(sides)
    row |= {} if before is None else {"pseq": before}
    row |= {} if sum is None else {"checksum": sum}
    arg = {"instType": type, "channel": "books", "instId": "BTCUSDT"}
    action = "snapshot" if before == 0 or "bids" in sides else "update"
    return json.dumps({"action": action, "arg": arg, "data": [row], "ts": START // 10**6}).encode()


def heard(stream: Stream, *frames: bytes) -> list[Record]:
    session = Session("bitget", stream, conn="x#1", instruments={}, channels={"book"})
    out: list[Record] = []
    for at, each in enumerate(frames):
        out += session.receive([each], Now(START + at, at))
    return out


def whole(type: str, before: int | None = 0, sum: int | None = None) -> bytes:
    return frame(type, 1000, before, sum=sum, bids=[["100.0", "3.10"]], asks=[["100.5", "1.0"]])


@pytest.mark.parametrize(("type", "stream"), list(zip(TYPES, BOOKS, strict=True)), ids=TYPES)
def test_a_hole_in_the_numbers_of_a_book_is_seen_without_a_checksum(type: str, stream: Stream) -> None:
    """Since 2026 each change names the number before it (`pseq`), and no checksum comes."""
    out = heard(
        stream,
        whole(type),
        frame(type, 1003, 1000, asks=[["100.6", "2"]]),
        frame(type, 1009, 1006, asks=[["100.7", "2"]]),
    )
    assert [r.sequence for r in out if isinstance(r, BookSnapshot | BookDelta)] == [1000, 1003]
    gaps = [(gap.cause, gap.phase, gap.got) for gap in out if isinstance(gap, Gap)]
    assert gaps == [("sequence", "open", 1009)]
    [first] = [r for r in out if isinstance(r, BookSnapshot)]
    assert first.depth == stream.depth == KEPT[type]


def test_numbers_that_name_none_before_them_only_grow() -> None:
    """Captures of before 2026 have them."""
    later = [frame("SPOT", number, None, asks=[["100.6", str(number)]]) for number in (1003, 1009, 1005)]
    out = heard(BOOKS[0], whole("SPOT", None), *later)
    assert [r.sequence for r in out if isinstance(r, BookDelta)] == [1003, 1009]
    assert not [r for r in out if isinstance(r, Gap)]


def test_checksums_that_stop_coming_are_missed_once() -> None:
    asks = {"100.5": "1.0"}
    frames = []
    for number in range(1001, 1101):
        asks["100.6"] = str(number)
        is_summed = number <= 1040
        sum = checksum(OrderBook([("100.0", "3.10")], list(asks.items()), None), None) if is_summed else None
        frames.append(frame("SPOT", number, number - 1, sum=sum, asks=[["100.6", str(number)]]))
    out = heard(BOOKS[0], whole("SPOT"), *frames)
    assert sum_of(out, BookDelta) == 100
    words = [r.reason for r in out if isinstance(r, Health) and r.reason is not None]
    assert words == ["checksums no longer come with the book: a loss shows in its numbers alone"]


def sum_of(out: list[Record], kind: type[Record]) -> int:
    return sum(isinstance(record, kind) for record in out)
