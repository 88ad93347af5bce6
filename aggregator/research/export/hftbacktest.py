"""Events as hftbacktest 2 reads them: a compressed `.npz` for each market and UTC day, which holds one array, `data`.

The rows that the exchange has (`EXCH_EVENT`) are in the order of its time, those that are heard here (`LOCAL_EVENT`) in
the order of ours. Most rows are both; an event whose places in the two orders differ is two rows. At one time of the
exchange trades stand before the book's changes, which hold what was traded already.
"""

import shutil
from array import array
from collections.abc import Iterator
from itertools import accumulate, repeat
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from aggregator.records import DAY_S, SECOND_NS, Levels, Record, Trade
from aggregator.research.export.market import Beside, BookChange, BookLost, RecordedMarket, Step, decimals
from aggregator.research.export.writing import CannotExport, ExportedFile, ExportedMarket, exported, safe
from aggregator.tables.extras import needed
from aggregator.tables.tree import day_name

DEPTH, TRADE, CLEAR, SNAPSHOT = 1, 2, 3, 4
SELL, BUY, LOCAL, EXCH = 1 << 28, 1 << 29, 1 << 30, 1 << 31
FIELDS = [
    ("ev", "<u8"),
    ("exch_ts", "<i8"),
    ("local_ts", "<i8"),
    ("px", "<f8"),
    ("qty", "<f8"),
    ("order_id", "<u8"),  # while rows are sorted, the number of the row
    ("ival", "<i8"),
    ("fval", "<f8"),
]
ROW_BYTES = 8 * len(FIELDS)
KIND = 0xFF  # the bits of `ev` that tell what it is
NEVER = 2**63 - 1
DIGITS = 15  # a double tells any two numbers of so many digits apart
ROWS = 2**17  # so many are in memory at a time, and what is out of order among them
LOOK = 512  # rows of the two orders are compared so many at a time
DAY_NS = DAY_S * SECOND_NS
READS: tuple[type[Record], ...] = (Trade,)


def write(market: RecordedMarket, folder: Path) -> ExportedMarket:
    """Write a market's files. Raises OSError, MissingPackage, CannotExport for a price that a double cannot hold."""
    days = _Days(market, folder)
    try:
        for step in market.steps(*READS):
            days.take(step)
        days.close()
    finally:
        days.abandon()
    report = exported(market)
    report.files = days.files
    report.adjusted = {why: count for why, count in days.adjusted.items() if count}
    instrument = market.instrument
    if instrument is None:
        report.details = {"tick_size": _step(days.decimals[0]), "lot_size": _step(days.decimals[1])}
        report.details["steps_are"] = "the finest digits seen: the recording has no instrument"
    else:
        report.details = {name: getattr(instrument, name) for name in ("tick_size", "lot_size", "contract_size")}
    return report


def _step(digits: int) -> str:
    return f"0.{'0' * (digits - 1)}1" if digits else "1"


