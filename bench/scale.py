"""Whole markets on a small machine: quiet topics, holds of the loop, captures, books, starts; each in its own process.

Time is virtual where only processor time is asked for: hours of silence are over in seconds, and what else the machine
does hardly counts. A hold of the loop is the processor time of one callback, so that of a busy machine is no longer.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random

from msgspec import Raw, Struct, structs
from msgspec.json import Decoder, encode

from aggregator.book import OrderBook
from aggregator.bus.bus import Batch, Bus
from aggregator.config.config import ExchangeConfig
from aggregator.daemon.collector import Collector
from aggregator.daemon.followed import Followed, in_steps
from aggregator.exchange import Accepted, Address, Event, Exchange, Limits, Listing, Request, Stream, Subscription
from aggregator.ingest.lines import LineListener
from aggregator.ingest.listing import Markets, fetch_listing
from aggregator.ingest.network import Answer, Network
from aggregator.ingest.runner import ExchangeRunner
from aggregator.records import Channel, Gap, Health, Instrument, Levels, Summary, Ticker, Trade
from aggregator.session.moment import Now
from bench.daemon import resident
from bench.frames import make
from bench.market import PAIRS, Ladder, Pair
from bench.measure import ROOT, settle, table
from tests.support.virtual_time import VirtualLoop

TOPICS = 100_000  # quiet ones, of which `--share` are measured
PER_CONNECTION = 400
LOADED = 40_000  # topics in the loop whose holds are measured
SETTLED_S = 900.0  # virtual seconds, before quiet topics are watched for `WATCHED_S`
WATCHED_S = 600.0  # what is dead is asked for once in that time
FRAMES = 200_000  # of a capture, at a share of 1
CAPTURES = 20
BOOKS, DEEP = 2000, 1000  # books, and their levels a side
# What books are told: levels of a delta (0: they vary), and deltas.
BOOK_DELTAS = {
    "about 5": (0, 200),
    "10": (10, 200),
    "100": (100, 60),
    "1000": (1000, 20),
}
EXCHANGES, LISTED = 40, 2000
CHANNELS: tuple[Channel, ...] = ("trades", "ticker")
ABOUT = (Gap, Health, Summary)  # records that the program itself makes
ADDRESSES = {"okx": "wss://ws.okx.com:8443/ws/v5/public", "binance": "wss://stream.binance.com:9443/stream"}

Row = tuple[str, str, float, str]  # what, in which unit, how much, and what it must keep to, if anything

HOLD_MS = "≤ 5"  # whatever holds the loop
QUIET_PERCENT, QUIET_RECORDS = "≤ 3", "≤ 50"  # of a core, and records a second, for 100,000 quiet topics
LEVEL_BYTES = "≤ 84"  # 0.4 of what a level took when all of them stood in a dictionary
NORMALIZE_US = {"okx": "≤ 4.6", "binance": "≤ 2.3"}  # 0.3 of what they took in commit 8d41009
TWO_JOBS_TIMES = "≥ 1.9"
START_S, START_MB = "≤ 10", "≤ 400"


class Said(Struct):
    """What the exchange of this bench says: the request that it has heard, and the markets that have a price."""

    ack: int | None = None
    prices: list[str] = []


class Asked(Struct):
    """What it is asked."""

    id: int
    topics: list[str] = []


class ListedRow(Struct):
    """A row of its listing."""

    s: str


said, asked, listed_row = Decoder(Said).decode, Decoder(Asked).decode, Decoder(ListedRow).decode


def parse(frame: bytes) -> Iterable[Event]:
    """An acknowledgement, prices, or nothing."""
    found = said(frame)
    if found.ack is not None:
        yield Accepted(id=found.ack)
    for symbol in found.prices:
        yield Ticker(raw_symbol=symbol, last="1")
        yield Trade(raw_symbol=symbol, price="1", size="1")


def subscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    """One request for all of these topics."""
    yield encode(Asked(id, [s.raw_symbol for s in wanted if s.channel == "ticker"]))


def leave(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    """One request that leaves them."""
    yield encode({"leave": len(wanted), "id": id})


def exchange(id: str, pace: float = 0.0) -> Exchange:
    """An exchange of two channels that says nothing by itself."""
    stream = Stream(
        url=f"wss://{id}.example",
        channels=dict.fromkeys(CHANNELS, ""),
        subscribe=subscribe,
        unsubscribe=leave,
        parse=parse,
        per_connection=PER_CONNECTION,
        pace=pace,
        patience=1e9,
    )
    listing = Listing(
        requests=(Request(f"https://{id}.example/markets"),),
        rows=Decoder(list[Raw]).decode,
        read=lambda row: market(listed_row(row).s),
    )
    return Exchange(
        id=id, docs="https://toy.example", feeds=(stream,), listing=listing, limits=Limits(connects=(100, 1))
    )


def market(name: str) -> Instrument:
    """An instrument of that name."""
    return Instrument(raw_symbol=name, symbol=f"{name}/USD", base=name, quote="USD", tick_size="0.01", state="trading")


def markets(count: int) -> list[Instrument]:
    """So many instruments."""
    return [market(f"M{number}") for number in range(count)]


class QuietLine:
    """A line whose exchange acknowledges what it is asked, gives each market a price once, if at all, and beats."""

    def __init__(self, listener: LineListener, now: Callable[[], Now], *, has_prices: bool) -> None:
        self._listener = listener
        self._now = now
        self._has_prices = has_prices
        self._told: set[str] = set()
        self._timer = asyncio.get_running_loop().call_later(1, self._beat)

    def send(self, frame: bytes) -> None:
        asyncio.get_running_loop().call_soon(self._answer, asked(frame))

    def _answer(self, request: Asked) -> None:
        new = [s for s in request.topics if s not in self._told] if self._has_prices else []
        self._told.update(new)
        self._listener.frames([encode(Said(request.id, new))], self._now())

    def _beat(self) -> None:
        self._listener.frames([b"{}"], self._now())
        self._timer = asyncio.get_running_loop().call_later(1, self._beat)

    def hang_up(self, reason: str) -> None:
        self._timer.cancel()
        self._listener.gone(reason)


class Holds:
    """The longest that one callback has held the loop, in milliseconds of processor time; the collector by itself."""

    def __init__(self) -> None:
        """Watch every callback from now on."""
        self._longest = self._longest_collection = self._collected = self._collecting_since = 0.0
        gc.callbacks.append(self._collecting)
        run = asyncio.events.Handle._run  # noqa: SLF001 - no other place sees every callback

        def watched(handle: asyncio.Handle) -> None:
            with self.one():
                run(handle)

        asyncio.events.Handle._run = watched  # type: ignore[assignment, method-assign] # noqa: SLF001

    def one(self) -> "Holds":
        """One of them."""
        return self

    def __enter__(self) -> None:
        self._begun, self._collected = time.thread_time(), 0.0

    def __exit__(self, *_: object) -> None:
        self._longest = max(self._longest, time.thread_time() - self._begun - self._collected)

    def _collecting(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collecting_since = time.thread_time()
            return
        took = time.thread_time() - self._collecting_since
        self._collected += took
        self._longest_collection = max(self._longest_collection, took)

    def collection(self) -> float:
        """The longest collection since it was asked for last."""
        found, self._longest_collection = self._longest_collection * 1000, 0.0
        return found

    def take(self) -> float:
        """The longest since it was asked for last."""
        found, self._longest = self._longest * 1000, 0.0
        return found


class Running:
    """An exchange's runner in virtual time, and what it has published of its own."""

    def __init__(self, count: int, *, has_prices: bool, id: str = "toy", pace: float = 0.0) -> None:
        """Begin with so many topics."""
        self.exchange = exchange(id, pace)
        self.instruments = markets(count // len(CHANNELS))
        self._listing = encode([{"s": instrument.raw_symbol} for instrument in self.instruments])
        self.records = Counter[str]()
        self._has_prices = has_prices
        bus = Bus("bench")
        bus.attach(self._count)
        self.network = Network(self._dial, self._fetch, self._now)
        self.runner = ExchangeRunner(self.exchange, CHANNELS, (), network=self.network, bus=bus, most=10**6)

    def _count(self, batch: Batch) -> None:
        self.records.update("own" if isinstance(record, ABOUT) else "told" for record in batch.records)

    def _now(self) -> Now:
        at = int(asyncio.get_running_loop().time() * 1e9)
        return Now(1_700_000_000_000_000_000 + at, at)

    async def _dial(self, _: Address, listener: LineListener) -> QuietLine:
        return QuietLine(listener, self._now, has_prices=self._has_prices)

    async def _fetch(self, _: Request) -> Answer:
        return Answer(200, self._listing, {})

    async def follow(self) -> "asyncio.Task[None]":
        """Carry every topic."""
        await in_steps(self.runner.wanting(self.instruments))
        return asyncio.get_running_loop().create_task(self.runner.run())


def virtual(main: Callable[[], object]) -> list[Row]:
    """Run a part in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())  # type: ignore[arg-type, return-value, unused-ignore]


async def quiet(count: int, holds: Holds, *, has_prices: bool) -> list[Row]:
    """Topics that have told something once, or nothing at all: what they cost when that has been so for a while."""
    what = "quiet topics" if has_prices else "silent topics"
    running = Running(count, has_prices=has_prices)
    sweeping = asyncio.create_task(Collector().sweep())
    await asyncio.sleep(0)  # until here it was the bench itself that held the loop
    holds.take()
    task = await running.follow()
    await asyncio.sleep(SETTLED_S)
    first, collection = holds.take(), holds.collection()
    before, begun = running.records["own"], time.process_time()
    await asyncio.sleep(WATCHED_S)
    share, records = (time.process_time() - begun) / WATCHED_S, (running.records["own"] - before) / WATCHED_S
    task.cancel()
    sweeping.cancel()
    return [
        (f"{what}: of a core, for {TOPICS:,}", "%", 100 * share * TOPICS / count, QUIET_PERCENT),
        (f"{what}: records a second, for {TOPICS:,}", "", records * TOPICS / count, QUIET_RECORDS),
        (f"{what}: longest hold, {count:,} in the loop, while they begin and fall silent", "ms", first, HOLD_MS),
        (f"{what}: longest hold afterwards", "ms", holds.take(), HOLD_MS),
        (f"{what}: longest collection while they begin", "ms", collection, HOLD_MS),
        (f"{what}: longest collection afterwards", "ms", holds.collection(), HOLD_MS),
    ]


async def loaded(holds: Holds) -> list[Row]:
    """What holds a loop that has 40,000 topics in it."""
    running = Running(LOADED, has_prices=True)
    collector = Collector()
    sweeping = asyncio.create_task(collector.sweep())
    task = await running.follow()
    await asyncio.sleep(60)
    half = running.instruments[::2]
    holds.take()
    await asyncio.sleep(30)
    rows = [("tick", holds.take())]
    holds.collection()
    rows += [("reload", max(longest(holds, running.runner.wanting(some)) for some in (half, running.instruments)))]
    rows.append(("collection while reloading", holds.collection()))
    await asyncio.sleep(60)
    rows.append(("sweeps of the collector in the minute after it", holds.collection()))
    collector.look_at_all()
    rows.append(("the collector's look at all that lives", holds.collection()))
    task.cancel()
    sweeping.cancel()
    return [(f"longest hold, {LOADED:,} topics: {what}", "ms", took, HOLD_MS) for what, took in rows]


def longest(holds: Holds, steps: Iterable[object]) -> float:
    """The longest of these steps, between which others have their turn."""
    it = iter(steps)
    done = object()
    while True:
        with holds.one():
            step = next(it, done)
        if step is done:
            return holds.take()


async def listed(holds: Holds) -> list[Row]:
    """What a listing of 20,000 markets holds; threads read it, whose time is not the loop's."""
    running = Running(LOADED, has_prices=False)
    await asyncio.sleep(0)  # until here it was the bench itself that held the loop
    holds.take()
    found = await fetch_listing(running.exchange, lambda request: body(running, request), {}, time.time_ns)
    again = await asyncio.to_thread(Markets, found)
    await asyncio.to_thread(again.update, structs.replace(found, ts=found.ts + 1))
    held = holds.take()
    config = ExchangeConfig(id="toy", channels=CHANNELS, symbols=("*",), endpoints={}, max_topics=10**6)
    steps = Followed(config, running.exchange, running.runner, again).choosing()
    title = f"longest hold, a listing of {LOADED // len(CHANNELS):,} markets: "
    choosing = longest(holds, steps)
    return [(title + "asking and reading", "ms", held, HOLD_MS), (title + "choosing", "ms", choosing, HOLD_MS)]


async def body(running: Running, request: Request) -> bytes:
    """The answer to the listing's request."""
    return (await running.network.fetch(request)).body


async def started() -> list[Row]:
    """Many exchanges at once: from the beginning until every topic has had its first record."""
    begun, at = time.process_time(), asyncio.get_running_loop().time()
    all_of_them = [
        Running(len(CHANNELS) * LISTED, has_prices=True, id=f"toy{number}", pace=0.1) for number in range(EXCHANGES)
    ]
    tasks = []
    for running in all_of_them:
        found = await fetch_listing(running.exchange, lambda request, it=running: body(it, request), {}, time.time_ns)  # type: ignore[misc]
        running.instruments = Markets(found).instruments
        tasks.append(await running.follow())
    while any(  # noqa: ASYNC110 - many of them
        running.records["told"] < len(CHANNELS) * len(running.instruments) for running in all_of_them
    ):
        await asyncio.sleep(0.1)
    title = f"start of {EXCHANGES} exchanges of {LISTED:,} markets, {len(CHANNELS) * LISTED:,} topics each: "
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for task in tasks:
        task.cancel()
    return [
        (title + "processor time", "s", time.process_time() - begun, START_S),
        (title + "which limits of the exchanges stretch to", "s", asyncio.get_running_loop().time() - at, ""),
        (title + "peak memory", "MB", peak, START_MB),
    ]


def books(share: float) -> list[Row]:
    """Memory of books of a thousand levels a side that have moved for a while, and what a delta costs at that."""
    count = max(20, int(BOOKS * share))
    before = resident(os.getpid())
    kept, _ = moved(count, "about 5")
    gc.collect()
    each = (resident(os.getpid()) - before) * 2**20 / count / (2 * DEEP)
    found: list[Row] = [(f"memory of a level, {count} books of {DEEP} a side", "bytes", each, LEVEL_BYTES)]
    kept.clear()
    for kind, (levels, _) in BOOK_DELTAS.items():
        few = count if levels < DEEP // 10 else max(20, count // 10)  # for they take as many times as long
        found.append((f"a delta of {kind} levels, {few} such books", "µs", moved(few, kind)[1], ""))
    return found


def moved(count: int, kind: str) -> tuple[list[OrderBook], float]:
    """So many books after their deltas, which go round, so that none stays in the caches; µs of a delta."""
    decode = Decoder(tuple[Levels, Levels]).decode
    levels, steps = BOOK_DELTAS[kind]
    scripts: list[list[bytes]] = []
    for pair in PAIRS:
        random = Random(f"{pair.base} {kind}")
        ladder = Ladder(pair, random, DEEP)
        sides = [ladder.whole()]
        sides += (ladder.change(levels or 1 + min(int(random.expovariate(1 / 4.5)), 40)) for _ in range(steps))
        scripts.append([encode([[_level(pair, *level) for level in side] for side in both]) for both in sides])
    kept, spent = [], 0.0
    for at in range(count):
        kept.append(OrderBook(*decode(scripts[at % len(PAIRS)][0])))
        kept[-1].apply(*decode(scripts[at % len(PAIRS)][1]))
    for step in range(2, steps + 1):
        deltas = [decode(scripts[at % len(PAIRS)][step]) for at in range(count)]
        begun = time.process_time()
        for book, (bids, asks) in zip(kept, deltas, strict=True):
            book.apply(bids, asks)
        spent += time.process_time() - begun
    return kept, spent / count / (steps - 1) * 1e6


def _level(pair: Pair, price: int, size: int) -> tuple[str, str]:
    return pair.price(price), pair.size(size) if size else "0"


def normalize(share: float) -> list[Row]:
    """`aggregator normalize`, as a user runs it, less what its start takes."""
    rows: list[Row] = []
    count = int(FRAMES * share)
    with tempfile.TemporaryDirectory() as directory:
        for id in ADDRESSES:
            short, long = (written(Path(directory) / f"{id}.{n}.jsonl", id, n) for n in (100, count))
            cost = used(id, [long]) - used(id, [short])
            title = f"normalize, {id}'s frames with addresses"
            rows.append((title, "µs a frame", cost / count * 1e6, NORMALIZE_US[id]))
        files = [written(Path(directory) / f"{n}.jsonl", "okx", count // 4) for n in range(CAPTURES)]
        one, two = (clocked("okx", files, jobs) for jobs in (1, 2))
        title = f"normalize --jobs 2, {CAPTURES} captures: --jobs 1 over it, by the clock"
        rows.append((title, "times", one / two, TWO_JOBS_TIMES))
    return rows


def written(path: Path, id: str, count: int) -> Path:
    """A capture of an exchange's mixed frames, each with its own time and address."""
    capture = make(id, "mixed", min(count, 20_000), walks=False)
    frames = [*capture.opening, *capture.frames]
    with path.open("wb") as file:
        for at in range(count):
            line = {"ts": f"{1_700_000_000 + at / 1000:.3f}", "dir": "in", "url": ADDRESSES[id]}
            file.write(encode(line | {"raw": frames[at % len(frames)].decode()}) + b"\n")
    return path


def command(id: str, files: Sequence[Path], jobs: int = 1) -> list[str]:
    return [sys.executable, "-m", "aggregator", "normalize", "--exchange", id, "--jobs", str(jobs), *map(str, files)]


def used(id: str, files: Sequence[Path]) -> float:
    """Seconds of processor time, the least of three runs."""
    found = []
    for _ in range(3):
        before = spent()
        subprocess.run(command(id, files), check=True, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603 - ourselves
        found.append(spent() - before)
    return min(found)


def spent() -> float:
    """Seconds of processor time of all processes that this one has had."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def clocked(id: str, files: Sequence[Path], jobs: int) -> float:
    """Seconds by the clock."""
    begun = time.monotonic()
    subprocess.run(command(id, files, jobs), check=True, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603 - ourselves
    return time.monotonic() - begun


def parts(share: float) -> dict[str, Callable[[], list[Row]]]:
    """What can be measured; each in a process of its own, so that none has another's memory."""
    count = int(TOPICS * share)
    return {
        "quiet": lambda: virtual(lambda: quiet(count, Holds(), has_prices=True)),
        "silent": lambda: virtual(lambda: quiet(count, Holds(), has_prices=False)),
        "holds": lambda: virtual(lambda: loaded(Holds())),
        "listing": lambda: asyncio.run(listed(Holds())),
        "books": lambda: books(share),
        "normalize": lambda: normalize(share),
        "start": lambda: virtual(started),
    }


def report(share: float, only: str | None = None) -> list[Row]:
    """Measure each part, and print the table."""
    found: list[Row] = []
    for name in [only] if only else parts(share):
        print(f"scale: {name}", file=sys.stderr)
        run = [sys.executable, "-m", "bench.scale", "--share", str(share), "--part", name]
        done = subprocess.run(run, check=True, cwd=ROOT, stdout=subprocess.PIPE)  # noqa: S603 - ourselves
        found += [(str(what), str(unit), float(value), str(bar)) for what, unit, value, bar in json.loads(done.stdout)]
    table(f"whole markets, at a share of {share:g}", ("what", "unit", "figure", "bar"), found)
    return found


def main() -> None:
    """One part for the process that asks, or the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--share", type=float, default=0.2, help="of the topics, frames and books that a whole run has")
    parser.add_argument("--only", choices=list(parts(1)), help="one part")
    parser.add_argument("--part", choices=list(parts(1)), help=argparse.SUPPRESS)
    asked_for = parser.parse_args()
    if asked_for.part is None:
        report(asked_for.share, asked_for.only)
        return
    settle()
    print(json.dumps(parts(asked_for.share)[asked_for.part]()))


if __name__ == "__main__":
    main()
