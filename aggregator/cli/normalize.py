"""`aggregator normalize`."""

import gc
import os
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import islice
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import click
import msgspec
from msgspec import Struct

from aggregator.capture.line import CaptureBlock, CaptureLine
from aggregator.capture.listed import listed_by
from aggregator.capture.reading import read_blocks
from aggregator.capture.replay import ParseOnly, Replay, unread
from aggregator.catalog.catalog import aliases_of
from aggregator.catalog.registry import load_exchange
from aggregator.cli import EXIT_ERROR, counted, fail
from aggregator.cli.completing import exchanges
from aggregator.cli.pace import ReadingPace
from aggregator.daemon.printable import printable
from aggregator.errors import BadFrame, NotACapture
from aggregator.exchange import Exchange
from aggregator.records import Gap, Instrument, Record

encode, encode_lines = msgspec.json.Encoder().encode, msgspec.json.Encoder().encode_lines
TOGETHER = 256  # records that are encoded together: about 64 kB
GC_THRESHOLD = (50_000, 20, 50)  # records are not tracked, so a young collection finds little
AHEAD = 2  # captures that are read before their turn comes, or are done, for each process
PIECE_BYTES = 2**20
FRAMES = {"in", "rest"}  # lines of a capture that an exchange has said
LONGEST_SHOWN = 200  # characters of a frame and of an error that a complaint shows


def find_exchange(id: str, *, asked: bool = False) -> Exchange:
    """The connector of an id; a usage error that says why there is none, and what was probably meant.

    asked: whether the exchange is to be asked for something, which one that is only archived cannot be
    """
    exchange = load_exchange(id)
    if exchange is None or (asked and not exchange.feeds):
        from aggregator.config.schema import why_not  # pydantic takes as long to import as all else that is needed

        raise click.UsageError(why_not(id, is_built=False) or id)
    return exchange


