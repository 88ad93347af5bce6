"""The files of a backfill: NDJSON by day, as the `files` sink writes it, that appear whole; and how far it has come.

What is fetched is appended to files without a name of ours, flushed to the disk, and only then the progress is put in
place, whole or not at all: it says how long each file is. So whenever the process is killed, the next one cuts off what
the progress does not know, and goes on from there: each record is written once.
"""

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import msgspec
import zstandard
from msgspec import Struct, field, structs

from aggregator.backfill.walks import MissingTime, Past, Target, WalkedTo, moment
from aggregator.bus.history import EPOCH_FORM
from aggregator.errors import UNREADABLE, AggregatorError
from aggregator.ingest import state
from aggregator.records import DAY_S, SCHEMA, SECOND_NS, Candle, Gap, Instrument, Record
from aggregator.session.topics import fill_amounts, with_flag
from aggregator.sinks.closer import LEVEL, sync
from aggregator.sinks.directory import lock_directory
from aggregator.sinks.notes import FileHeader, encode
from aggregator.sinks.paths import SUFFIX, Template, closed_path
from aggregator.sinks.paths import moment as calendar
from aggregator.sinks.recorded_file import ZST, decode_head, open_lines
from aggregator.sinks.repair import complete
from aggregator.wire import end_of

FOLDER = ".backfill"  # below the directory of the files: the progress of each backfill, and files that are not whole
CONN = "history"  # records of the past name this as their connection: `kraken/history`
LARGEST_FILE_BYTES = 256_000_000  # a file that has grown to this is closed
DAY_NS = DAY_S * SECOND_NS


class BadProgress(AggregatorError):
    """A backfill cannot be gone on with; the words say why, and what to do."""


class FileState(Struct, kw_only=True):
    """A file that is not whole yet.

    path: where it is, below the folder of the backfill
    size: how much of it counts
    closing: the name that it is getting, below the directory of the files
    """

    path: str
    day: str
    ts: int
    first: int
    size: int = 0
    closing: str | None = None


class BackfillProgress(Struct, kw_only=True):
    """How far a backfill has come.

    offset: of its last record
    filled: everything before this time (ns) is told of: had, or missing by a gap
    since: records since the last gap that told of what was had
    taken: records in all
    holes: what the exchange does not give
    """

    version: int = 1
    exchange: str
    raw_symbol: str
    channel: str
    interval: str | None
    start: int
    end: int
    epoch: str
    place: WalkedTo
    filled: int
    offset: int = 0
    ts: int = 0
    since: int = 0
    taken: int = 0
    holes: list[MissingTime] = field(default_factory=list)
    files: list[FileState] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    is_done: bool = False


decode_progress = msgspec.json.Decoder(BackfillProgress).decode


class Job(Struct, frozen=True, kw_only=True):
    """A backfill as it was asked for; the same words are the same one, which is gone on with."""

    exchange: str
    instrument: Instrument
    target: Target

    @property
    def name(self) -> str:
        """The name of its progress."""
        channel, raw_symbol = self.target.history.channel, self.target.raw_symbol
        interval = self.target.interval if channel == "candles" else ""
        words = repr((self.exchange, raw_symbol, channel, interval, self.target.start, self.target.end))
        return f"{self.exchange}-{channel}-{blake2b(words.encode(), digest_size=8).hexdigest()}"


