"""Three members, a bucket of leases and a stream, in a world where everything is late, lost, stopped or wrong.

`python -m tests.cluster.model --cases 100000` runs so many cases, and says what went wrong in which. The lease, the
share and the writer are the real ones; the world between them is a list of events. Requests and answers are delayed up
to seconds or lost, members are stopped and go on in the middle of what they did, die and begin anew, are cut off both
ways or one way, and have clocks of different rates. In the last part of a case all goes well.

What is checked: the stream is never written by two, no record that a reader accepts comes twice or out of order, one
that does not come is within a gap that was told, a book is never changed over a hole, and in the end somebody gathers.
In a gentle case one member dies at a time while another one stands by: then nothing at all is missing.
"""

import argparse
import heapq
import random
from collections.abc import Callable, Collection, Iterator
from copy import copy
from itertools import count, pairwise
from typing import Any

from aggregator.cluster.lease import Lease, LeaseKeeper, LeaseTiming, LeaseWrite
from aggregator.cluster.share import Share
from aggregator.cluster.writer import FrameWrite, ShardWriter
from aggregator.records import SECOND_NS, BookDelta, BookSnapshot, Gap, Health, Record, Trade, is_hole

NAMES = ("a", "b", "c")
TIMING = LeaseTiming()
TICK_S = 0.4
EMITTED_S = 0.5  # between two records of the exchange
LOST_S = 10.0  # a connection that is not read for so long is gone
EPOCH_NS = 1_700_000_000 * SECOND_NS
READ_BACK = 400  # frames of the stream that a new life reads
MOST, FEW = 400_000, 20  # records that a member may hold; few: what it cannot have written within seconds is lost


class Stored:
    """A frame in the stream."""

    def __init__(self, fence: int, first: int, records: list[Record], writer: str) -> None:
        self.fence, self.first, self.records, self.writer = fence, first, records, writer


class World:
    """Time, the bucket and the stream."""

    def __init__(self, seed: int, *, rough: float) -> None:
        """Begin; `rough`: 0 is gentle, 1 the worst."""
        self.random = random.Random(seed)
        self.rough = rough
        self.most = FEW if rough and seed % 2 else MOST
        self.now = 0.0
        self.is_quiet = False
        self.bucket: tuple[int, Lease | None] = (0, None)
        self.stream: list[Stored] = []
        self.ids: dict[str, int] = {}
        self.seen: dict[str, tuple[float, bool]] = {}  # when each member told of itself last, and whether it is ready
        self.unowned: list[float] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, time: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(time, self.now), next(self._order), act))

    def after(self, delay: float, act: Callable[[], None]) -> None:
        self.at(self.now + delay, act)

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, act = heapq.heappop(self._events)
            act()

    def delay(self) -> float:
        """How long a message is under way."""
        if self.is_quiet or self.random.random() > 0.1 * self.rough:
            return self.random.uniform(0.001, 0.05)
        return self.random.expovariate(1 / 2.0)

    def is_lost(self) -> bool:
        return not self.is_quiet and self.random.random() < 0.04 * self.rough

    def replace(self, write: LeaseWrite) -> int | None:
        revision, _ = self.bucket
        if write.last != revision:
            return None
        self.bucket = revision + 1, write.lease
        return revision + 1

    def store(self, write: FrameWrite, writer: str) -> int | None:
        if write.id in self.ids:
            return self.ids[write.id]
        if write.last != len(self.stream):
            return None
        frame = write.frame
        self.stream.append(Stored(frame.fence, frame.first, list(map(copy, frame.records)), writer))
        self.ids[write.id] = len(self.stream)
        return len(self.stream)


