"""What the `parquet` sink writes is what every reader reads: a small part of `tests.support.round_trip`."""

from pathlib import Path

import pytest

from aggregator.records import RECORD_TYPES, Record
from aggregator.tables.columns import tag
from tests.support.round_trip import differences, expected, made, readers, round_trip

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.waits


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=tag)
def test_every_reader_reads_each_cell(kind: type[Record], tmp_path: Path) -> None:
    wrong = round_trip(kind, 60, 7, tmp_path, readers())
    assert {name: found for name, found in wrong.items() if found} == {}


def test_a_difference_is_found() -> None:
    kind = RECORD_TYPES[0]
    records = made(kind, 20, 7)
    for offset, record in enumerate(records):
        record.offset = offset
    wanted = expected(kind, records)
    records[3].price = "1.0000000000000001"  # type: ignore[attr-defined]
    found = expected(kind, records)
    times = [name for name in found.column_names if name.startswith("ts_")]
    assert differences(found, wanted, kind) == sorted(
        ["price", "price_text", "product", *(f"{n} is int64" for n in times)]
    )
    assert differences(found.slice(1), wanted, kind) == ["19 rows for 20"]
