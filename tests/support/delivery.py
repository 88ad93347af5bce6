"""Records given to a sink through its frame, and what came of them at the target."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import structs

from aggregator.bus.bus import Bus, encode_lines
from aggregator.records import BookDelta, Gap, Record, Trade
from aggregator.sinks.running import Running, running
from aggregator.sinks.sink import Sink
from aggregator.sinks.status import SinkStatus

Row = Mapping[str, Any]
Step = Callable[[], None]

# Symbols as exchanges have them, and such as would break a careless name.
SYMBOLS = (
    "BTC/USDT",
    "BTC/USDT:USDT",
    ".BXBT",
    "@107",
    "XAUT+",
    "BTC/USDT~BTCUSDT2",
    "tBTCF0:USTF0",
    "../x",
    "a b",
    "$x",
)
EXCHANGES = ("alpha", "beta")
EPOCH = "20260102T030405.000000Z"
PIECE = 250  # records that are published at once


def records(count: int) -> list[Record]:
    """Trades of many topics, and now and then a change of a book or a gap; no two are alike."""
    return [_record(number) for number in range(count)]


def _record(number: int) -> Record:
    symbol, exchange = SYMBOLS[number % len(SYMBOLS)], EXCHANGES[number // len(SYMBOLS) % len(EXCHANGES)]
    ts = 1_795_000_000_000_000_777 + number
    names: dict[str, Any] = {"exchange": exchange, "symbol": symbol, "raw_symbol": symbol}
    if number % 97 == 96:
        return Gap(
            **names, gap_id=f"g{number}", phase="close", channel="trades", cause="sequence", ts_from=ts, conn="a#1"
        )
    if number % 7 == 6:
        return BookDelta(**names, ts_recv=ts, conn="a#1", bids=[("60424.4500", f"{number}.5")], asks=[])
    return Trade(**names, ts_recv=ts, id=str(number), price="60424.4500", size=f"0.{number:019}", side="buy")


def _nothing() -> None:
    """Leave things as they are."""


class Delivery:
    """A sink at work in its frame, and the lines of all that was published for it."""

    def __init__(self, sink: Sink, folder: Path, timeout: float = 3.0, /, **settings: object) -> None:
        """Take the sink with these settings, and with pauses that suit a test."""
        self.bus = Bus(EPOCH)
        keys = structs.replace(
            sink.defaults, backoff=0.05, longest_backoff=0.5, timeout=timeout, queue=2000, batch_age=0.05
        )
        self.sink: Running = running(sink.configured(keys, **settings), self.bus, dead=folder / "dead")
        self.published: list[Row] = []
        self._coming: asyncio.Task[None] | None = None  # the target comes back, and the sink had to notice before

    async def run(
        self, given: int | list[Record], *, outages: int = 0, down: Step = _nothing, up: Step = _nothing
    ) -> SinkStatus:
        """Publish so many records, or these, and wait for the end.

        outages: so often on the way the target goes `down`, and comes `up` once the sink has noticed
        """
        await self.sink.start()
        await self.publish(given, outages=outages, down=down, up=up)
        return await self.end()

    async def publish(
        self, given: int | list[Record], *, outages: int = 0, down: Step = _nothing, up: Step = _nothing
    ) -> None:
        """Publish so many records, or these, no faster than the sink takes them."""
        todo = records(given) if isinstance(given, int) else given
        count = len(todo)
        due = [count * (number + 1) // (outages + 1) for number in range(outages)]
        for start in range(0, count, PIECE):
            if due and start >= due[0]:
                del due[0]
                await self._goes_on()
                down()
                self._coming = asyncio.create_task(self._come(up))
            piece = todo[start : start + PIECE]
            self.bus.publish(piece)
            self.published += [json.loads(line) for line in encode_lines(piece).splitlines()]
            await self.sink.room()
            await asyncio.sleep(0)

    async def _come(self, up: Step) -> None:
        await self.fails()
        await asyncio.to_thread(up)

    async def _goes_on(self) -> None:
        """Wait until the target is back from an outage before, and the sink has noticed."""
        if self._coming is not None:
            await self._coming
        while self.sink.status().failing is not None:  # noqa: ASYNC110 - a sink tells its status when asked
            await asyncio.sleep(0.01)

    async def fails(self) -> str:
        """Wait until the sink says that something is wrong, and give the reason."""
        while (reason := self.sink.status().failing) is None:  # noqa: ASYNC110 - a sink tells its status when asked
            await asyncio.sleep(0.01)
        return reason

    async def end(self) -> SinkStatus:
        """Let the sink write what it holds; how it has fared."""
        self.sink.end()
        task, coming = self.sink.task, self._coming
        assert task is not None
        while not task.done():
            await asyncio.wait({task, coming} if coming is not None else {task}, return_when=asyncio.FIRST_COMPLETED)
            if coming is not None and coming.done():
                coming.result()  # a target that does not come back is why the sink does not end
                coming = None
        await task
        return self.sink.status()


def is_whole(status: SinkStatus, count: int) -> bool:
    """Tell whether the frame says that every record was written."""
    return (status.received, status.written, status.refused, status.dropped, status.held) == (count, count, 0, 0, 0)


def parsed(payloads: Iterable[bytes]) -> list[Row]:
    """The records in messages, each of one line or of several."""
    return [json.loads(line) for payload in payloads for line in payload.splitlines()]


def differences(published: list[Row], found: list[Row]) -> list[str]:
    """Records that are missing, changed or out of their topic's order at the target, told; repeats are allowed."""
    said = []
    first: dict[int, Row] = {}
    order: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
    for row in found:
        if row["offset"] not in first:
            first[row["offset"]] = row
            order[row["type"], row["exchange"], row["symbol"]].append(row["offset"])
        elif first[row["offset"]] != row:
            said.append(f"{row} came twice, and not the same: {first[row['offset']]}")
    said += [f"out of order: {topic}" for topic, offsets in order.items() if offsets != sorted(offsets)]
    for row in published:
        if (there := first.pop(row["offset"], None)) != row:
            said.append(f"{row} is {there}")
    return said + [f"{row} was never published" for row in first.values()]


def repeats(found: list[Row]) -> int:
    """The records that stand at the target more than once."""
    return sum(count - 1 for count in Counter(row["offset"] for row in found).values())


def told_again(kind: type[Record], fields: Row) -> Row:
    """A record as its line would tell it, of what a table holds of it: null is what a line leaves out."""
    line: Row = json.loads(line_again(kind, fields))
    return line


def line_again(kind: type[Record], fields: Row) -> bytes:
    """The line of a record, of what a table holds of it."""
    names = {each.name for each in structs.fields(kind)}
    there = {name: value for name, value in fields.items() if name in names and value is not None and value != []}
    required: Row = {each.name: [] for each in structs.fields(kind) if each.name in {"bids", "asks"} - there.keys()}
    return encode_lines([kind(**required, **there)])