def read_instruments(exchange: Exchange, path: Path | None) -> list[Instrument]:
    """The instruments of a listing's answer that stands in a file (and those that a connector names itself)."""
    try:
        bodies = [] if path is None else [path.read_bytes()]
        listed = listed_by(exchange, bodies, aliases_of(exchange.id))
    except OSError as error:
        raise fail(f"{path}: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001 - whatever the file holds, it is no listing
        raise fail(f"{path}: not an answer of {exchange.id}'s listing: {error}") from None
    for warning in listed.warnings:
        click.echo(printable(warning), err=True)
    return list(listed.instruments)


class Terms(Struct, frozen=True):
    """The reading of every capture, as the options say it."""

    exchange: str
    stream: str | None
    instruments: list[Instrument]
    only_parse: bool
    number_lines: bool


class CaptureCounts(Struct):
    """The figures of one capture: frames, lines and frames that cannot be read, records, and gaps among them.

    own: records of the exchange itself
    """

    frames: int = 0
    bad: int = 0
    records: int = 0
    gaps: int = 0
    own: int = 0

    def add(self, other: "CaptureCounts") -> None:
        """Add those of another one."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Printer:
    """Writes the records of one capture, with their line of it where asked for.

    say: tells a complaint
    """

    def __init__(self, terms: Terms, out: BinaryIO, say: Callable[[str], object]) -> None:
        """Count offsets from 1."""
        self.counts = CaptureCounts()
        self._exchange = terms.exchange
        self._number_lines = terms.number_lines
        self._out = out
        self._say = say
        self._pending: list[Record] = []
        self._at = 0  # the time of the line before
        self._waiting: list[int] = []  # lines at the start whose gaps wait for a time

    @property
    def is_free(self) -> bool:
        """Tell whether it is all the same which of several lines a record is of, and when the first of them was."""
        return not self._number_lines and not self._waiting

    def print(self, records: Sequence[Record], line: int) -> None:
        """Write the records of a line, or keep them until there are more."""
        counts, pending = self.counts, self._pending
        for offset, record in enumerate(records, counts.records + 1):
            record.offset = offset
        counts.records += len(records)
        derived = [record.source for record in records].count("derived")
        counts.own += len(records) - derived
        if derived:
            counts.gaps += sum(map(_begins_gap, records))
        pending += records
        if self._number_lines:
            self._out.writelines(encode(record)[:-1] + b',"line":%d}\n' % line for record in pending)
            pending.clear()
        elif len(pending) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write the records that are kept."""
        self._out.write(encode_lines(self._pending))
        self._pending.clear()

    def complain(self, line: int, error: Exception | str, frame: bytes) -> None:
        """Name a frame that could not be read."""
        self.counts.bad += 1
        said = str(error)[:LONGEST_SHOWN] or type(error).__name__
        shown = frame[:LONGEST_SHOWN].decode(errors="replace")
        self._say(f"line {line}: a frame that cannot be read: {said}: {shown}")

    def complain_of(self, replay: Replay, line: int) -> None:
        """Name frames that a session could not read."""
        if replay.bad_frames:
            for bad in replay.bad_frames:
                self.complain(line, bad.error, bad.frame)
            replay.bad_frames.clear()

    def skip(self, line: int, error: BadFrame) -> None:
        """Name a line that cannot be read itself: what it held is missing since the line before."""
        self.counts.bad += 1
        self._say(f"line {line}: {str(error)[:LONGEST_SHOWN]}")
        if self._at:
            self.print_gap(line, self._at)
        else:
            self._waiting.append(line)

    def reach(self, ts: int) -> None:
        """A line's time: the first one is that of the lines before it that cannot be read."""
        self._at = ts
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for line in waiting:
                self.print_gap(line, ts)

    def tell(self, words: list[str]) -> None:
        """Name the words of frames that mean nothing to us, each once."""
        for word in words:
            self._say(word)
        words.clear()

    def print_gap(self, line: int, ts: int) -> None:
        """Write the gap that stands for such a frame."""
        self.print([unread(self._exchange, "", self.counts.bad, ts)], line)


def _begins_gap(record: Record) -> bool:
    return isinstance(record, Gap) and record.source == "derived" and record.phase != "close"


def parse_only(reader: ParseOnly, line: CaptureLine, number: int, printer: Printer) -> None:
    """Print what the parser alone makes of one line."""
    try:
        printer.print(reader.feed(line), number)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a frame provokes, it is one frame
        printer.complain(number, error, (line.raw or line.raw_b64 or "").encode())
        printer.print_gap(number, line.time)


def converse(replay: Replay, line: CaptureLine, at: int, number: int, printer: Printer) -> None:
    """Print what a session makes of one line.

    at: the time that the line tells, ns
    """
    try:
        printer.print(replay.feed_at(at, line), number)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - likewise: an address or base64 that is none
        printer.complain(number, error, (line.raw or line.raw_b64 or "").encode())
        printer.print_gap(number, line.time)
    printer.complain_of(replay, number)


def converse_on(replay: Replay, block: CaptureBlock, begin: int, printer: Printer) -> int:
    """Print what a session makes of lines from `begin` on that are frames of its own, and say how many these are."""
    records: list[Record] = []
    count = replay.feed_run(block, begin, records)
    if count:
        last = block.first + begin + count - 1
        printer.counts.frames += count
        printer.print(records, last)
        printer.complain_of(replay, last)
        printer.reach(replay.wall)
    return count


def normalize(
    file: Path,
    terms: Terms,
    out: BinaryIO,
    say: Callable[[str], object],
    told: Callable[[CaptureCounts, int], object] = lambda _counts, _read: None,
) -> CaptureCounts:
    """Write the records of one capture.

    told: is told now and then how far it is: what was counted, and how many bytes of the file were read
    Raises OSError, NotACapture.
    """
    reader = reader_of(terms)
    printer = Printer(terms, out, say)
    try:
        _print_all(reader, read_blocks(file, lambda at: told(printer.counts, at)), printer)
    finally:
        printer.flush()
    return printer.counts


def reader_of(terms: Terms) -> ParseOnly | Replay:
    """A reader for one capture; a usage error where the exchange has no stream of that name."""
    kind = ParseOnly if terms.only_parse else Replay
    try:
        return kind(find_exchange(terms.exchange), terms.instruments, stream=terms.stream)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _print_all(reader: ParseOnly | Replay, blocks: Iterable[CaptureBlock], printer: Printer) -> None:
    number = 0
    for block in blocks:
        at = 0
        while at < len(block.lines):
            number, count = block.first + at, 0
            if isinstance(reader, Replay) and printer.is_free:
                count = converse_on(reader, block, at, printer)
            if not count:
                _print_one(reader, block.lines[at], number, printer)
            at += count or 1
            if reader.words.news:
                printer.tell(reader.words.news)
    if isinstance(reader, Replay):
        printer.print(reader.end(), number)


def _print_one(reader: ParseOnly | Replay, line: CaptureLine | BadFrame, number: int, printer: Printer) -> None:
    try:
        if isinstance(line, BadFrame):
            raise line
        at = line.time
        printer.reach(at)
    except BadFrame as error:
        printer.skip(number, error if error is line else BadFrame(f"its ts: {error}"))
        return
    if line.dir in FRAMES:
        printer.counts.frames += 1
    if isinstance(reader, ParseOnly):
        parse_only(reader, line, number, printer)
    else:
        converse(reader, line, at, number, printer)


class Done(Struct):
    """The end of a capture: the figures, or why it cannot be read; and where another process has left the rest."""

    file: Path
    counts: CaptureCounts
    error: str = ""
    records: Path | None = None
    complaints: Path | None = None


def read_here(file: Path, terms: Terms, name: str, pace: ReadingPace) -> Done:
    """Write the records of a capture to standard output, and its complaints to standard error.

    name: stands before each complaint
    """
    before = pace.frames

    def told(counts: CaptureCounts, read: int) -> None:
        pace.frames = before + counts.frames
        pace.reach(read)

    def say(words: str) -> None:
        click.echo(printable(f"{name}{words}"), err=True)

    done = Done(file, CaptureCounts())
    try:
        done.counts = normalize(file, terms, sys.stdout.buffer, say, told)
    except BrokenPipeError:
        raise
    except (OSError, NotACapture) as error:
        done.error = _why(file, error)
    return done


def settle() -> None:
    """Let the collector look seldom: what comes of a frame is gone once it is written."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


def read_elsewhere(file: Path, terms: Terms, name: str, place: Path) -> Done:
    """Do the same in a process of its own, which leaves both in files that begin as `place`."""
    done = Done(file, CaptureCounts(), "", place.with_suffix(".records"), place.with_suffix(".complaints"))
    with place.with_suffix(".records").open("wb") as out, place.with_suffix(".complaints").open("w") as said:
        try:
            done.counts = normalize(file, terms, out, lambda words: said.write(f"{printable(f'{name}{words}')}\n"))
        except (OSError, NotACapture) as error:
            done.error = _why(file, error)
    return done


def _why(file: Path, error: OSError | NotACapture) -> str:
    return f"{file}: {error.strerror}" if isinstance(error, OSError) else str(error)


def beginning() -> BaseContext:
    """How processes begin: as copies of this one, which are there at once, where that is safe.

    A copy has none of the threads of what it is copied from, and keeps locked whatever they held.
    """
    return get_context("fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn")


@contextmanager
def read_together(files: Sequence[Path], terms: Terms, jobs: int) -> Iterator[Iterator[Done]]:
    """Read captures in so many processes, and write what comes of them in the files' order."""
    with TemporaryDirectory(prefix="normalize-") as directory:
        pool = ProcessPoolExecutor(jobs, mp_context=beginning(), initializer=settle)
        try:
            pool.submit(settle)  # so that they begin before this process has another thread
            yield _in_order(files, terms, AHEAD * jobs, pool, Path(directory))
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(files: Sequence[Path], terms: Terms, most: int, pool: Executor, directory: Path) -> Iterator[Done]:
    """Have at most so many captures read at once or waiting."""
    waiting: deque[Future[Done]] = deque()
    coming = iter(files)
    for at in range(len(files)):
        for file in islice(coming, most - len(waiting)):
            place = directory / str(at + len(waiting))
            waiting.append(pool.submit(read_elsewhere, file, terms, f"{file}: ", place))
        yield _passed_on(waiting.popleft().result())


def _passed_on(done: Done) -> Done:
    """Write what another process has left."""
    if done.complaints is not None:
        click.echo(done.complaints.read_text(), err=True, nl=False)
        done.complaints.unlink()
    if done.records is not None:
        with done.records.open("rb") as records:
            shutil.copyfileobj(records, sys.stdout.buffer, PIECE_BYTES)
        done.records.unlink()
    return done


def nothing_read(file: Path, frames: int, bad: int, id: str) -> "click.exceptions.Exit":
    """Say that no record came of a file, `bad` of whose frames cannot be read; raise what this gives."""
    if frames and not bad:
        return fail(f"{file}: no record came of {counted(frames, 'frame')}: they tell nothing, or are not {id}'s")
    return fail(
        f"{file}: 0 of {counted(frames, 'frame')} read: are they {id}'s?" if frames else f"{file}: no frame in it"
    )


@click.command(name="normalize")
@click.option("--exchange", "id", required=True, metavar="ID", shell_complete=exchanges, help="Whose frames they are.")
@click.option(
    "--stream", metavar="NAME", help="Which of its streams; else by the lines' address, or what can read them."
)
@click.option(
    "--instruments",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="An answer of its listing endpoint: gives records their unified symbols and contract sizes.",
)
@click.option("--parse-only", "only_parse", is_flag=True, help="The parser alone: no book is joined, nothing checked.")
@click.option("--line-numbers", is_flag=True, help='Add "line" (from 1, of the input) to each record.')
@click.option("--jobs", "-j", type=click.IntRange(1), default=1, show_default=True, help="Captures at once.")
@click.argument(
    "files",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    nargs=-1,
    required=True,
    metavar="FILE…",
)
def command(
    id: str,
    stream: str | None,
    instruments: Path | None,
    only_parse: bool,
    line_numbers: bool,
    jobs: int,
    files: tuple[Path, ...],
) -> None:
    """Captured frames of one exchange, as records on standard output.

    FILE holds capture lines ({"ts","dir","raw"|"raw_b64","url"?}; .zst too; - is standard input), read as one
    connection. A frame that cannot be read gives one gap of cause parse_error and a line on standard error.

    Of several files each is read by itself: what comes is the same, and in the same order, as from a run for each.
    """
    if len(files) > 1 and any(str(file) == "-" for file in files):
        raise click.UsageError("- is read alone")
    exchange = find_exchange(id)
    settle()
    terms = Terms(exchange.id, stream, read_instruments(exchange, instruments), only_parse, line_numbers)
    reader_of(terms)  # a wrong stream is said before anything is done
    jobs = min(jobs, len(files), 4 * (os.cpu_count() or 1))
    total, is_good = CaptureCounts(), True
    with nullcontext() if jobs == 1 else read_together(files, terms, jobs) as together, ReadingPace(files) as pace:
        name = "{}: ".format if len(files) > 1 else lambda _: ""
        try:
            for done in together or (read_here(file, terms, name(file), pace) for file in files):
                is_good &= _tell(done, exchange.id)
                total.add(done.counts)
                pace.frames = total.frames
                pace.end(done.file)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # text not yet flushed goes nowhere
            return
    if pace.is_shown:
        click.echo(pace.summed_up("normalize", len(files), total.bad, total.records, total.gaps), err=True)
    if not is_good:
        raise click.exceptions.Exit(EXIT_ERROR)


def _tell(done: Done, id: str) -> bool:
    """Say what is wrong with a capture as a whole, if anything is."""
    if done.error:
        fail(done.error)
    elif not done.counts.own:
        nothing_read(done.file, done.counts.frames, done.counts.bad, id)
    return not done.error and done.counts.own > 0
