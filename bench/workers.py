"""What several workers cost and bring: frames from memory through sessions, bus, files and one reader of the feed.

`python -m bench.workers` has one process do it, and then a hub with two workers, in turns. Frames are made before, so
that no simulator runs on the same processors. With `--divided okx` it is one exchange, and each worker has a bucket of
its symbols, whose frames alone come to it. `cpu` is the processor time per frame of all processes together, `busier`
the share that the busier worker has of one process's, `hub` that of the hub; `bound` is how much faster two processors
are at best: all of the time on two of them, or the busiest process alone. `wall` is how much faster it was. With
`--without reader` there are files alone, `--without all` neither; `--passes` is how often each exchange's frames are
played in a run.
"""

import argparse
import asyncio
import gc
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from aggregator.bus.bus import Bus
from aggregator.bus.passing import MarkingBus, Packer
from aggregator.capture.replay import Reader
from aggregator.catalog.registry import load_exchange
from aggregator.cluster.buckets import SymbolPart, part_of
from aggregator.daemon.daemon import GC_THRESHOLD, SWITCH_S, run
from aggregator.daemon.running_sinks import RunningSinks
from aggregator.feed import sink as feed
from aggregator.session.moment import Now
from aggregator.session.session import Session
from aggregator.sinks import files, link
from aggregator.sinks.brokers.nats_client import bucket_names
from aggregator.sinks.link import RECORDS, LinkEnd, LinkWriter
from aggregator.sinks.sink import Delivery
from aggregator.sources.link import LinkedExchange, LinkReader
from bench.frames import Capture, make
from bench.measure import conditions, table

EXCHANGES = ("kraken", "okx", "binance", "coinbaseexchange")
BUCKET = re.compile(r"(.+)-([0-9]+)of([0-9]+)")
READ = 10  # frames that one read of a busy socket brings
PASSES = 16
FRAMES = 2000
ROOMY = Delivery(queue=50_000_000, queue_bytes=8_000_000_000, batch_records=256, batch_age=0.005)
Report = dict[str, Any]


class Play:
    """One exchange's frames, several times over, each time for a session of its own."""

    def __init__(self, id: str, passes: int, part: SymbolPart | None = None) -> None:
        """Make them; `part`: those about some of its symbols alone."""
        exchange = load_exchange(id)
        if exchange is None:
            raise SystemExit(f"there is no connector for {id}")
        capture = make(id, "mixed", FRAMES)
        stream = Reader(exchange, (), None).stream_of(capture.url, capture.frames[0])
        if part is not None:
            capture = structs.replace(capture, frames=_about(capture, stream, part))
        self.passes = [(_session(capture, stream), _reads(capture)) for _ in range(passes)]
        self.frames = len(capture.frames) * passes

    async def play(self, bus: Bus, outputs: RunningSinks) -> None:
        """Publish all of it, as fast as it goes; others have their turn after each read."""
        for session, reads in self.passes:
            for payloads, now in reads:
                bus.publish(session.receive(payloads, now))
                await asyncio.sleep(0)
            await outputs.room()


def _about(capture: Capture, stream: Any, part: SymbolPart) -> list[bytes]:
    """The frames that are about some of the symbols."""
    session, now = _session(capture, stream), Now(time.time_ns(), time.monotonic_ns())
    read = ((frame, session.receive([frame], now)) for frame in capture.frames)
    return [frame for frame, records in read if part.has(records[0].raw_symbol if records else None)]


def _session(capture: Capture, stream: Any) -> Session:
    session = Session(capture.exchange, stream, conn=f"{capture.exchange}/bench#1", instruments=capture.instruments)
    now = Now(time.time_ns(), time.monotonic_ns())
    session.receive(capture.opening, now)
    for raw_symbol, body in capture.snapshots.items():
        session.receive_snapshot(raw_symbol, body, now)
    session.books(now)
    return session


def _reads(capture: Capture) -> list[tuple[list[bytes], Now]]:
    frames = [bytes(bytearray(frame)) for frame in capture.frames]
    now, mono = time.time_ns(), time.monotonic_ns()
    return [(frames[at : at + READ], Now(now + at, mono + at)) for at in range(0, len(frames), READ)]


def _nothing() -> None:
    """Go on though no sink is left."""


