"""Recordings as the sinks leave them, for tests of who reads them."""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from aggregator.bus.bus import Bus
from aggregator.records import SCHEMA, BookSnapshot, Record, Trade
from aggregator.sinks.journal.sink import SINK
from aggregator.sinks.notes import FileHeader, Footer
from aggregator.sinks.running import running
from aggregator.tables.columns import tag
from aggregator.tables.parquet import parquet_form
from aggregator.tables.tree import TableTree

FIRST, SECOND = "20261129T000000.000000Z", "20261129T060000.000000Z"
NOON = 1_795_953_600_000_000_000  # 2026-11-29T12:00:00Z
SECOND_NS = 1_000_000_000
BTC: dict[str, Any] = {"exchange": "alpha", "symbol": "BTC/USDT", "raw_symbol": "BTCUSDT"}

encode = msgspec.json.Encoder().encode


def numbered(records: Sequence[Record], start: int = 1) -> list[Record]:
    """Give records the offsets of one epoch."""
    for offset, record in enumerate(records, start):
        record.offset = offset
    return list(records)


def sold(at: float, price: str = "100.50", size: str = "2", **more: Any) -> Trade:
    """A trade, so many seconds behind noon."""
    return Trade(**{**BTC, "ts_recv": NOON + round(at * SECOND_NS), "price": price, "size": size, **more})


def as_lines(
    path: Path,
    records: Sequence[Record],
    epoch: str = FIRST,
    *,
    books: Sequence[BookSnapshot] = (),
    ts: int = NOON,
    is_closed: bool = True,
) -> Path:
    """A file as the `files` sink writes it; `.zst` is compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    offset = records[0].offset - 1 if records else 0
    header = FileHeader(SCHEMA, epoch, offset, ts, None, None, None, None, [], list(books))
    body = header.line() + b"".join(encode(record) + b"\n" for record in records)
    if is_closed:
        tags = {tag(type(record)): 1 for record in records}
        last = records[-1].offset if records else None
        body += Footer(
            records=len(records),
            by_type=tags,
            offset_first=offset + 1,
            offset_last=last,
            size=len(body),
            hash=sha256(body).hexdigest(),
            ts=ts,
        ).line()
    path.write_bytes(zstandard.compress(body) if path.suffix == ".zst" else body)
    return path


def as_parquet(path: Path, records: Sequence[Record], epoch: str = FIRST, **how: Any) -> Path:
    """Files of Parquet, as every writer of them makes them."""
    tree = TableTree(path, "some", parquet_form(), **how)
    tree.add(records, epoch)
    tree.close()
    return path


def as_journal(path: Path, records: Sequence[Record], epoch: str = FIRST, *, before: str | None = None) -> Path:
    """A journal, or a further life of one. The records must have the offsets from 1 on."""

    async def live() -> None:
        bus = Bus(epoch)
        sink = running(SINK.configured(path=path), bus, before=before)
        await sink.start()
        bus.publish(list(records))
        sink.end()
        assert sink.task is not None
        await sink.task

    asyncio.run(live())
    return path