class _Days:
    """The rows of one market, day by day."""

    def __init__(self, market: RecordedMarket, folder: Path) -> None:
        self._market = market
        self._folder = folder
        self._day = -1
        self._rows: _Rows | None = None
        self._has_book = False  # the day's rows say what the book is
        self._floor = 0  # no row of the day is earlier by the exchange's time
        self._latest = 0  # the latest time of the exchange so far
        self._of_book = 0  # likewise, of the book
        self.files: list[ExportedFile] = []
        self.decimals = [0, 0]  # behind the point, of prices and sizes, where no instrument says
        self.adjusted = dict.fromkeys((NO_TIME, AHEAD, BACK, BEFORE, NO_SIDE, ROUNDED), 0)

    def take(self, step: Step) -> None:
        """Make the rows of a step. Raises OSError, CannotExport."""
        if step.ts // DAY_NS != self._day or self._rows is None:
            self.close()
            self._day = step.ts // DAY_NS
            self._floor = self._latest
            self._has_book = False
            self._rows = _Rows(self._folder / f".{self._stem}.rows")
        rows = self._rows
        if isinstance(step, Beside):
            trade = step.record
            if isinstance(trade, Trade):
                side = BUY if trade.side == "buy" else SELL if trade.side == "sell" else 0
                self.adjusted[NO_SIDE] += not side
                levels = [(trade.price, trade.size)]
                rows.add(TRADE | side, self._time(step.ts, step.ts_exchange, 1), step.ts, *self._numbers(levels))
            return
        ts_exchange = step.ts if isinstance(step, BookLost) else step.ts_exchange
        count = 1 if isinstance(step, BookLost) else len(step.bids) + len(step.asks)
        exch = self._time(step.ts, ts_exchange, count)
        if exch < self._of_book:
            self.adjusted[BACK] += count
            exch = self._of_book
        self._of_book = exch
        kind = DEPTH
        if not isinstance(step, BookChange):
            rows.add(CLEAR, exch, step.ts, array("d", [0.0]), array("d", [0.0]))
            kind = SNAPSHOT
        elif not self._has_book:
            self._begin_with_book(exch, step.ts)
        self._has_book = True
        if not isinstance(step, BookLost):
            rows.add(kind | BUY, exch, step.ts, *self._numbers(step.bids))
            rows.add(kind | SELL, exch, step.ts, *self._numbers(step.asks))

    def _time(self, ts: int, told: int | None, rows: int) -> int:
        """The exchange's time of rows: never later than ours, and not of a day that has been written."""
        if told is None:
            self.adjusted[NO_TIME] += rows
            told = ts
        elif told > ts:
            self.adjusted[AHEAD] += rows
            told = ts
        if told < self._floor:
            self.adjusted[BEFORE] += rows
            told = min(self._floor, ts)
        self._latest = max(self._latest, told)
        return told

    def _numbers(self, levels: Levels) -> tuple["array[float]", "array[float]"]:
        for price, size in levels:
            if len(price) > DIGITS and _digits(price) > DIGITS:
                raise CannotExport(
                    f"{self._market.exchange} {self._market.name}: the price {price} has more than {DIGITS} digits, "
                    "which a double does not hold"
                )
            if len(size) > DIGITS and _digits(size) > DIGITS:
                self.adjusted[ROUNDED] += 1
        if self._market.instrument is None and levels:
            prices, sizes = zip(*levels, strict=True)
            self.decimals[0] = max(self.decimals[0], *map(decimals, prices))
            self.decimals[1] = max(self.decimals[1], *map(decimals, sizes))
        return array("d", [float(price) for price, _ in levels]), array("d", [float(size) for _, size in levels])

    def _begin_with_book(self, exch: int, ts: int) -> None:
        """A file with the book that a day begins with, for who reads that day alone."""
        rows = _Rows(self._folder / f".{self._stem}.snapshot")
        book = self._market.book
        rows.add(SNAPSHOT | BUY, exch, ts, *self._numbers(book.bids()))
        rows.add(SNAPSHOT | SELL, exch, ts, *self._numbers(book.asks()))
        self.files.append(rows.finish(self._folder / f"{self._stem}_snapshot.npz"))

    @property
    def _stem(self) -> str:
        return f"{safe(self._market.exchange)}_{safe(self._market.name)}_{day_name(self._day)}"

    def close(self) -> None:
        """End the day's file. Raises OSError."""
        if self._rows is not None:
            self.files.append(self._rows.finish(self._folder / f"{self._stem}.npz"))
            self._rows = None

    def abandon(self) -> None:
        """Let go of the file of a day that was not ended."""
        if self._rows is not None:
            self._rows.abandon()


NO_TIME = "rows without a time of the exchange, which have ours"
AHEAD = "rows whose exchange's clock was ahead of ours, which have ours"
BACK = "rows of the book that ran back by the exchange's clock, which have the time of those before"
BEFORE = "rows that the exchange has on a day before the file's, which have the last time there"
NO_SIDE = "trades without a side, which fill no order"
ROUNDED = f"sizes of more than {DIGITS} digits, which are the nearest double"


def _digits(number: str) -> int:
    return len(number.replace(".", "").replace("-", "").strip("0"))