def _settled() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    sys.setswitchinterval(SWITCH_S)


def _begun(*options: str, fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.workers", *options]
    return subprocess.Popen(command, pass_fds=fds, stdout=subprocess.PIPE)  # noqa: S603 - our own program


class Load(Struct, frozen=True):
    """What a run plays, where its files go, and what it goes without: nothing, the reader, or files and reader."""

    names: list[str]
    passes: int
    home: Path
    without: str


async def _outlets(bus: Bus, load: Load) -> tuple[RunningSinks, subprocess.Popen[bytes] | None]:
    """Files, and a feed with one reader, as far as the run has them."""
    outputs, home = RunningSinks(bus, on_idle=_nothing), load.home
    kept = [] if load.without == "all" else [files.SINK.configured(ROOMY, path=home / "data")]
    if load.without:
        await outputs.start(kept)
        return outputs, None
    path = home / "feed.sock"
    await outputs.start([*kept, feed.SINK.configured(listen=[f"unix:{path}"], ring=500_000)])
    reader = _begun("--role", "reader", "--home", str(home))
    await asyncio.sleep(1.5)
    return outputs, reader


async def _ended(outputs: RunningSinks, reader: subprocess.Popen[bytes] | None) -> Report:
    await outputs.stop(60.0)
    if reader is not None:
        await asyncio.to_thread(reader.wait)
    lost = sum(each.dropped for each in outputs.status()) + sum(each.missed for each in outputs.feed_status())
    return {"lost": lost}


def _names(ids: Sequence[str], divided: str | None) -> list[list[str]]:
    """What each of two workers has: exchanges, or a bucket of one."""
    return [list(ids[::2]), list(ids[1::2])] if divided is None else [[name] for name in bucket_names(divided, 2)]


def _play(name: str, passes: int) -> Play:
    """The play of an exchange, or of a bucket of one."""
    found = BUCKET.fullmatch(name)
    if found is None:
        return Play(name, passes)
    id, bucket, count = found.groups()
    return Play(id, passes, part_of(int(count), (int(bucket),)))


async def alone(load: Load) -> Report:
    """One process does all."""
    plays = [Play(id, load.passes) for id in load.names]
    bus = Bus("bench")
    outputs, reader = await _outlets(bus, load)
    _settled()
    begun, cpu = time.monotonic(), time.process_time()
    await asyncio.gather(*(play.play(bus, outputs) for play in plays))
    report = await _ended(outputs, reader)
    frames = sum(play.frames for play in plays)
    return report | {
        "frames": frames,
        "records": bus.offset,
        "cpu": time.process_time() - cpu,
        "wall": time.monotonic() - begun,
    }


async def worker(load: Load, fd: int) -> Report:
    """A worker: it begins when the hub says so, and tells its time in the end."""
    plays = [_play(name, load.passes) for name in load.names]
    bus = MarkingBus("bench")
    line = socket.socket(fileno=fd)
    line.sendall(b"\0")
    await asyncio.to_thread(line.recv, 1)
    outputs = RunningSinks(bus, on_idle=_nothing)
    end = LinkEnd(line)
    await outputs.start([link.SINK.configured(writer=LinkWriter(end, Packer(), lambda ts: None, lambda: None))])  # noqa: ARG005
    _settled()
    cpu = time.process_time()
    await asyncio.gather(*(play.play(bus, outputs) for play in plays))
    await outputs.stop(60.0)
    await end.drain()
    end.close()
    return {"frames": sum(play.frames for play in plays), "cpu": time.process_time() - cpu, "records": bus.offset}


async def hub(groups: list[list[str]], load: Load) -> Report:
    """A hub: it has workers, and passes on what they send."""
    loop = asyncio.get_running_loop()
    bus = Bus("bench")
    processes, lines = [], []
    for names in groups:
        ours, theirs = socket.socketpair()
        command = ["--role", "worker", "--fd", str(theirs.fileno()), "--exchanges", ",".join(names)]
        command += ["--passes", str(load.passes)]
        process = _begun(*command, fds=[theirs.fileno()])
        theirs.close()
        processes.append(process)
        lines.append(ours)
    for line in lines:
        await asyncio.to_thread(line.recv, 1)
    outputs, reader = await _outlets(bus, load)
    ids = {BUCKET.sub(r"\1", name) for names in groups for name in names}
    views = {id: LinkedExchange(id, bus) for id in ids}
    over = []
    _settled()
    begun, cpu = time.monotonic(), time.process_time()
    for line in lines:
        line.sendall(b"\0")
        end, taken = LinkEnd(line), LinkReader(bus, views, lambda exchange, raw_symbol: None)  # noqa: ARG005
        done = loop.create_future()
        over.append(done)
        end.take = partial(_take, taken)
        end.ended = partial(done.set_result, None)
        end.begin()
    await asyncio.gather(*over)
    report = await _ended(outputs, reader)
    wall = time.monotonic() - begun
    own = time.process_time() - cpu
    told = [json.loads(process.communicate()[0]) for process in processes]
    return report | {
        "frames": sum(each["frames"] for each in told),
        "records": bus.offset,
        "hub": own,
        "workers": [each["cpu"] for each in told],
        "cpu": own + sum(each["cpu"] for each in told),
        "wall": wall,
        "sent": sum(each["records"] for each in told),
    }


def _take(reader: LinkReader, kind: int, frame: memoryview) -> None:
    if kind == RECORDS:
        reader.take(frame)


def read_feed(home: Path) -> None:
    """A reader of the feed that keeps nothing."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(home / "feed.sock"))
        line.sendall(b"*:*:*\n")
        with suppress(OSError):
            while line.recv(1 << 20):
                pass


def measured(role: str, home: Path, options: Sequence[str]) -> Report:
    """One run in a process of its own."""
    with tempfile.TemporaryDirectory(dir=home) as place:
        command = ["--role", role, "--home", place, *options]
        return dict(json.loads(_begun(*command).communicate()[0]))


def compare(rounds: int, home: Path, options: Sequence[str]) -> None:
    """Have both take turns, and print the medians."""
    rows = []
    for _ in range(rounds):
        one, two = measured("alone", home, options), measured("hub", home, options)
        if one["records"] != two["records"] or one["lost"] or two["lost"]:
            raise SystemExit(f"something is lost: {one} {two}")
        each, both = one["cpu"] / one["frames"], two["cpu"] / two["frames"]
        busiest = max(two["hub"], *two["workers"])
        rows.append(
            [
                each * 1e6,
                both * 1e6,
                both / each,
                max(two["workers"]) / one["cpu"],
                two["hub"] / one["cpu"],
                one["cpu"] / max(busiest, two["cpu"] / 2),
                one["wall"] / two["wall"],
            ]
        )
    head = ["", "alone µs", "workers µs", "cpu", "busier", "hub", "bound", "wall"]
    middle = [statistics.median(column) for column in zip(*rows, strict=True)]
    shown = [[name, *(f"{value:.2f}" for value in row)] for name, row in [*enumerate(rows, 1), ("median", middle)]]
    table("two workers and a hub beside one process", head, shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--role", choices=["compare", "alone", "hub", "worker", "reader"], default="compare")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--fd", type=int)
    parser.add_argument("--exchanges", default=",".join(EXCHANGES))
    parser.add_argument("--divided", help="one exchange that two workers have together, instead of several")
    parser.add_argument("--passes", type=int, default=PASSES, help="how often each exchange's frames are played")
    parser.add_argument("--without", choices=["reader", "all"], default="", help="the reader, or files too")
    given = parser.parse_args()
    ids = [given.divided] if given.divided else given.exchanges.split(",")
    if given.role == "compare":
        sys.stdout.write(f"{conditions()}\n")
        options = ["--divided", given.divided] if given.divided else ["--exchanges", given.exchanges]
        options += ["--passes", str(given.passes), *(["--without", given.without] if given.without else [])]
        compare(given.rounds, given.home or Path(tempfile.gettempdir()), options)
        return
    if given.role == "reader":
        read_feed(given.home)
        return
    found: list[Report] = []
    load = Load(ids, given.passes, given.home or Path(), given.without)

    async def work() -> None:
        match given.role:
            case "alone":
                found.append(await alone(load))
            case "worker":
                found.append(await worker(load, given.fd))
            case _:
                found.append(await hub(_names(ids, given.divided), load))

    run(work)
    sys.stdout.write(json.dumps(found[0]))


if __name__ == "__main__":
    main()
