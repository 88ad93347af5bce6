"""The lines that a sink itself writes: a file's first and last one, and the gap where it lost records."""

from collections.abc import Callable
from typing import get_args

import msgspec
from msgspec import Struct, field

from aggregator.bus.bus import Bus
from aggregator.records import SCHEMA, BookSnapshot, Cause, Channel, Gap, Instrument
from aggregator.sinks.paths import Scope

FOOTER = b'{"type":"footer"'
HEADER = b'{"type":"header"'
CHANNEL_NAMES = frozenset(get_args(Channel))

encode: Callable[[object], bytes] = msgspec.json.Encoder().encode


class FileHeader(Struct, tag_field="type", tag="header"):
    """A file's first line.

    offset: of the stream when the file was begun; a book below is as of its own offset, so deltas up to that are in it
    exchange, channel, symbol, raw_symbol: what all records here have in common; null where they may differ
    """

    schema: int
    epoch: str
    offset: int
    ts: int
    exchange: str | None
    channel: str | None
    symbol: str | None
    raw_symbol: str | None
    instruments: list[Instrument]
    books: list[BookSnapshot]

    def line(self) -> bytes:
        """The lines of NDJSON; books come one by one, so that no other thread has to wait for all of them."""
        books, self.books = self.books, []
        text = encode(self).removesuffix(b"[]}")
        return b"".join([text, b"[", b",".join([encode(book) for book in books]), b"]}\n"])


class Footer(Struct, kw_only=True, tag_field="type", tag="footer"):
    """A closed file's last line; what it says is of the lines before it.

    records: how many, without the header
    bytes: with the header
    hash: SHA-256 of those bytes, in hexadecimal digits
    """

    records: int
    by_type: dict[str, int]
    offset_first: int | None
    offset_last: int | None
    size: int = field(name="bytes")
    hash: str
    ts: int

    def line(self) -> bytes:
        return encode(self) + b"\n"


class Loss(Struct, frozen=True):
    """Records that were not written: how many, and between which offsets and times they were."""

    missed: int
    offset_from: int
    offset_to: int
    ts_from: int
    ts_to: int

    def __add__(self, other: "Loss") -> "Loss":
        return Loss(
            self.missed + other.missed,
            min(self.offset_from, other.offset_from),
            max(self.offset_to, other.offset_to),
            min(self.ts_from, other.ts_from),
            max(self.ts_to, other.ts_to),
        )


def overflow(sink: str, epoch: str, loss: Loss, scope: Scope) -> Gap:
    """The gap that stands where records of one topic are missing; its offset is that of the last of them."""
    topic = ":".join(part for part in (scope.channel, scope.exchange, scope.raw_symbol or scope.symbol) if part)
    return sink_gap(
        sink,
        scope,
        gap_id=f"{sink}:{epoch}:{loss.offset_from}-{loss.offset_to}{topic and f':{topic}'}",
        cause="overflow",
        ts=(loss.ts_from, loss.ts_to),
        offset=loss.offset_to,
        expected=loss.offset_from,
        got=loss.offset_to + 1,
        missed=loss.missed,
    )


def sink_gap(
    sink: str,
    scope: Scope,
    *,
    gap_id: str,
    cause: Cause,
    ts: tuple[int, int],
    offset: int,
    expected: int | None = None,
    got: int | None = None,
    missed: int | None = None,
) -> Gap:
    """A hole that a sink made; it concerns every channel where the scope has none."""
    channel = scope.channel if scope.channel in CHANNEL_NAMES else None
    return Gap(
        exchange=scope.exchange or "",
        symbol=scope.symbol,
        raw_symbol=scope.raw_symbol,
        ts_recv=ts[1],
        offset=offset,
        conn=sink,
        source="derived",
        gap_id=gap_id,
        phase="close",
        channel=channel,  # type: ignore[arg-type]  # a text that is one of the literals
        cause=cause,
        ts_from=ts[0],
        ts_to=ts[1],
        expected=expected,
        got=got,
        missed=missed,
        repair="none",
    )


def header_of(bus: Bus, scope: Scope, ts: int) -> FileHeader:
    """A header as of now: the instruments in force and the live books that a file of this scope concerns."""
    exchange, raw_symbol = scope.exchange, scope.raw_symbol
    books = bus.views.books(exchange, raw_symbol) if scope.channel in {None, "book"} else []
    if raw_symbol is not None and exchange is not None:
        instrument = bus.instruments.get((exchange, scope.symbol or raw_symbol))
        instruments = [] if instrument is None else [instrument]
    else:
        instruments = [i for i in bus.instruments.values() if exchange in {None, i.exchange}]
    return FileHeader(
        SCHEMA, bus.epoch, bus.offset, ts, exchange, scope.channel, scope.symbol, raw_symbol, instruments, books
    )