class _Rows:
    """The rows of one file, in the order in which they are heard, on disk until they are sorted."""

    def __init__(self, path: Path) -> None:
        self._numpy = needed("numpy")
        self._path = path
        self._file = path.open("w+b")
        self._columns: dict[str, array[Any]] = {}
        self._empty()
        self._count = 0
        self._portions: list[tuple[int, int]] = []  # on disk: the rows of each, and their earliest time of the exchange

    def _empty(self) -> None:
        self._columns = {"ev": array("Q"), "exch_ts": array("q"), "local_ts": array("q")}
        self._columns |= {"px": array("d"), "qty": array("d")}

    def add(self, ev: int, exch: int, local: int, px: "array[float]", qty: "array[float]") -> None:
        """Add rows of one kind and time. Raises OSError."""
        columns, count = self._columns, len(px)
        columns["ev"].extend(repeat(ev, count))
        columns["exch_ts"].extend(repeat(exch, count))
        columns["local_ts"].extend(repeat(local, count))
        columns["px"].extend(px)
        columns["qty"].extend(qty)
        if len(columns["ev"]) >= ROWS:
            self._write()

    def _write(self) -> None:
        np = self._numpy
        count = len(self._columns["ev"])
        if not count:
            return
        block = np.zeros(count, FIELDS)
        for name, column in self._columns.items():
            block[name] = column
        block["order_id"] = np.arange(self._count, self._count + count)
        self._portions.append((count, int(block["exch_ts"].min())))
        self._count += count
        self._file.write(block.tobytes())
        self._empty()

    def abandon(self) -> None:
        """Let go of the rows on disk."""
        self._file.close()

    def finish(self, path: Path) -> ExportedFile:
        """Sort them into a file. Raises OSError."""
        self._write()
        sorted_path = self._path.with_suffix(".sorted")
        total, first, last = 0, 0, 0
        with self._file, sorted_path.open("w+b") as rows:
            for block in self._ordered():
                first = first or int(block["local_ts"][0])
                last = max(last, int(block["local_ts"].max()))
                total += len(block)
                rows.write(block.tobytes())
            rows.seek(0)
            head = {"descr": FIELDS, "fortran_order": False, "shape": (total,)}
            with ZipFile(path, "w") as file:
                entry = ZipInfo("data.npy")  # its time is 1980, so that the same rows make the same file
                entry.compress_type = ZIP_DEFLATED
                with file.open(entry, "w", force_zip64=True) as data:
                    self._numpy.lib.format.write_array_header_1_0(data, head)
                    shutil.copyfileobj(rows, data, 2**20)
        sorted_path.unlink()
        self._path.unlink()
        return ExportedFile(path.name, total, first, last)

    def _heard(self) -> Iterator[Any]:
        """The rows in portions, as they were heard."""
        at = 0
        for count, _ in self._portions:
            yield self._portion(at, count)
            at += count

    def _portion(self, at: int, count: int) -> Any:
        self._file.seek(at * ROW_BYTES)
        return self._numpy.frombuffer(self._file.read(count * ROW_BYTES), FIELDS)

    def _happened(self) -> Iterator[Any]:
        """The rows in portions, as they happened; of a portion stays what a later one may stand before."""
        np = self._numpy
        later = [NEVER, *accumulate((earliest for _, earliest in reversed(self._portions)), min)][-2::-1]
        at, left = 0, np.zeros(0, FIELDS)
        for (count, _), limit in zip(self._portions, later, strict=True):
            rows = np.concatenate([left, self._portion(at, count)])
            at += count
            rows = rows[np.lexsort((rows["ev"] & KIND != TRADE, rows["exch_ts"]))]
            end = len(rows) if limit == NEVER else int(np.searchsorted(rows["exch_ts"], limit))
            left = rows[end:]
            yield rows[:end]

    def _ordered(self) -> Iterator[Any]:
        """Both orders in one: a row of both where they agree, else two rows of one event."""
        happened, heard = _Head(self._happened()), _Head(self._heard())
        early: set[int] = set()  # rows that have been given as the exchange has them
        late: set[int] = set()  # and as they are heard
        while happened.fill() | heard.fill():
            run = happened.agrees(heard)
            if run:
                yield happened.take(run, EXCH | LOCAL)
                heard.take(run, 0)
            elif heard.number() in early:
                early.remove(heard.number())
                yield heard.take(1, LOCAL)
            elif happened.number() in late:
                late.remove(happened.number())
                yield happened.take(1, EXCH)
            elif heard.number(1) == happened.number():  # the exchange has this one later
                late.add(heard.number())
                yield heard.take(1, LOCAL)
            else:
                early.add(happened.number())
                yield happened.take(1, EXCH)


class _Head:
    """Portions of rows, of which the first is taken from."""

    def __init__(self, portions: Iterator[Any]) -> None:
        self._portions = portions
        self._rows: Any = ()
        self._numbers: Any = ()
        self._at = 0

    def fill(self) -> bool:
        """See that there is a row, and tell whether there is."""
        while self._at >= len(self._rows):
            rows = next(self._portions, None)
            if rows is None:
                return False
            self._rows, self._numbers, self._at = rows, rows["order_id"], 0
        return True

    def number(self, ahead: int = 0) -> int:
        """The number of the next row, or of one behind it; -1: it is not in memory."""
        at = self._at + ahead
        return int(self._numbers[at]) if at < len(self._rows) else -1

    def agrees(self, other: "_Head") -> int:
        """Tell how many rows from here on are the same as there."""
        if self.number() != other.number():
            return 0
        mine = self._numbers[self._at : self._at + LOOK]
        theirs = other._numbers[other._at : other._at + LOOK]  # noqa: SLF001 - it is of this class
        count = min(len(mine), len(theirs))
        differ = mine[:count] != theirs[:count]
        return int(differ.argmax()) if differ.any() else count

    def take(self, count: int, bits: int) -> Any:
        """Rows with these bits."""
        rows = self._rows[self._at : self._at + count].copy()
        self._at += count
        rows["ev"] |= rows["ev"].dtype.type(bits)
        rows["order_id"] = 0
        return rows
