"""The processor time that a cluster takes for a record, beyond gathering it: `python -m tests.cluster.costs`.

Each is the least of some rounds: whatever else runs on the machine takes caches away, and makes a round dearer.
"""

import time
import tracemalloc
from collections.abc import Callable
from copy import copy
from typing import TypeVar

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.history import Cursor
from aggregator.cluster.share import Share, ShareFrame
from aggregator.cluster.writer import MOST_FRAME_BYTES
from aggregator.records import BookDelta, Record, Trade, decode_record
from aggregator.sources.nats_batches import Batches, BatchOrigin
from tests.support.cases import say

COUNT = 50_000
ROUNDS = 7
AT_ONCE = 20
IN_FRAME = 500
START_NS = 1_796_000_000_000_000_000
STEP_NS = 200_000
EPOCH = "20260101T000000.000000Z"
T = TypeVar("T")


def record(number: int) -> Record:
    ts = START_NS + number * STEP_NS
    if number % 2:
        return Trade(
            exchange="x",
            symbol="BTC/USDT",
            raw_symbol="BTCUSDT",
            ts_event=START_NS,
            ts_recv=ts,
            conn="x/0#1",
            price="43210.10",
            size="0.0123",
            side="buy",
            id=str(number),
            sequence=number,
        )
    return BookDelta(
        exchange="x",
        symbol="BTC/USDT",
        raw_symbol="BTCUSDT",
        ts_event=START_NS,
        ts_recv=ts,
        conn="x/0#1",
        bids=[("43210.10", "1.5")],
        asks=[("43211.10", "0.5"), ("43212.1", "2")],
        sequence=number,
    )


RECORDS = [record(number) for number in range(1, COUNT + 1)]


def gathered(begun: int) -> Share:
    """What a member has gathered: it owns the shard, or stands by."""
    share = Share("x", {"book"}, most=COUNT)
    share.begun = begun
    for at in range(0, COUNT, AT_ONCE):
        share.gather([copy(each) for each in RECORDS[at : at + AT_ONCE]], START_NS + at * STEP_NS)
    return share


def written(owner: Share) -> list[ShareFrame]:
    """Its records as frames."""
    frames = []
    while (frame := owner.next_frame(IN_FRAME, MOST_FRAME_BYTES)) is not None:
        frames.append(frame)
        owner.stored(frame)
    return frames


def read_back(frames: list[ShareFrame]) -> None:
    """The frames as a member reads them."""
    other = Share("x", {"book"})
    for frame in frames:
        other.heard(1, frame.last, [decode_record(line) for line in frame.payload.splitlines()])


def passed_on(frames: list[ShareFrame]) -> None:
    """The frames as a reader passes them on: read, published with the place that they had, and made lines again."""
    lines: list[int] = []

    def take(batch: Batch) -> None:
        lines.append(len(batch.blob))

    bus, batches = Bus(EPOCH), Batches(Cursor(EPOCH, 0), "expired")
    bus.attach(take)
    for frame in frames:
        origin = BatchOrigin(EPOCH, "cluster-x", frame.first, frame.last, 1, frame.first - 1, 1)
        for passage in batches.take(origin, "cluster.x.frames", frame.payload, START_NS, follows=True):
            for each in passage.records:
                each.upstream = (EPOCH, each.offset, "cluster-x")
            bus.publish(list(passage.records))
    assert sum(lines) > COUNT


def least(what: str, act: Callable[[T], object], prepared: Callable[[], T]) -> None:
    """Say what a thing takes for a record, without what is prepared for it."""
    taken = []
    for _ in range(ROUNDS):
        given = prepared()
        begun = time.process_time()
        act(given)
        taken.append(time.process_time() - begun)
    say(f"{what}: {min(taken) / COUNT * 1e6:.2f} µs a record")


def held() -> float:
    """The bytes of memory of a record that is held, where nothing else holds its texts."""
    lines = [line for frame in written(gathered(1)) for line in frame.payload.splitlines()]
    tracemalloc.start()
    kept = [decode_record(line) for line in lines]
    found = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    return found


def main() -> None:
    frames = written(gathered(1))
    least("an owner: copied and held", gathered, lambda: 1)
    least(f"an owner: numbered and encoded, in frames of {IN_FRAME}", written, lambda: gathered(1))
    least("read back from the stream, and noted", read_back, lambda: frames)
    least("held as a ring of 30 s", gathered, lambda: 0)
    least("a reader: passed on", passed_on, lambda: frames)
    say(f"in the stream: {sum(len(frame.payload) for frame in frames) / COUNT:.0f} bytes a record")
    say(f"in memory: {held():.0f} bytes a record")


if __name__ == "__main__":
    main()
