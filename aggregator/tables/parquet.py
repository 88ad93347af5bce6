"""Records as Parquet files, in the folders of a tree of tables. This needs pyarrow, and says so."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from aggregator.records import Record
from aggregator.tables.arrow import schema, to_batch
from aggregator.tables.columns import Column, stored
from aggregator.tables.extras import needed
from aggregator.tables.tree import TableFile, TableForm

SUFFIX = ".parquet"
LEVEL = 3  # zstd's own


class ParquetFile(TableFile):
    """One file, row group by row group."""

    def __init__(self, path: Path, record: type[Record], level: int = LEVEL) -> None:
        """Begin it, with this level of compression. Raises OSError."""
        super().__init__(path)
        whole = schema(record)
        self._writer = needed("pyarrow.parquet").ParquetWriter(self._file, whole, **options(record, level))

    def write(self, parts: Sequence[Any]) -> None:
        """Add a row group of these batches. Raises OSError."""
        table = needed("pyarrow").Table.from_batches(parts)
        self._writer.write_table(table, row_group_size=max(1, len(table)))
        self.rows += len(table)

    def _finish(self) -> None:
        self._writer.close()


def options(record: type[Record], level: int = LEVEL) -> dict[str, Any]:
    """How the columns of a type are written: words as dictionaries, integers as differences, doubles by their bytes."""
    words, encodings = [], {}
    for path, column in _leaves(stored(record)):
        if column.kind in {"word", "words"}:
            words.append(path)
        elif column.kind in {"time", "count"}:
            encodings[path] = "DELTA_BINARY_PACKED"
        elif column.kind == "measure":
            encodings[path] = "BYTE_STREAM_SPLIT"
    return {
        "compression": "zstd",
        "compression_level": level,
        "use_dictionary": words,
        "column_encoding": encodings,
        "write_page_index": True,
    }


def _leaves(columns: Iterable[Column], before: str = "") -> Iterable[tuple[str, Column]]:
    for column in columns:
        name = before + column.name
        if column.kind == "rows":
            yield from _leaves(column.parts, f"{name}.list.element.")
        else:
            yield (f"{name}.list.element" if column.kind == "words" else name), column


def parquet_form(level: int = LEVEL) -> TableForm:
    """Parquet, with this level of compression."""
    return TableForm((SUFFIX,), to_batch, partial(ParquetFile, level=level))


def is_parquet(path: Path) -> bool:
    """Tell whether a file's name is that of a whole Parquet file."""
    return path.name.endswith(SUFFIX) and not path.name.startswith(".")
