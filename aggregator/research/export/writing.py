"""How an export reaches the disk, and the report that lies in it."""

import os
import shutil
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import msgspec
from msgspec import Struct

from aggregator.errors import AggregatorError
from aggregator.research.export.market import RecordedMarket, Unknown
from aggregator.research.gaps import GapInterval

REPORT = "report.json"
NAME_CHARACTERS = 80  # a market's name in that of a file is cut there


class CannotExport(AggregatorError):
    """The target cannot hold what is asked for, or there is nothing to export; the words say what."""


class ExportedFile(Struct):
    """A file of an export.

    name: below the export's directory
    ts_from, ts_to: our clock at its first and last row
    """

    name: str
    rows: int
    ts_from: int
    ts_to: int


class ExportedMarket(Struct, kw_only=True):
    """One market of an export: what is in it, and what is not. Times are nanoseconds of our clock.

    counts: the records that went in, by their type
    left_out: records that did not, by the reason
    adjusted: rows whose times or numbers are not quite those of the records, by the reason
    unknown: when the book is not known: there is none in the export, from a clear to the next whole book
    gaps: every gap of the recording that concerns the market
    details: what the target needs to know beside the files
    """

    exchange: str
    symbol: str | None
    raw_symbol: str | None
    files: list[ExportedFile] = []
    counts: dict[str, int] = {}
    left_out: dict[str, int] = {}
    adjusted: dict[str, int] = {}
    unknown: list[Unknown] = []
    gaps: list[GapInterval] = []
    details: dict[str, str | int | None] = {}


class ExportReport(Struct, kw_only=True):
    """The report of an export, `report.json` in it.

    target: what it is for, with the version where a library wrote it
    defects: what of the recording could not be read
    """

    target: str
    markets: list[ExportedMarket] = []
    defects: list[str] = []


def exported(market: RecordedMarket) -> ExportedMarket:
    """The report that a market gives of itself once its steps are through."""
    return ExportedMarket(
        exchange=market.exchange,
        symbol=market.symbol,
        raw_symbol=market.raw_symbol,
        counts=market.counts,
        left_out=market.left_out,
        unknown=market.unknown,
        gaps=market.gaps,
    )


def safe(name: str) -> str:
    """A name as a part of a file's, whatever it is: percent-encoded, short, and no other's."""
    text = quote(name, safe="", errors="surrogatepass").replace(".", "%2E") or "%none"
    if len(text) <= NAME_CHARACTERS:
        return text
    return f"{text[:NAME_CHARACTERS]}~{blake2b(text.encode(), digest_size=8).hexdigest()}"


class Folder:
    """The directory of an export. It has its name once everything is in it, and what fails leaves nothing."""

    def __init__(self, out: Path) -> None:
        """Begin it. Raises CannotExport where something is there already, OSError."""
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise CannotExport(f"{out} is there already: name another directory, or remove it")
        self.out = out
        self.path = out.absolute().with_name(f".{out.name}.unfinished")
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)

    def finish(self, report: ExportReport) -> None:
        """Lay the report in, and give it its name. Raises OSError."""
        text = msgspec.json.format(msgspec.json.encode(report), indent=2)
        (self.path / REPORT).write_bytes(text + b"\n")
        for folder, _, names in os.walk(self.path):
            for name in names:
                with (Path(folder) / name).open("rb") as file:
                    os.fsync(file.fileno())
        self.path.replace(self.out)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave nothing of what was not finished."""
        with suppress(OSError):
            shutil.rmtree(self.path)
