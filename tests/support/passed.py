"""Records that tests publish, as the hub of several workers has them: lines that another process has written.

With `WORKERS` of more than one in the environment, every test of a directory whose `conftest.py` has `as_of_a_worker`
publishes that way. What comes of it in feed, sinks and journal has to be the same.
"""

import os
from collections.abc import Iterator, Sequence

import pytest

from aggregator.bus.bus import Batch, Bus, encode_lines
from aggregator.bus.passing import MARK, Packer, Unpacker
from aggregator.errors import UNREADABLE
from aggregator.records import Record, decode_record

WORKERS = int(os.environ.get("WORKERS", "1"))

publish = Bus.publish


def is_readable(records: Sequence[Record]) -> bool:
    """Tell whether this version can read what it writes of these: a hub and its workers are of one version."""
    try:
        for line in encode_lines(records).splitlines():
            decode_record(line)
    except UNREADABLE:
        return False
    return True


def pass_on(bus: Bus, records: list[Record]) -> None:
    """Publish records as a hub does that has them of a worker."""
    if not records or not is_readable(records):
        publish(bus, records)
        return
    first = bus.offset + 1
    for record in records:
        record.offset = MARK
    frame = b"".join(Packer().pack(Batch(records, bus.epoch)))
    for offset, record in enumerate(records, first):
        record.offset = offset
    batch = Unpacker().unpack(memoryview(frame), bus.epoch, first)
    bus.offset += batch.count
    bus.hand_on(batch)


@pytest.fixture(scope="module", autouse=True)
def as_of_a_worker() -> Iterator[None]:
    """Publish so in every test of a directory, where several workers are asked for."""
    with pytest.MonkeyPatch.context() as patch:
        if WORKERS > 1:
            patch.setattr(Bus, "publish", pass_on)
        yield
