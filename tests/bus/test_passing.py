"""Batches that pass from one process to another: the same lines, with offsets of the receiver."""

import pytest
from msgspec import structs

from aggregator.bus.bus import Batch, Bus, encode_lines
from aggregator.bus.passing import MARK_TEXT, BadPassage, MarkingBus, Packer, PassedBatch, Unpacker
from aggregator.records import RECORD_TYPES, Gap, Lag, Record, Trade
from tests.support.any_records import Some

KINDS = [kind for kind in RECORD_TYPES if kind is not Lag]


def passed(records: list[Record], first: int = 1, packer: Packer | None = None) -> PassedBatch:
    """The batch that the other side has of some records."""
    return Unpacker().unpack(frame_of(records, packer or Packer()), "here", first)


def frame_of(records: list[Record], packer: Packer) -> memoryview:
    bus, frames = MarkingBus("there"), list[bytes]()
    bus.attach(lambda batch: frames.append(b"".join(packer.pack(batch))))
    bus.publish([structs.replace(record) for record in records])
    return memoryview(frames[0])


def told(records: list[Record], first: int = 1) -> Batch:
    """The batch that a single process would have."""
    bus, found = Bus("here"), list[Batch]()
    bus.offset = first - 1
    bus.attach(found.append)
    bus.publish([structs.replace(record) for record in records])
    return found[0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_batch_is_what_a_single_process_would_have(kind: type[Record]) -> None:
    records = Some(7).records(kind, 40)
    one, other = told(records, 999), passed(records, 999)
    assert other.lines == one.lines
    assert other.blob == one.blob
    assert other.size == one.size
    assert other.keys == one.keys
    assert list(other.times) == list(one.times)
    assert list(other.offsets) == list(one.offsets)
    assert (other.first, other.last, other.last_ts, len(other)) == (one.first, one.last, one.last_ts, len(one))
    assert encode_lines(other.records) == one.blob
    assert encode_lines([other.record(3)]) == one.lines[3]
    assert other.epoch == "here"


def test_what_is_new_of_topics_is_told_once() -> None:
    packer, unpacker = Packer(), Unpacker()
    some = Some(3)
    records = [some.record(kind) for kind in KINDS for _ in range(3)]
    first, second = frame_of(records, packer), frame_of(records[::-1], packer)
    assert len(second) < len(first)
    assert unpacker.unpack(first, "here", 1).lines == told(records).lines
    assert unpacker.unpack(second, "here", 1).lines == told(records[::-1]).lines


def test_a_text_that_looks_like_the_mark_is_text() -> None:
    text = f"x{MARK_TEXT.decode()}y"
    records = list[Record]([Trade(exchange=text, raw_symbol=text, symbol=text, price=text, size="1", ts_recv=1)] * 2)
    assert passed(records).lines == told(records).lines


def test_parts_of_a_batch_have_their_own_offsets_and_lines() -> None:
    records = Some(2).records(Trade, 10)
    one, other = told(records), passed(records)
    for part, same in [
        (other.part(2, 5), one.part(2, 5)),
        (other.chosen([1, 4, 9]), one.chosen([1, 4, 9])),
        (other.few([0, 8]), one.few([0, 8])),
        (Batch.joined([other.part(0, 2), other.part(2, 10)]), one),
        (Batch.joined([one.part(0, 2), other.part(2, 10)]), one),
    ]:
        assert part.lines == same.lines
        assert part.blob == same.blob
        assert list(part.offsets) == list(same.offsets) == [record.offset for record in part.records]
        assert part.keys == same.keys
        assert (part.first, part.last, part.count) == (same.first, same.last, same.count)
        assert encode_lines([part.record(1)]) == same.lines[1]


def test_records_are_not_read_before_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = passed(Some(2).records(Trade, 10))

    def refuse(line: bytes) -> Record:
        raise AssertionError(line)

    monkeypatch.setattr("aggregator.bus.passing.decode_record", refuse)
    joined = Batch.joined([batch.part(0, 2), batch.part(2, 10)])
    assert joined.blob
    assert joined.lines
    assert joined.keys
    assert joined.last == 10


def test_what_is_torn_is_no_batch() -> None:
    packed = frame_of([*Some(2).records(Trade, 4), *Some(2).records(Gap, 2)], Packer())
    unpacker = Unpacker()
    end = len(packed)
    lines = len(b"".join(told([*Some(2).records(Trade, 4), *Some(2).records(Gap, 2)]).lines))
    for length in range(0, end - lines, 3):
        with pytest.raises(BadPassage):
            unpacker.unpack(packed[:length], "here", 1)


def test_a_batch_of_another_process_is_shown_to_whoever_watches() -> None:
    gap = Gap(exchange="x", channel="trades", gap_id="1", phase="open", cause="checksum", ts_from=1)
    trade = Trade(price="1", size="1")
    for records, is_seen in ((list[Record]([trade]), False), (list[Record]([trade, gap]), True)):
        for bus in (Bus("here"), MarkingBus("here")):
            seen = list[Batch]()
            bus.watch(seen.append)
            bus.hand_on(passed(records))
            bus.publish([structs.replace(record) for record in records])
            assert len(seen) == 2 * is_seen
