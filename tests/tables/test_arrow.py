"""Records to Arrow and back: equal to the last digit and nanosecond, whatever they hold."""

from typing import Any

import pytest

from aggregator.records import RECORD_TYPES, BookDelta, Record, Trade
from aggregator.tables.arrow import schema, to_batch, to_records
from aggregator.tables.columns import stored, tag
from aggregator.tables.extras import MissingPackage, needed
from tests.support.any_records import NOW, NUMBERS, Some

pa = pytest.importorskip("pyarrow")
EVERY = pytest.mark.parametrize("kind", RECORD_TYPES, ids=tag)


def sold(**more: Any) -> Trade:
    told: dict[str, Any] = {"exchange": "alpha", "symbol": "A/B", "ts_recv": NOW, "price": "1.50", "size": "2"}
    return Trade(**told | more)


@EVERY
@pytest.mark.parametrize("is_odd", [False, True])
def test_every_record_comes_back_equal(kind: type[Record], is_odd: bool) -> None:
    records = Some(is_odd=is_odd).records(kind, 200)
    epochs = [f"epoch {number % 2}" for number in range(len(records))]
    batch = to_batch(kind, records, epochs)
    batch.validate(full=True)
    assert batch.schema.equals(schema(kind), check_metadata=True)
    assert batch["epoch"].to_pylist() == epochs
    assert to_records(kind, batch) == records


@EVERY
def test_a_type_has_one_schema_also_without_records(kind: type[Record]) -> None:
    assert to_batch(kind, [], "epoch").schema.equals(schema(kind))
    assert schema(kind).names == [column.name for column in stored(kind)]


def test_a_number_is_a_double_and_its_own_digits() -> None:
    batch = to_batch(Trade, [sold(price=number) for number in NUMBERS], "epoch")
    assert batch["price_text"].to_pylist() == NUMBERS
    assert batch["price"].to_pylist() == [float(number) for number in NUMBERS]


def test_what_is_no_number_is_null_beside_its_text() -> None:
    texts = ["NaN", "", "9" * 400, "2"]
    batch = to_batch(Trade, [sold(price=text) for text in texts], "epoch")
    assert (batch["price"].to_pylist(), batch["price_text"].to_pylist()) == ([None, None, None, 2.0], texts)


def test_levels_are_rows_with_both() -> None:
    book = BookDelta(exchange="alpha", symbol="A/B", ts_recv=NOW, bids=[("1.50", "2")], asks=[])
    batch = to_batch(BookDelta, [book], "epoch")
    assert batch["bids"].to_pylist() == [[{"price": 1.5, "size": 2.0, "price_text": "1.50", "size_text": "2"}]]
    assert batch["asks"].to_pylist() == [[]]


def test_an_integer_that_fits_no_column_is_null_and_told() -> None:
    batch = to_batch(Trade, [sold(sequence=2**64), sold(sequence=7)], "epoch")
    assert batch["sequence"].to_pylist() == [None, 7]
    assert batch["misfits"].to_pylist() == ['{"sequence":18446744073709551616}', None]


def test_times_are_utc_and_keep_their_nanoseconds() -> None:
    batch = to_batch(Trade, [sold(ts_event=NOW + 1)], "epoch")
    assert str(batch.schema.field("ts_event").type) == "timestamp[ns, tz=UTC]"
    assert batch["ts_event"].cast(pa.int64()).to_pylist() == [NOW + 1]


def test_a_table_of_an_earlier_schema_is_read_with_defaults() -> None:
    batch = to_batch(Trade, [sold(id="7")], "epoch")
    fewer = batch.select([name for name in batch.schema.names if name not in {"id", "count", "misfits"}])
    assert to_records(Trade, fewer) == [sold()]


def test_a_missing_package_is_named_with_what_installs_it() -> None:
    with pytest.raises(MissingPackage, match=r"reading Parquet needs nopackage: pip install nopackage, or '.*research"):
        needed("nopackage.sub", "reading Parquet")