class Life:
    """One life of a member. Whatever reaches it while it is stopped waits."""

    def __init__(self, world: World, name: str, number: int) -> None:
        self.world, self.name, self.id = world, name, f"{name}{number}"
        self.rate = 1 + world.random.uniform(-0.05, 0.05) * world.rough
        self.skew = world.random.uniform(-0.2, 0.2)
        self.is_dead = False
        self.stopped_until = 0.0
        self.cut_in = self.cut_out = False
        self.keeper = LeaseKeeper("x", name, self.id, TIMING, self.clock())
        self.share = Share("x", {"book"}, most=world.most)
        self.writer = ShardWriter(self.keeper, self.share, self.id, most=20)
        self.heard = self.begun_at = max(0, len(world.stream) - READ_BACK)
        self.writer.place = self.heard
        self.waiting: list[Callable[[], None]] = []
        self.book = 0
        self.gathered_at: float | None = None
        self.number = 0  # of the newest record that it has gathered
        self.last_read = world.now
        self.is_sending = False
        world.after(world.random.uniform(0.5, 3.0), lambda: self.do(self.begin_gathering))
        world.after(world.random.uniform(0, TICK_S), self.tick)

    def clock(self) -> float:
        return 1000 + self.rate * self.world.now

    def wall(self) -> int:
        return EPOCH_NS + round((self.world.now + self.skew) * SECOND_NS)

    def do(self, act: Callable[[], None]) -> None:
        """Do something, or once the process goes on."""
        if self.is_dead:
            return
        if self.world.now < self.stopped_until:
            self.world.at(self.stopped_until, lambda: self.do(act))
        else:
            act()

    # --- what it gathers

    def begin_gathering(self) -> None:
        self.gathered_at = self.last_read = self.world.now
        self.number = emitted(self.world.now)
        self.book = self.number
        now = self.wall()
        told: list[Record] = [
            Health(exchange="x", symbol=None, raw_symbol="S", ts_recv=now, conn=self.id, channel=channel, state="live")
            for channel in ("trades", "book")
        ]
        self.share.gather([*told, self.snapshot()], now)
        self.read()

    def snapshot(self) -> BookSnapshot:
        return BookSnapshot(
            exchange="x", symbol=None, raw_symbol="S", ts_recv=self.wall(), bids=[], asks=[], sequence=self.book
        )

    def read(self) -> None:
        """Read the connection to the exchange; one that was not read for long is gone, and made anew."""
        world, now = self.world, self.wall()
        newest = emitted(world.now - (0.0 if world.is_quiet else world.random.uniform(0, 1.5) * world.rough))
        records: list[Record] = []
        if world.now - self.last_read > LOST_S:
            gap = Gap(
                exchange="x",
                symbol=None,
                ts_recv=now,
                conn=self.id,
                gap_id=f"{self.id}:{now}",
                phase="open",
                cause="disconnect",
                ts_from=now - round((world.now - self.last_read) * SECOND_NS),
            )
            self.share.gather([gap], now)
            self.number = self.book = max(newest, self.number)
            closed = Gap(
                exchange="x",
                symbol=None,
                ts_recv=now,
                conn=self.id,
                gap_id=gap.gap_id,
                phase="close",
                cause="disconnect",
                ts_from=gap.ts_from,
                ts_to=now,
                repair="none",
            )
            records += [self.snapshot(), closed]
        for number in range(self.number + 1, newest + 1):
            records.append(trade(number, now))
            records.append(
                BookDelta(exchange="x", symbol=None, raw_symbol="S", ts_recv=now, bids=[], asks=[], sequence=number)
            )
        self.number = self.book = max(self.number, newest)
        self.last_read = world.now
        self.share.gather(records, now)
        world.after(EMITTED_S, lambda: self.do(self.read))

    def whole(self, _raw_symbol: str) -> BookSnapshot | None:
        return None if self.gathered_at is None else self.snapshot()

    # --- what it does about the lease and the stream

    def line(self, *, is_ready: bool) -> tuple[list[str], Collection[str]]:
        """The members in line, as this one sees them, who knows whether it is ready; it may be wrong."""
        now = self.world.now
        seen = self.world.seen.items()
        alive = {name: ready and now - at < TIMING.ttl / 2 for name, (at, ready) in seen if now - at < TIMING.ttl}
        alive[self.name] = is_ready
        names = [name for name in ORDER if name in alive]
        return names, [name for name in names if alive[name]]

    def is_ready(self) -> bool:
        return self.gathered_at is not None and self.is_read and self.share.readiness() == 1.0

    @property
    def is_read(self) -> bool:
        return len(self.world.stream) - self.heard < 100

    def tick(self) -> None:
        if self.is_dead:
            return
        self.world.after(TICK_S, self.tick)
        self.do(self.act)

    def act(self) -> None:
        world = self.world
        if not self.cut_in:
            self.hear(len(world.stream))
        is_ready = self.is_ready()
        if not self.cut_in:
            if not self.cut_out:
                world.seen[self.name] = world.now, is_ready
            if world.random.random() < (0.2 if world.rough else 0.9):
                revision, lease = world.bucket
                world.after(world.delay(), lambda: self.do(lambda: self.observe(revision, lease)))
        line, ready = self.line(is_ready=is_ready)
        write = self.keeper.step(self.clock(), line, ready, self.wall(), self.share.fence)
        if write is None and self.keeper.is_leaving and self.writer.is_quiet:
            write = self.keeper.release(self.clock(), line, ready)
        if write is not None:
            self.send(lambda: world.replace(write), lambda answer: self.keeper.answered(answer, self.clock()))
        self.publish()

    def observe(self, revision: int, lease: Lease | None) -> None:
        if not self.cut_in:
            self.keeper.observe(revision, lease, self.clock())

    def hear(self, until: int) -> None:
        for at in range(self.heard, until):
            frame = self.world.stream[at]
            self.writer.heard(at + 1, frame.fence, frame.first + max(0, len(frame.records) - 1), frame.records)
        self.heard = max(self.heard, until)

    def publish(self) -> None:
        world = self.world
        if self.is_sending:
            return
        write = self.writer.step(self.clock(), self.wall(), self.whole)
        if write is None:
            return
        self.is_sending = True

        def settle(answer: int | None) -> None:
            if answer is None:
                self.writer.refused(write, self.wall())
            else:
                self.writer.stored(write, answer)
            self.is_sending = False
            self.publish()

        self.send(lambda: world.store(write, self.id), settle)

        def give_up() -> None:
            if (self.is_sending and self.writer.sent is write) or self.writer.sent is not write:
                self.is_sending = False

        world.after(2.0, lambda: self.do(give_up))

    def send(self, act: Callable[[], Any], answered: Callable[[Any], None]) -> None:
        """Send a request. The process may be stopped just before."""
        world = self.world

        def leave() -> None:
            if self.cut_out or world.is_lost():
                return
            world.after(world.delay(), arrive)

        def arrive() -> None:
            answer = act()
            if world.is_lost():
                return
            world.after(world.delay(), lambda: self.do(lambda: None if self.cut_in else answered(answer)))

        world.after(world.random.uniform(0, 0.01), lambda: self.do(leave))