class HistoryFiles:
    """The files of one backfill. Everything here waits for the disk."""

    def __init__(self, out: Path, job: Job, clock: Callable[[], int]) -> None:
        """Begin, or go on where a former process has come to. Raises OSError, BadProgress.

        It holds a lock: one process writes the past into a directory at a time.
        """
        self._out, self._job, self._clock = out, job, clock
        self._folder = out / FOLDER
        self._lock = lock_directory(self._folder)
        self._path = self._folder / f"{job.name}.json"
        self._template = Template("{date}/{exchange}/{channel}")
        found = self._read()
        self.is_resumed = found is not None
        self.progress = found or self._begun()
        if found is not None:
            self._mend()

    def _begun(self) -> BackfillProgress:
        target = self._job.target
        return BackfillProgress(
            exchange=self._job.exchange,
            raw_symbol=target.raw_symbol,
            channel=target.history.channel,
            interval=target.interval if target.history.channel == "candles" else None,
            start=target.start,
            end=target.end,
            epoch=datetime.fromtimestamp(self._clock() / SECOND_NS, UTC).strftime(EPOCH_FORM),
            place=WalkedTo(at=target.start),
            filled=target.start,
        )

    def _read(self) -> BackfillProgress | None:
        body = state.read(self._path)
        if body is None:
            return None
        try:
            return decode_progress(body)
        except UNREADABLE as error:
            raise BadProgress(
                f"{self._path}: it cannot be read: {error}; remove it, and the backfill begins anew"
            ) from None

    def _save(self) -> None:
        state.write(self._path, [encode(self.progress)])
        sync(self._path)
        sync(self._folder)

    def _mend(self) -> None:
        """Bring the files to the state that the progress tells."""
        for file in list(self.progress.files):
            path = self._folder / file.path
            if file.closing is not None and self._is_ours(self._out / file.closing):
                self._forget(file)
                continue
            file.closing = None
            if not path.is_file() or path.stat().st_size < file.size:
                raise BadProgress(
                    f"{path}: it was removed or cut by someone else; remove {self._path}, and the backfill begins anew"
                )
        known = {file.path for file in self.progress.files}
        for path in self._folder.glob(f"{self._job.name}-*.part*"):
            if path.name not in known:
                path.unlink()

    def _is_ours(self, final: Path) -> bool:
        """Tell whether a file that has its name is of this backfill: it was killed before it could note that."""
        try:
            with open_lines(final) as file:
                return decode_head(file.readline()).epoch == self.progress.epoch
        except (OSError, zstandard.ZstdError, *UNREADABLE):
            return False

    def close(self) -> None:
        """Let the lock go."""
        os.close(self._lock)

    # --- what comes

    def take(self, records: Iterable[Past], holes: Iterable[MissingTime], place: WalkedTo) -> None:
        """Write what an answer has brought, and note how far that is. Raises OSError."""
        blobs: dict[str, list[bytes]] = {}
        for record in records:
            self._stamp(record)
            day = day_of(record.ts_recv)
            if self.progress.files and self.progress.files[-1].day != day:
                self._tell(record.ts_recv // DAY_NS * DAY_NS, blobs)
            self._put(record, day, blobs)
            self.progress.since += 1
            self.progress.taken += 1
        for hole in holes:
            self._tell(hole.start, blobs)
            self._put(self._gap(hole.start, hole.end, hole), day_of(hole.start), blobs)
            self.progress.filled = max(self.progress.filled, hole.end)
            self.progress.holes.append(hole)
        self.progress.place = place
        self._append(blobs)
        self._close_files(self.progress.files[:-1])
        if self.progress.files and self.progress.files[-1].size >= LARGEST_FILE_BYTES:
            self._close_files(self.progress.files)

    def finish(self) -> list[Path]:
        """Say that all is had, and close every file. Gives those that were written. Raises OSError."""
        if not self.progress.is_done:
            blobs: dict[str, list[bytes]] = {}
            self._tell(self.progress.end, blobs)
            self.progress.is_done = True
            self._append(blobs)
        self._close_files(self.progress.files)
        return [self._out / name for name in self.progress.written]

    def _stamp(self, record: Past) -> None:
        """Say of a record whose it is, and when it was; how it is marked stands in the documentation."""
        progress, instrument = self.progress, self._job.instrument
        record.exchange, record.symbol = self._job.exchange, instrument.symbol
        record.raw_symbol = progress.raw_symbol
        if isinstance(record, Candle):
            if record.ts_close is None:
                record.ts_close = end_of(record.interval, record.ts_open)
            ts = record.ts_close or record.ts_open
        else:
            ts = moment(record)
        fill_amounts(record, instrument)
        self._number(record, ts)
        record.source = "rest"
        with_flag(record, "backfill")

    def _number(self, record: Record, ts: int) -> None:
        progress = self.progress
        progress.offset += 1
        progress.ts = max(progress.ts, ts)  # on one connection it never runs back
        record.offset, record.ts_recv = progress.offset, progress.ts
        record.conn = f"{self._job.exchange}/{CONN}"

    def _tell(self, until: int, blobs: dict[str, list[bytes]]) -> None:
        """Say by a gap that is closed that everything up to a time is had."""
        start = self.progress.filled
        if start >= until:
            return
        day = self.progress.files[-1].day if self.progress.files else day_of(start)
        self._put(self._gap(start, until, None), day, blobs)
        self.progress.filled, self.progress.since = until, 0

    def _gap(self, start: int, end: int, hole: MissingTime | None) -> Gap:
        progress, instrument = self.progress, self._job.instrument
        gap = Gap(
            exchange=self._job.exchange,
            symbol=instrument.symbol,
            raw_symbol=progress.raw_symbol,
            source="derived",
            gap_id=f"{CONN}:{progress.epoch}:{progress.offset + 1}",
            phase="close",
            channel=self._job.target.history.channel,
            cause="restart" if hole is None else "overflow" if hole.is_too_much else "expired",
            ts_from=start,
            ts_to=end,
            repair="full" if hole is None else "none",
            recovered=progress.since if hole is None else 0,
        )
        self._number(gap, end)
        return gap

    # --- on the disk

    def _put(self, record: Record, day: str, blobs: dict[str, list[bytes]]) -> None:
        files = self.progress.files
        if not files or files[-1].day != day:
            files.append(self._new(day, record))
            blobs[files[-1].path] = [self._header(files[-1])]
        blobs.setdefault(files[-1].path, []).append(encode(record) + b"\n")

    def _new(self, day: str, record: Record) -> FileState:
        path = f"{self._job.name}-{record.offset}.part"
        return FileState(path=path, day=day, ts=self._clock(), first=record.offset)

    def _header(self, file: FileState) -> bytes:
        job = self._job
        channel, raw_symbol = job.target.history.channel, self.progress.raw_symbol
        instrument = structs.replace(job.instrument, exchange=job.exchange, ts_recv=file.ts)
        return FileHeader(
            SCHEMA, self.progress.epoch, file.first - 1, file.ts, job.exchange, channel, instrument.symbol, raw_symbol,
            [instrument], [],
        ).line()  # fmt: skip

    def _append(self, blobs: dict[str, list[bytes]]) -> None:
        for file in self.progress.files:
            lines = blobs.get(file.path)
            if lines:
                file.size = write_at(self._folder / file.path, file.size, b"".join(lines))
        self._save()

    def _close_files(self, files: list[FileState]) -> None:
        for file in list(files):
            if file.closing is None:
                values = {"date": file.day, "exchange": self._job.exchange, "channel": self.progress.channel}
                current = self._out / f"{self._template.name(values)}{SUFFIX}"
                file.closing = str(closed_path(current, file.ts, file.first).relative_to(self._out)) + ZST
                self._save()
            write_whole(self._folder / file.path, file.size, self._out / file.closing, self._clock())
            self._forget(file)

    def _forget(self, file: FileState) -> None:
        """Let go of a file that has its name."""
        (self._folder / file.path).unlink(missing_ok=True)
        self.progress.files.remove(file)
        self.progress.written.append(file.closing or "")
        self._save()


def day_of(ts: int) -> str:
    """The UTC day of a time in ns, as the folders are named."""
    return f"{calendar(ts):%Y-%m-%d}"


def write_at(path: Path, size: int, blob: bytes) -> int:
    """Put bytes behind the first `size` of a file, and have them reach the disk. Gives its new size."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(blob)
        file.flush()
        os.fsync(handle)
    return size + len(blob)


def write_whole(part: Path, size: int, final: Path, now: int) -> None:
    """Give a file its footer, compressed, under its final name: it appears whole. Raises OSError."""
    write_at(part, size, b"")
    complete(part, now)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = part.with_name(f"{part.name}{ZST}")
    with part.open("rb") as plain, temporary.open("wb") as file:
        zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).copy_stream(plain, file, size=part.stat().st_size)
        file.flush()
        os.fsync(file.fileno())
    os.link(temporary, final)  # where a file of that name has come meanwhile it fails, and nothing is overwritten
    temporary.unlink()
    sync(final.parent)
