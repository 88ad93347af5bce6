"""Rows of one type of record, on their way to whichever library computes with them."""

from collections.abc import Callable, Iterator
from typing import Any

from aggregator.records import Record
from aggregator.tables.arrow import schema, to_records
from aggregator.tables.columns import MISFITS, TEXT, columns, tag
from aggregator.tables.extras import needed


class Rows:
    """Rows of one type of record, in the order of the stream. Nothing is read before they are asked for.

    Each call reads anew; `batches` and `reader` hold no more than a batch in memory.
    """

    def __init__(self, record: type[Record], read: Callable[[], Iterator[Any]]) -> None:
        """Give what `read` reads: record batches."""
        self.record = record
        self._read = read

    @property
    def schema(self) -> Any:
        """The schema of pyarrow that every batch has."""
        return schema(self.record)

    def batches(self) -> Iterator[Any]:
        """Record batches of pyarrow, one behind the other."""
        return self._read()

    def reader(self) -> Any:
        """A reader of pyarrow over all batches, which DuckDB can query as it stands: `duckdb.sql("FROM reader")`."""
        return needed("pyarrow").RecordBatchReader.from_batches(self.schema, self._read())

    def to_pyarrow(self) -> Any:
        """A table of pyarrow."""
        return needed("pyarrow").Table.from_batches(self._read(), self.schema).unify_dictionaries()

    def to_polars(self, *, digits: bool = True) -> Any:
        """A frame of polars; `digits`: with the exchange's own digits beside each number."""
        return needed("polars").from_arrow(self._chosen(digits=digits))

    def to_pandas(self, *, digits: bool = True) -> Any:
        """A frame of pandas; `digits`: as above. Integers that may be missing are `Int64`, and never floats."""
        pandas, pa = needed("pandas"), needed("pyarrow")
        integers = {pa.int64(): pandas.Int64Dtype(), pa.bool_(): pandas.BooleanDtype()}
        return self._chosen(digits=digits).to_pandas(types_mapper=integers.get)

    def records(self) -> Iterator[Record]:
        """The records themselves."""
        for batch in self._read():
            yield from to_records(self.record, batch)

    def _chosen(self, *, digits: bool) -> Any:
        table = self.to_pyarrow()
        if digits:
            return table
        left = {column.name + TEXT for column in columns(self.record) if column.kind == "number"} | {MISFITS}
        return table.select([name for name in table.schema.names if name not in left])

    def __repr__(self) -> str:
        return f"Rows of {tag(self.record)}: batches(), to_polars(), to_pandas(), to_pyarrow(), reader(), records()"
