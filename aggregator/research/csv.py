"""Files of CSV, as the `csv` sink writes them."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import zstandard
from msgspec import UNSET, structs

from aggregator.records import Record
from aggregator.research.choice import Choice
from aggregator.research.defects import Defect, Defects
from aggregator.research.strands import RECORDS, Place, Portion, batched, place
from aggregator.tables.columns import EPOCH, Column, columns
from aggregator.tables.csv import IN_JSON, ZST, type_of_file
from aggregator.tables.extras import needed

BLOCK_BYTES = 32 * 2**20  # read at once; a row that is longer than that cannot be read
LONGEST_FIELD = 2**27  # characters of a field of the first row


class CsvRecords:
    """One file of CSV.

    record: the type of its records
    """

    past_day: int | None = None  # nothing of it was asked for afterwards

    def __init__(self, path: Path, defects: Defects) -> None:
        """Look at its first rows. Raises OSError, ValueError where it is none of ours."""
        self.path = path
        self._defects = defects
        try:
            with _opened(path) as file:
                self._names = file.readline().rstrip("\r\n").split(",")
                kind = type_of_file(path, self._names)
                if kind is None:
                    raise ValueError(f"{path} holds no records of ours")
                first = next(csv.reader(file), None)
        except (zstandard.ZstdError, csv.Error) as error:
            defects.tell(Defect(path, 1, f"its beginning cannot be read: {error}", "restore it from a copy"))
            raise ValueError(str(path)) from None
        self.record = kind
        told = dict(zip(self._names, first or (), strict=False))
        self._begins = place(told.get(EPOCH, ""), _whole(told.get("offset")), _whole(told.get("ts_recv")))

    def begins(self) -> Place:
        """The place of its first record."""
        return self._begins

    def records(self, choice: Choice) -> Iterator[Portion]:
        """The records that are wanted, as lists."""
        if self.record not in choice.types:
            return
        for epoch, rows in self._read():
            wanted = list(filter(choice.wants, rows))
            if wanted:
                yield Portion(epoch, [row.offset for row in wanted], wanted)

    def batches(self, choice: Choice, record: type[Record]) -> Iterator[Portion]:
        """Those of one type, as record batches."""
        return batched(self.records(choice), record)

    def _read(self) -> Iterator[tuple[str, list[Record]]]:
        """The records, some of one epoch at a time; where the file cannot be read, that is told."""
        pa = needed("pyarrow", "reading CSV")
        reader = needed("pyarrow.csv")
        convert = reader.ConvertOptions(
            column_types=dict.fromkeys(self._names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        how = reader.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)
        parse = reader.ParseOptions(newlines_in_values=True)
        try:
            with reader.open_csv(str(self.path), how, parse, convert) as batches:
                for batch in batches:
                    for at in range(0, len(batch), RECORDS):
                        yield from self._made(batch.slice(at, RECORDS))
        except (pa.ArrowInvalid, OSError, ValueError, TypeError) as error:
            said = f"cannot be read: {error}"
            self._defects.tell(Defect(self.path, 0, said, "what stands before is given; restore it"))

    def _made(self, batch: Any) -> Iterator[tuple[str, list[Record]]]:
        """The records of a batch, split where the epoch changes. Raises ValueError."""
        types = {field.name: field.type for field in structs.fields(self.record)}
        names, held = [], []
        for column in columns(self.record)[1:]:
            if column.name in self._names:  # a file of an earlier version lacks what was not there then
                names.append(column.name)
                read, missing = _reader(column, types[column.name]), UNSET if column.kind == "words" else None
                held.append([missing if text is None else read(text) for text in batch[column.name].to_pylist()])
        start, epochs = 0, batch[EPOCH].to_pylist()
        rows = [self.record(**dict(zip(names, row, strict=True))) for row in zip(*held, strict=True)]
        for at in range(1, len(epochs) + 1):
            if at == len(epochs) or epochs[at] != epochs[start]:
                yield epochs[start] or "", rows[start:at]
                start = at


def _reader(column: Column, told: Any) -> Callable[[str], Any]:
    """A call that makes a value of a field's text."""
    if column.kind in {"time", "count"}:
        return int
    if column.kind == "measure":
        return float
    if column.kind == "flag":
        return "true".__eq__
    if column.kind in IN_JSON:
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(told)
        return decoder.decode
    return str


def _whole(text: str | None) -> int:
    return int(text) if text else 0


def _opened(path: Path) -> io.TextIOBase:
    """The text of a file. Raises OSError."""
    csv.field_size_limit(LONGEST_FIELD)
    file: Any = path.open("rb")
    if path.name.endswith(ZST):
        file = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=True)
    return io.TextIOWrapper(file, encoding="utf-8", newline="")
