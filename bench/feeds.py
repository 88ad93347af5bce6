"""What clients of a feed cost, on every transport, and whether those that stand still disturb the others.

    python -m bench.feeds [--rate 20000] [--seconds 3] [--rounds 1] [--only unix websocket] [--json FILE]

Trades of a hundred topics are published from memory in batches of ten, so many a second: to 20 clients that take all,
and to 100 that take a tenth of the topics each. The clients are processes of their own that only count (`clients.py`),
ten of them one process each. A turn has three spans: all read; those ten are stopped (SIGSTOP); and they go on. Each
span ends when all who read have everything. The processor's time is that of the server alone, which publishes too.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import uvloop
from msgspec import Struct

from aggregator.bus.bus import Bus, encode_lines
from aggregator.feed.address import parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.feed.subscriber_queue import RING_BYTES
from aggregator.records import Record, Trade
from bench.daemon import heard, process, processor_time, resident, tell
from bench.measure import MICRO, conditions, settle, show_conditions, table, write

BATCH = 10
TOPICS = 100  # they take turns
STANDING = 10  # clients that are stopped
READERS = 2  # processes that all others share
TRANSPORTS = {"unix": "lines", "tcp": "lines", "websocket": "websocket", "events": "events"}
REACHED = 0.98  # of the offered rate
LEAST_RATIO = 0.95  # of a healthy client's rate, beside clients that are stopped
MOST_OVER_UNIX = 1.3  # a WebSocket's processor time over a unix socket's
TRANSPORT_BYTES = 1 << 20  # of each client, beside its queue: what was taken to be written, and the subscriber itself
PATIENCE_S = 120.0  # for clients to have everything


class Load(Struct, frozen=True):
    """So many clients, each with one of so many parts of the topics, of whose records so many may wait for each."""

    name: str
    clients: int
    parts: int
    ring: int


ALL = Load("20 clients, all topics", clients=20, parts=1, ring=10_000)
TENTHS = Load("100 clients, a tenth each", clients=100, parts=10, ring=1_000)


class Span(Struct):
    """One span.

    offered: records a second that were published
    received: records a second of each client that reads, until the last of these has everything
    cpu: microseconds of the server's processor time, per record that a client got
    busy: the share of the time in which the server ran
    waited: the share in which it could have run, but others had the processor
    """

    offered: float
    received: float
    cpu: float
    busy: float
    waited: float


class Turn(Struct):
    """One load on one transport.

    lost: records that those who were not stopped lack, or were told as missed
    stopped_missed: records that those who were stopped were told as missed, each
    stopped_wrong: records of which they were told wrongly, or not at all
    grown: megabytes that the server grew by while they were stopped; `bound`: that it may, as its settings say
    kept: megabytes by which it is larger than before once all have everything
    """

    transport: str
    all_read: Span
    some_stopped: Span
    lost: int
    stopped_missed: list[int]
    stopped_wrong: int
    grown: float
    bound: float
    kept: float

    @property
    def ratio(self) -> float:
        """The rate of a client that is not stopped, beside those that are, over that beside none."""
        return self.some_stopped.received / self.all_read.received


def pool() -> list[list[Record]]:
    """Batches in which the topics take turns; they are published over and over."""
    trades: list[Record] = [
        Trade(
            exchange="binance", symbol=f"S{at:02}/USDT", raw_symbol=f"S{at:02}USDT", conn="binance/main.1#1",
            source="ws", id="12345678", price="64000.10", size="0.00123", base_size="0.00123", side="buy",
            ts_event=1_764_000_000_000_000_000, ts_recv=1_764_000_000_010_000_000, sequence=12345678,
        )
        for at in range(TOPICS)
    ]  # fmt: skip
    return [trades[at : at + BATCH] for at in range(0, TOPICS, BATCH)]


class Crowd:
    """The clients of one turn: those that are never stopped, and those that are."""

    def __init__(self, stack: ExitStack, load: Load, transport: str, address: str) -> None:
        """Start them all; they have connected then, and subscribe."""
        self.load = load
        topics = [f"trades:binance:S{at:02}/USDT" for at in range(TOPICS)] if load.parts > 1 else ["trades:*:*"]
        fixed = (["-m", "bench.clients", address, TRANSPORTS[transport]], [str(load.parts), *topics])

        def started(first: int, count: int) -> subprocess.Popen[str]:
            return stack.enter_context(process([*fixed[0], str(first), str(count), *fixed[1]]))

        share = (load.clients - STANDING) // READERS
        self.standing = [started(at, 1) for at in range(STANDING)]
        self.reading = [started(STANDING + at * share, share) for at in range(READERS)]
        for each in (*self.standing, *self.reading):
            heard(each)
        stack.callback(self.signal, signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """Stop those that are to stand still, or let them go on."""
        for each in self.standing:
            each.send_signal(number)

    async def until(self, published: int, *, all_read: bool) -> list[dict[str, int]]:
        """Wait until those that read have everything; their counts. Raises TimeoutError."""
        processes = [*self.reading, *self.standing] if all_read else self.reading
        async with asyncio.timeout(PATIENCE_S):
            while True:
                counts = [each for one in processes for each in await asyncio.to_thread(_counts, one)]
                if all(each["last"] > published - self.load.parts for each in counts):
                    return counts
                await asyncio.sleep(0.01)


def _counts(clients: subprocess.Popen[str]) -> list[dict[str, int]]:
    tell(clients)
    found: list[dict[str, int]] = heard(clients)
    return found


class Stage:
    """A server, its bus and its clients; what is published is counted."""

    def __init__(self, bus: Bus, server: FeedServer, crowd: Crowd, rate: float) -> None:
        self.bus = bus
        self.server = server
        self.crowd = crowd
        self.counts: list[dict[str, int]] = []
        self._rate = rate
        self._batches = pool()

    async def span(self, seconds: float, *, all_read: bool) -> Span:
        """Publish for so long, at the rate as far as that can be, and wait until who reads has everything."""
        load = self.crowd.load
        standing = 0 if all_read else STANDING
        count = int(self._rate * seconds) // TOPICS * TOPICS // BATCH
        (ran, waited), began = processor_time(os.getpid()), time.perf_counter()
        for number in range(count):
            self.bus.publish(self._batches[number % len(self._batches)])
            ahead = began + number * BATCH / self._rate - time.perf_counter()
            await asyncio.sleep(max(ahead, 0))
        took = time.perf_counter() - began
        await until(lambda: _behind(self.server) <= standing)
        ran, waited = (now - then for now, then in zip(processor_time(os.getpid()), (ran, waited), strict=True))
        self.counts = await self.crowd.until(self.bus.offset, all_read=all_read)
        whole = time.perf_counter() - began
        got = count * BATCH / load.parts
        cpu = ran / got / (load.clients - standing) * MICRO
        return Span(count * BATCH / took, got / whole, cpu, ran / whole, waited / whole)


def _behind(server: FeedServer) -> int:
    """How many subscribers have something waiting for them."""
    return sum(each.queued_bytes > 0 for each in server.status().subscribers)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for it. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.005)


async def measure(transport: str, place: str, load: Load, rate: float, seconds: float) -> Turn:
    """One turn."""
    bus = Bus("bench")
    server = FeedServer(FeedSettings(listen=(parse_address(place),), ring=load.ring), bus)
    await server.start()
    bus.attach(server.publish)
    with ExitStack() as stack:
        crowd = await asyncio.to_thread(Crowd, stack, load, transport, server.addresses[0])
        await until(lambda: sum(bool(one.topics) for one in server.status().subscribers) == load.clients)
        stage = Stage(bus, server, crowd, rate)
        await stage.span(0.2, all_read=True)  # what is made once is made now
        all_read = await stage.span(seconds, all_read=True)
        before = resident(os.getpid())
        crowd.signal(signal.SIGSTOP)
        some_stopped = await stage.span(seconds, all_read=False)
        grown = resident(os.getpid()) - before
        crowd.signal(signal.SIGCONT)
        await stage.span(seconds / 4, all_read=True)
        kept = resident(os.getpid()) - before
        reading = load.clients - STANDING
        healthy, stopped = stage.counts[:reading], stage.counts[reading:]
        await server.stop(1)
    due = bus.offset // load.parts
    line = len(encode_lines(pool()[0])) // BATCH
    return Turn(
        transport,
        all_read,
        some_stopped,
        sum(due - each["trades"] + each["wrong"] for each in healthy),
        [each["missed"] for each in stopped],
        sum(abs(due - each["trades"] - each["missed"]) + each["wrong"] for each in stopped),
        grown,
        STANDING * (min(load.ring * line, RING_BYTES) + TRANSPORT_BYTES) / 2**20,
        kept,
    )


HEAD = (
    "transport", "offered/s", "each got/s", "beside stopped", "ratio", "lost", "missed by stopped", "told wrong",
    "MB grown", "of at most", "MB kept", "µs", "µs stopped", "over unix", "busy", "waited",
)  # fmt: skip


def rows(found: dict[str, list[Turn]]) -> Iterator[list[object]]:
    """The rows of the table: medians of the rounds, the least of processor time, the worst of what must not be."""
    cost = {name: min(turn.all_read.cpu for turn in turns) for name, turns in found.items()}
    for name, turns in found.items():
        yield [
            name,
            int(statistics.median(turn.all_read.offered for turn in turns)),
            int(statistics.median(turn.all_read.received for turn in turns)),
            int(statistics.median(turn.some_stopped.received for turn in turns)),
            f"{statistics.median(turn.ratio for turn in turns):.3f}",
            sum(turn.lost for turn in turns),
            max(missed for turn in turns for missed in turn.stopped_missed),
            sum(turn.stopped_wrong for turn in turns),
            f"{max(turn.grown for turn in turns):.1f}",
            f"{turns[0].bound:.1f}",
            f"{max(turn.kept for turn in turns):.1f}",
            f"{cost[name]:.3f}",
            f"{min(turn.some_stopped.cpu for turn in turns):.3f}",
            f"{cost[name] / cost['unix']:.2f}" if "unix" in cost else "-",
            f"{statistics.median(turn.all_read.busy for turn in turns):.0%}",
            f"{statistics.median(turn.all_read.waited for turn in turns):.0%}",
        ]


def failings(load: Load, rate: float, found: dict[str, list[Turn]]) -> Iterator[str]:
    """Say what is not as it should be."""
    for name, turns in found.items():
        where = f"{load.name}, {name}"
        if lost := sum(turn.lost for turn in turns):
            yield f"{where}: clients that were not stopped lost {lost} records"
        if wrong := sum(turn.stopped_wrong for turn in turns):
            yield f"{where}: of {wrong} records those that were stopped were told wrongly"
        if (ratio := statistics.median(turn.ratio for turn in turns)) < LEAST_RATIO:
            yield f"{where}: beside clients that are stopped the others got {ratio:.3f} of their rate"
        if (grown := max(turn.grown for turn in turns)) > turns[0].bound:
            yield f"{where}: {grown:.1f} MB for clients that are stopped, of at most {turns[0].bound:.1f}"
        for span in (span for turn in turns for span in (turn.all_read, turn.some_stopped)):
            if span.offered < rate * REACHED:
                yield (
                    f"{where}: the offered rate was not reached: {span.offered:,.0f} of {rate:,.0f} records/s; the "
                    f"server ran {span.busy:.0%} of the time, and waited {span.waited:.0%} for a processor"
                )
    if {"unix", "websocket"} <= set(found):
        unix, socket = (min(turn.all_read.cpu for turn in found[name]) for name in ("unix", "websocket"))
        if socket > unix * MOST_OVER_UNIX:
            yield f"{load.name}: a WebSocket takes {socket / unix:.2f} times what a unix socket does"


def main() -> int:
    """Measure, print the tables, and say what is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m bench.feeds", description=__doc__)
    parser.add_argument("--rate", type=int, default=20_000, help="records a second")
    parser.add_argument("--seconds", type=float, default=3, help="of each span")
    parser.add_argument("--rounds", type=int, default=1, help="in which the transports take turns")
    parser.add_argument("--only", nargs="+", choices=list(TRANSPORTS), default=list(TRANSPORTS), help="transports")
    parser.add_argument("--load", choices=["all", "tenths"], help="one load")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the report is left")
    options = parser.parse_args()
    show_conditions()
    settle()
    report: dict[str, object] = {"conditions": conditions(), "rate": options.rate}
    wrong: list[str] = []
    for name, load in {"all": ALL, "tenths": TENTHS}.items():
        if options.load in {name, None}:
            report[load.name] = found = turns_of(load, options)
            table(f"{load.name}, {options.rate:,} records/s", HEAD, list(rows(found)))
            wrong += failings(load, options.rate, found)
    print("\n".join(["", *(wrong or ["all is as it should be"])]))
    write(options.json, {**report, "wrong": wrong})
    return 1 if wrong else 0


def turns_of(load: Load, options: argparse.Namespace) -> dict[str, list[Turn]]:
    """Every transport in turn, so many rounds."""
    found: dict[str, list[Turn]] = {name: [] for name in options.only}
    for _ in range(options.rounds):
        for name, turns in found.items():
            with tempfile.TemporaryDirectory() as home:
                scheme = name if name in {"unix", "tcp"} else "http"
                place = f"unix:{home}/feed.sock" if name == "unix" else f"{scheme}:127.0.0.1:0"
                turns.append(uvloop.run(measure(name, place, load, options.rate, options.seconds)))
    return found


if __name__ == "__main__":
    sys.exit(main())
