"""The processor time that a cluster takes for a record, beyond gathering it: `python -m tests.cluster.costs`."""

import time
from collections.abc import Callable
from copy import copy

from aggregator.cluster.share import Share, ShareFrame
from aggregator.cluster.writer import MOST_FRAME_BYTES
from aggregator.records import BookDelta, Record, Trade, decode_record
from tests.support.cases import say

COUNT = 200_000
AT_ONCE = 20
START_NS = 1_796_000_000_000_000_000
STEP_NS = 200_000


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


def timed(what: str, act: Callable[[], None]) -> None:
    begun = time.process_time()
    act()
    say(f"{what}: {(time.process_time() - begun) / COUNT * 1e6:.2f} µs a record")


def main() -> None:
    records = [record(number) for number in range(1, COUNT + 1)]
    owner, other, standby = (Share("x", {"book"}) for _ in range(3))
    owner.begun = 1
    frames: list[ShareFrame] = []

    def gather(share: Share) -> None:
        for at in range(0, COUNT, AT_ONCE):
            share.gather([copy(each) for each in records[at : at + AT_ONCE]], START_NS + at * STEP_NS)

    def write() -> None:
        while (frame := owner.next_frame(500, MOST_FRAME_BYTES)) is not None:
            frames.append(frame)
            owner.stored(frame)

    def read() -> None:
        for frame in frames:
            other.heard(1, frame.last, [decode_record(line) for line in frame.payload.splitlines()])

    timed("an owner: copied and held", lambda: gather(owner))
    timed("an owner: numbered and encoded", write)
    timed("read back and noted", read)
    timed("held as a ring", lambda: gather(standby))
    say(f"{sum(len(frame.payload) for frame in frames) / COUNT:.0f} bytes a record")


if __name__ == "__main__":
    main()