ORDER = NAMES


def emitted(now: float) -> int:
    """The number of the last record that the exchange has told at a moment."""
    return int(max(0.0, now) / EMITTED_S)


def trade(number: int, now: int) -> Trade:
    return Trade(exchange="x", symbol=None, raw_symbol="S", ts_recv=now, price="1", size="1", sequence=number)


class Case:
    """One case: what happens, and whether what came of it is right."""

    LENGTH_S = 150.0
    QUIET_S = 60.0

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.is_gentle = seed % 3 == 0
        self.world = World(seed, rough=0.0 if self.is_gentle else random.Random(~seed).choice((0.3, 0.7, 1.0)))
        self.lives: dict[str, Life] = {}
        self._numbers = count()

    def run(self) -> list[str]:
        """Play it; gives what is wrong."""
        world, chance = self.world, self.world.random
        for name in NAMES:
            world.after(chance.uniform(0, 2), lambda name=name: self.begin(name))  # type: ignore[misc]
        if self.is_gentle:
            at = 30.0
            while at < self.LENGTH_S:
                world.at(at, self.kill_owner if chance.random() < 0.7 else self.kill_any)
                at += chance.uniform(45, 60)
        else:
            at = 5.0
            while at < self.LENGTH_S:
                world.at(at, self.trouble)
                at += chance.expovariate(1 / 6.0)
        world.at(self.LENGTH_S, self.calm)
        world.run(self.LENGTH_S + self.QUIET_S)
        return self.wrong()

    def begin(self, name: str) -> None:
        self.lives[name] = Life(self.world, name, next(self._numbers))

    def kill(self, name: str, pause: float) -> None:
        if name in self.lives and not self.lives[name].is_dead:
            self.lives[name].is_dead = True
            self.world.after(pause, lambda: self.begin(name))

    def kill_owner(self) -> None:
        lease = self.world.bucket[1]
        if lease is not None and lease.owner:
            self.kill(lease.owner, self.world.random.uniform(1, 20))

    def kill_any(self) -> None:
        self.kill(self.world.random.choice(NAMES), self.world.random.uniform(1, 20))

    def trouble(self) -> None:
        if self.world.is_quiet:
            return
        chance = self.world.random
        lease = self.world.bucket[1]
        name = lease.owner if lease is not None and lease.owner and chance.random() < 0.6 else chance.choice(NAMES)
        life = self.lives.get(name)
        if life is None:
            return
        kind = chance.random()
        if kind < 0.35:
            life.stopped_until = self.world.now + chance.choice((0.5, 3.0, 11.0, 14.0, 20.0, 40.0)) * chance.random()
        elif kind < 0.6:
            self.kill(name, chance.expovariate(1 / 8.0))
        else:
            life.cut_out, life.cut_in = chance.choice(((True, True), (True, False), (False, True)))

            def heal() -> None:
                life.cut_in = life.cut_out = False

            self.world.after(chance.expovariate(1 / 12.0), heal)

    def calm(self) -> None:
        self.world.is_quiet = True
        for life in self.lives.values():
            life.cut_in = life.cut_out = False
            life.stopped_until = min(life.stopped_until, self.world.now + 1)

    # --- what is wrong

    def wrong(self) -> list[str]:
        return [*self._two_writers(), *self._records()]

    def _two_writers(self) -> list[str]:
        found, writers, fence = [], dict[int, str](), 0
        for at, frame in enumerate(self.world.stream):
            if frame.fence < fence:
                found.append(f"frame {at} of {frame.writer} stands behind a newer ownership")
            fence = max(fence, frame.fence)
            if writers.setdefault(frame.fence, frame.writer) != frame.writer:
                found.append(f"two write with the fencing number {frame.fence}")
        return found

    def _records(self) -> list[str]:
        """Read the stream as a reader does."""
        read = Read()
        fence = 0
        for frame in self.world.stream:
            if frame.fence < fence:
                continue
            fence = frame.fence
            if frame.records and frame.first != read.number + 1:
                read.wrong.append(f"record {frame.first} follows {read.number}")
            for record in frame.records:
                read.take(record)
        return [*read.wrong, *self._missing(read)][:5]

    def _missing(self, read: "Read") -> Iterator[str]:
        trades, now = read.trades, self.world.now
        if any(other <= one for one, other in pairwise(trades)):
            yield "a trade comes twice, or out of order"
        if len({*trades, *read.late}) < len(trades) + len(read.late):
            yield "a trade comes twice, once of them late"
        if not trades or trades[-1] < emitted(now - 5):
            yield f"nobody gathers in the end: {trades[-1:]} of {emitted(now)}"
        if read.gaps:
            yield f"a gap stays open: {list(read.gaps)}"
        if self.is_gentle and read.is_gap_told:
            yield "a gap is told, and another member stood by"
        for one in sorted(set(range(trades[0], trades[-1] + 1)) - {*trades, *read.late}) if trades else ():
            if self.is_gentle:
                yield f"trade {one} is missing, and another member stood by"
            elif one in read.untold:
                yield f"trade {one} is missing in silence"


