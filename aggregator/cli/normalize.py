"""`aggregator normalize`."""

import os
import sys
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from aggregator.capture.line import CaptureLine
from aggregator.capture.listed import listed_by
from aggregator.capture.recorder import read_capture
from aggregator.capture.replay import ParseOnly, Reader, Replay, unread
from aggregator.catalog.catalog import aliases_of
from aggregator.catalog.registry import load_exchange
from aggregator.cli import counted, fail
from aggregator.cli.completing import exchanges
from aggregator.config.schema import why_not
from aggregator.daemon.printable import printable
from aggregator.errors import BadFrame, NotACapture
from aggregator.exchange import Exchange
from aggregator.records import Instrument, Record

encode = msgspec.json.Encoder().encode
FRAMES = {"in", "rest"}  # lines of a capture that an exchange has said
LONGEST_SHOWN = 200  # characters of a frame and of an error that a complaint shows


def find_exchange(id: str, *, asked: bool = False) -> Exchange:
    """The connector of an id; a usage error that says why there is none, and what was probably meant.

    asked: whether the exchange is to be asked for something, which one that is only archived cannot be
    """
    exchange = load_exchange(id)
    if exchange is None or (asked and not exchange.feeds):
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


class Printer:
    """Writes records to standard output, with their line of the input where asked for."""

    def __init__(self, exchange: Exchange, *, number_lines: bool) -> None:
        """Count offsets from 1."""
        self._exchange = exchange
        self._number_lines = number_lines
        self._out: BinaryIO = sys.stdout.buffer
        self._offset = 0
        self.bad = 0
        self._at = 0  # the time of the line before
        self._waiting: list[int] = []  # lines at the start whose gaps wait for a time
        self.read = 0  # records of the exchange itself

    def print(self, records: list[Record], line: int) -> None:
        """Write records that one line gave."""
        for record in records:
            record.offset = self._offset + 1
            text = encode(record)
            self._offset += 1
            self.read += record.source != "derived"
            if self._number_lines:
                text = text[:-1] + b',"line":%d}' % line
            self._out.write(text + b"\n")

    def complain(self, line: int, error: Exception | str, frame: bytes) -> None:
        """Name a frame that could not be read, on standard error."""
        self.bad += 1
        said = str(error)[:LONGEST_SHOWN] or type(error).__name__
        shown = frame[:LONGEST_SHOWN].decode(errors="replace")
        click.echo(printable(f"line {line}: a frame that cannot be read: {said}: {shown}"), err=True)

    def skip(self, line: int, error: BadFrame) -> None:
        """Name a line that cannot be read itself: what it held is missing since the line before."""
        self.bad += 1
        click.echo(printable(f"line {line}: {str(error)[:LONGEST_SHOWN]}"), err=True)
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

    def tell(self, reader: Reader) -> None:
        """Name on standard error the words of frames that mean nothing to us, each once."""
        for word in reader.words.news:
            click.echo(printable(word), err=True)
        reader.words.news.clear()

    def print_gap(self, line: int, ts: int) -> None:
        """Write the gap that stands for such a frame."""
        self.print([unread(self._exchange.id, "", self.bad, ts)], line)


def parse_only(reader: ParseOnly, line: CaptureLine, number: int, printer: Printer) -> None:
    """Print what the parser alone makes of one line."""
    try:
        printer.print(reader.feed(line), number)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a frame provokes, it is one frame
        printer.complain(number, error, (line.raw or line.raw_b64 or "").encode())
        printer.print_gap(number, line.time)


def converse(replay: Replay, line: CaptureLine, number: int, printer: Printer) -> None:
    """Print what a session makes of one line."""
    try:
        printer.print(replay.feed(line), number)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - likewise: an address or base64 that is none
        printer.complain(number, error, (line.raw or line.raw_b64 or "").encode())
        printer.print_gap(number, line.time)
    for reason, frame in replay.bad_frames:
        printer.complain(number, reason, frame)
    replay.bad_frames.clear()


def nothing_read(file: Path, frames: int, bad: int, id: str) -> "click.exceptions.Exit":
    """Say that no record came of a file, `bad` of whose frames cannot be read; raise what this gives."""
    if frames and not bad:
        return fail(f"{file}: no record came of {counted(frames, 'frame')}: they tell nothing, or are not {id}'s")
    return fail(
        f"{file}: 0 of {counted(frames, 'frame')} read: are they {id}'s?" if frames else f"{file}: no frame in it"
    )


def timed(line: CaptureLine | BadFrame) -> CaptureLine | BadFrame:
    """A line, or what is wrong with its `ts`."""
    try:
        if isinstance(line, CaptureLine):
            line.time  # noqa: B018 - asked for what it raises
    except BadFrame as error:
        return BadFrame(f"its ts: {error}")
    return line


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
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
def command(
    id: str, stream: str | None, instruments: Path | None, only_parse: bool, line_numbers: bool, file: Path
) -> None:
    """Captured frames of one exchange, as records on standard output.

    FILE holds capture lines ({"ts","dir","raw"|"raw_b64","url"?}; .zst too; - is standard input), read as one
    connection. A frame that cannot be read gives one gap of cause parse_error and a line on standard error.
    """
    exchange = find_exchange(id)
    known = read_instruments(exchange, instruments)
    printer = Printer(exchange, number_lines=line_numbers)
    number = frames = 0
    try:
        reader = (ParseOnly if only_parse else Replay)(exchange, known, stream=stream)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        for number, found in read_capture(file):
            line = timed(found)
            if isinstance(line, BadFrame):
                printer.skip(number, line)
                continue
            printer.reach(line.time)
            frames += line.dir in FRAMES
            if isinstance(reader, ParseOnly):
                parse_only(reader, line, number, printer)
            else:
                converse(reader, line, number, printer)
            printer.tell(reader)
        if isinstance(reader, Replay):
            printer.print(reader.end(), number)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # text that is not yet flushed goes nowhere
        return
    except NotACapture as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{file}: {error.strerror}") from None
    if not printer.read:
        raise nothing_read(file, frames, printer.bad, exchange.id)
