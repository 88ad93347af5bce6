"""Files of Parquet, as `aggregator convert` and the `parquet` sink write them."""

from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

from aggregator.records import DAY_S, SECOND_NS, Record
from aggregator.research.choice import ABOUT, FOREVER, Choice
from aggregator.research.defects import Defect, Defects
from aggregator.research.strands import RECORDS, Place, Portion, past_day, place
from aggregator.research.times import BadMoment, nanoseconds
from aggregator.tables.arrow import schema, to_records
from aggregator.tables.columns import EPOCH, TYPE_OF, tag
from aggregator.tables.extras import needed

TYPE = b"aggregator.type"


class ParquetRecords:
    """One file of Parquet.

    record: the type of its records
    """

    def __init__(self, path: Path, defects: Defects) -> None:
        """Look at its footer. Raises OSError, ValueError where it is none of ours, MissingPackage."""
        self._pa = needed("pyarrow", "reading Parquet")
        self.path = path
        self._defects = defects
        try:
            with self._opened() as file:
                metadata, said = file.metadata, file.schema_arrow.metadata or {}
                self._spans = [_span(metadata.row_group(at)) for at in range(metadata.num_row_groups)]
        except self._pa.ArrowInvalid as error:
            defects.tell(
                Defect(path, 0, f"is no whole Parquet file: {error}", "restore it, or convert its source again")
            )
            raise ValueError(str(path)) from None
        kind = TYPE_OF.get(said.get(TYPE, b"").decode())
        if kind is None:
            raise ValueError(f"{path} holds no records of ours")
        self.record = kind
        epoch, offset, ts, conn = self._first()
        self._begins = place(epoch, offset, ts)
        self.past_day = past_day(conn, ts)  # a file holds the past of one day, or nothing of it

    def _opened(self) -> Any:
        return needed("pyarrow.parquet").ParquetFile(self.path)

    def _first(self) -> tuple[str, int, int, str]:
        if not self._spans:
            return "", 0, 0, ""
        with self._opened() as file:
            batch = next(file.iter_batches(1, [0], [EPOCH, "offset", "ts_recv", "conn"]))
        ts = batch["ts_recv"].cast(self._pa.int64())[0].as_py()
        return batch[EPOCH][0].as_py(), batch["offset"][0].as_py(), ts, batch["conn"][0].as_py() or ""

    def begins(self) -> Place:
        """The place of its first record."""
        return self._begins

    def records(self, choice: Choice) -> Iterator[Portion]:
        """The records that are wanted, as lists."""
        if self.record not in choice.types:
            return
        for portion in self.batches(choice, self.record):
            rows = to_records(self.record, portion.rows)
            if choice.is_wide and self.record in ABOUT:
                kept = [at for at, row in enumerate(rows) if choice.wants(row)]
                portion = Portion(portion.epoch, [portion.offsets[at] for at in kept], [rows[at] for at in kept])  # noqa: PLW2901
            else:
                portion.rows = rows
            if portion.rows:
                yield portion

    def batches(self, choice: Choice, record: type[Record]) -> Iterator[Portion]:
        """The records that are wanted, as record batches."""
        groups = [at for at, span in enumerate(self._spans) if span[0] < choice.end and span[1] >= choice.start]
        if record is not self.record or not groups:
            return
        try:
            with self._opened() as file:
                for batch in file.iter_batches(RECORDS, groups):
                    yield from self._portions(self._filtered(batch, choice))
        except (self._pa.ArrowInvalid, OSError) as error:
            said = f"cannot be read: {error}"
            self._defects.tell(Defect(self.path, 0, said, "what stands before is given; restore it"))

    def _filtered(self, batch: Any, choice: Choice) -> Any:
        compute, pa = needed("pyarrow.compute"), self._pa
        masks = []
        if choice.start > 0 or choice.end < FOREVER:
            ts = batch["ts_recv"].cast(pa.int64())
            masks.append(compute.and_(compute.greater_equal(ts, choice.start), compute.less(ts, choice.end)))
        if not (choice.is_wide and self.record in ABOUT):
            if choice.exchange is not None:
                masks.append(compute.equal(batch["exchange"].cast(pa.string()), choice.exchange))
            if choice.symbol is not None:
                named = [
                    compute.equal(batch[name].cast(pa.string()), choice.symbol) for name in ("symbol", "raw_symbol")
                ]
                masks.append(compute.or_kleene(*named))
        return batch.filter(reduce(compute.and_kleene, masks)) if masks else batch

    def _portions(self, batch: Any) -> Iterator[Portion]:
        """Split where the epoch changes, and bring columns that are missing or new to the schema of now."""
        if not len(batch):
            return
        batch = self._of_now(batch)
        epochs, offsets = batch[EPOCH].to_pylist(), batch["offset"].to_pylist()
        start = 0
        for at in range(1, len(epochs) + 1):
            if at == len(epochs) or epochs[at] != epochs[start]:
                yield Portion(epochs[start], offsets[start:at], batch.slice(start, at - start))
                start = at

    def _of_now(self, batch: Any) -> Any:
        wanted = schema(self.record)
        if batch.schema.equals(wanted):
            return batch
        there = set(batch.schema.names)
        arrays = [
            batch[field.name].cast(field.type) if field.name in there else self._pa.nulls(len(batch), field.type)
            for field in wanted
        ]
        return self._pa.record_batch(arrays, schema=wanted)


def _span(group: Any) -> tuple[int, int]:
    """Between which times the records of a row group lie."""
    for at in range(group.num_columns):
        column = group.column(at)
        if column.path_in_schema == "ts_recv" and column.is_stats_set and column.statistics.has_min_max:
            return int(column.statistics.min_raw), int(column.statistics.max_raw)
    return -FOREVER, FOREVER


def may_hold(path: Path, choice: Choice) -> bool:
    """Tell by the names of its folders whether a file may hold what is wanted; of other names nothing is known."""
    types = {tag(kind) for kind in choice.types}
    for part in path.parts[:-1]:
        name, found, value = part.partition("=")
        if name == "type" and found and value not in types:
            return False
        if name == "date" and found and not _overlaps(value, choice):
            return False
    return True


def _overlaps(day: str, choice: Choice) -> bool:
    try:
        start = nanoseconds(day)
    except BadMoment:
        return True
    return start < choice.end and start + DAY_S * SECOND_NS > choice.start