class Read:
    """What a reader makes of the stream."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.number = 0
        self.trades: list[int] = []
        self.late: list[int] = []
        self.gaps: dict[str, Gap] = {}
        self.untold: set[int] = set()  # passed over, where no gap stands between the trades before and behind
        self.is_gap_told = False
        self._is_told = False  # a gap stands behind the trade before
        self.book: int | None = None

    def take(self, record: Record) -> None:
        self.number += 1
        if isinstance(record, Gap):
            self._gap(record)
        elif isinstance(record, Trade):
            self._trade(record.sequence or 0, is_late="late" in (record.flags or ()))
        elif isinstance(record, BookSnapshot):
            self.book = record.sequence
        elif isinstance(record, BookDelta) and self.book is not None:
            if record.sequence != self.book + 1:
                self.wrong.append(f"the book goes from {self.book} to {record.sequence}")
            self.book = record.sequence

    def _trade(self, number: int, *, is_late: bool) -> None:
        if is_late:
            self.late.append(number)
            return
        is_told = self._is_told or any(gap.channel in {None, "trades"} for gap in self.gaps.values())
        if self.trades and not is_told:
            self.untold |= set(range(self.trades[-1] + 1, number))
        self.trades.append(number)
        self._is_told = False

    def _gap(self, gap: Gap) -> None:
        self.is_gap_told = True
        self._is_told = self._is_told or gap.channel in {None, "trades"}
        if is_hole(gap) and gap.channel in {None, "book"}:
            self.book = None
        if gap.phase == "close":
            self.gaps.pop(gap.gap_id, None)
            return
        self.gaps[gap.gap_id] = gap
        if gap.channel in {None, "book"}:
            self.book = None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first one")
    arguments = parser.parse_args()
    bad = 0
    for seed in range(arguments.first, arguments.first + arguments.cases):
        if wrong := Case(seed).run():
            bad += 1
            print(seed, wrong)  # noqa: T201 - it is a program
        if (seed + 1) % 5000 == 0:
            print(f"{seed + 1 - arguments.first} cases, {bad} wrong", flush=True)  # noqa: T201
    print(f"{arguments.cases} cases, {bad} wrong")  # noqa: T201
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
