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
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from copy import copy
from itertools import accumulate, count, pairwise
from typing import Any

from msgspec import structs

from aggregator.cluster.lease import Lease, LeaseKeeper, LeaseTiming, LeaseWrite
from aggregator.cluster.share import Share
from aggregator.cluster.writer import FrameWrite, ShardWriter
from aggregator.records import (
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Cause,
    Channel,
    Gap,
    Health,
    Record,
    TopicState,
    Trade,
    is_hole,
)

NAMES = ("a", "b", "c")
TIMING = LeaseTiming()
TICK_S = 0.4
EMITTED_S = 0.5  # between two records of the exchange
LOST_S = 10.0  # a connection that is not read for so long is gone
SILENT = "Q"  # a market with few trades; the other one is "S"
AGAIN_S = (0.5, 3.0)  # a connection that is gone is made anew in such a time
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
        self.seed = seed
        self.random = random.Random(seed)
        self.rough = rough
        self.most = FEW if rough and seed % 2 else MOST
        self.now = 0.0
        self.is_quiet = False
        chance = random.Random(f"{seed} few")
        few = accumulate(chance.expovariate(1 / 25.0) for _ in range(30))
        end = Case.LENGTH_S + Case.QUIET_S
        self.few_at = sorted([*few, end - 8, end - 3])  # which end what is open
        self.bucket: tuple[int, Lease | None] = (0, None)
        self.stream: list[Stored] = []
        self.ids: dict[str, int] = {}
        self.seen: dict[str, tuple[float, bool, bool]] = {}  # when each member told last, and if it is ready, and fresh
        self.unowned: list[float] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def few(self, now: float) -> int:
        """The number of the last trade at a moment of the market that has few."""
        return bisect_right(self.few_at, now)

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
        self.gaps: dict[tuple[Channel, str], Gap] = {}  # those that are open, one of a topic at most
        self.connection = 0  # how many there have been
        self.quiet_number = 0  # of the newest trade of the market with few
        self.chance = random.Random(f"{world.seed} {self.id}")
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
        self.quiet_number = self.world.few(self.world.now)
        self.book = self.number
        now = self.wall()
        if not self.connection and self.world.rough and self.chance.random() < 0.5:
            self.share.gather(self.lost("restart", now), now)
        self.share.gather([*self.told("syncing"), self.snapshot(), *self.ended("book", "S")], now)
        self.connection += 1
        self.read(self.connection)

    def begin_anew(self) -> None:
        """Begin the exchange anew, as another configuration wants that."""
        if self.gathered_at is None:
            return
        self.gathered_at = None
        self.connection += 1
        self.share.gather([*self.lost("restart", self.wall()), *self.told("down")], self.wall())
        self.world.after(self.chance.uniform(*AGAIN_S), lambda: self.do(self.begin_gathering))

    def told(self, state: TopicState) -> list[Record]:
        """What is told of all topics."""
        now = self.wall()
        return [
            Health(exchange="x", symbol=None, raw_symbol=market, ts_recv=now, conn="x", channel=channel, state=state)
            for channel, market in TOPICS
        ]

    def lost(self, cause: Cause, since: int) -> list[Record]:
        """Open the gaps of topics; while one is open none is opened, as a session does."""
        now, opened = self.wall(), list[Record]()
        for channel, market in TOPICS:
            if (channel, market) not in self.gaps:
                self.gaps[channel, market] = gap = Gap(
                    exchange="x",
                    symbol=None,
                    raw_symbol=market,
                    ts_recv=now,
                    conn="x",
                    gap_id=f"{self.id}:{channel}:{market}:{now}",
                    phase="open",
                    channel=channel,
                    cause=cause,
                    ts_from=since,
                )
                opened.append(copy(gap))
        return opened

    def ended(self, channel: Channel, market: str) -> list[Record]:
        """Close the gap of a topic of which a record has come."""
        gap = self.gaps.pop((channel, market), None)
        now = self.wall()
        return [] if gap is None else [structs.replace(gap, phase="close", ts_recv=now, ts_to=now, repair="none")]

    def snapshot(self) -> BookSnapshot:
        return BookSnapshot(
            exchange="x", symbol=None, raw_symbol="S", ts_recv=self.wall(), bids=[], asks=[], sequence=self.book
        )

    def read(self, connection: int) -> None:
        """Read the connection to the exchange; one that was not read for long is gone, and made anew."""
        if connection != self.connection:
            return
        world, now = self.world, self.wall()
        until = world.now - (0.0 if world.is_quiet else world.random.uniform(0, 1.5) * world.rough)
        newest, quiet_newest = emitted(until), world.few(until)
        records: list[Record] = []
        if world.now - self.last_read > LOST_S:
            since = now - round((world.now - self.last_read) * SECOND_NS)
            self.share.gather([*self.lost("disconnect", since), *self.told("down")], now)
            self.number = self.book = max(newest, self.number)
            self.quiet_number = max(quiet_newest, self.quiet_number)
            records += [*self.told("syncing"), self.snapshot(), *self.ended("book", "S")]
        for number in range(self.number + 1, newest + 1):
            records += [trade(number, now), *self.ended("trades", "S")]
            records.append(
                BookDelta(exchange="x", symbol=None, raw_symbol="S", ts_recv=now, bids=[], asks=[], sequence=number)
            )
        for number in range(self.quiet_number + 1, quiet_newest + 1):
            records += [trade(number, now, SILENT), *self.ended("trades", SILENT)]
        self.number = self.book = max(self.number, newest)
        self.quiet_number = max(self.quiet_number, quiet_newest)
        self.last_read = world.now
        self.share.gather(records, now)
        world.after(EMITTED_S, lambda: self.do(lambda: self.read(connection)))

    def whole(self, _raw_symbol: str) -> BookSnapshot | None:
        return None if self.gathered_at is None else self.snapshot()

    # --- what it does about the lease and the stream

    def line(self, *, is_ready: bool) -> tuple[list[str], Collection[str]]:
        """The members in line, as this one sees them, who knows whether it is ready; it may be wrong."""
        now = self.world.now
        seen = {name: told for name, told in self.world.seen.items() if now - told[0] < TIMING.ttl}
        seen[self.name] = now, is_ready, self.share.is_fresh
        names = [name for name in ORDER if name in seen]
        ready = [name for name in names if seen[name][1] and now - seen[name][0] < TIMING.ttl / 2]
        whole = [name for name in ready if not seen[name][2]]
        return names, whole if whole or self.keeper.fence else ready

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
                world.seen[self.name] = world.now, is_ready, self.share.is_fresh
            if world.random.random() < (0.2 if world.rough else 0.9):
                revision, lease = world.bucket
                world.after(world.delay(), lambda: self.do(lambda: self.observe(revision, lease)))
        line, ready = self.line(is_ready=is_ready)
        write = self.keeper.step(self.clock(), line, ready, self.wall(), self.share.fence)
        if write is None and self.keeper.is_leaving and self.writer.is_quiet:
            write = self.keeper.release(self.clock(), line, ready)
        if write is not None:
            self.send(lambda: world.replace(write), lambda answer: self.keeper.answered(write, answer, self.clock()))
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


TOPICS: tuple[tuple[Channel, str], ...] = (("trades", "S"), ("book", "S"), ("trades", SILENT))


def trade(number: int, now: int, market: str = "S") -> Trade:
    return Trade(exchange="x", symbol=None, raw_symbol=market, ts_recv=now, price="1", size="1", sequence=number)


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
        self.chance = random.Random(f"{seed} anew")

    def run(self) -> list[str]:
        """Play it; gives what is wrong."""
        world, chance = self.world, self.world.random
        for name in NAMES:
            world.after(chance.uniform(0, 2), lambda name=name: self.begin(name))  # type: ignore[misc]
        if self.is_gentle:
            at = 30.0
            while at < self.LENGTH_S:
                world.at(at, self.kill_owner if chance.random() < 0.7 else self.kill_any)
                world.at(at + self.chance.uniform(13, 15), self.begin_anew)
                at += chance.uniform(52, 65)
        else:
            at = 5.0
            while at < self.LENGTH_S:
                world.at(at, self.trouble)
                at += chance.expovariate(1 / 6.0)
            while (at := at - self.chance.expovariate(1 / 15.0)) > 0:
                world.at(at, self.begin_anew)
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

    def begin_anew(self) -> None:
        """Have a member begin the exchange anew, rather one that owns it not."""
        lease = self.world.bucket[1]
        owner = "" if lease is None else lease.owner
        others = [each for name, each in self.lives.items() if name != owner and not each.is_dead]
        if not self.is_gentle and self.chance.random() < 0.1:
            others = list(self.lives.values())
        is_owned = owner in self.lives and not self.lives[owner].is_dead  # else it may be the one that is to take over
        if others and (is_owned or not self.is_gentle):
            life = self.chance.choice(others)
            life.do(life.begin_anew)

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
        now = self.world.now
        newest = read.trades["S"][-1:]
        if newest < [emitted(now - 5)]:
            yield f"nobody gathers in the end: {newest} of {emitted(now)}"
        if read.gaps:
            yield f"a gap stays open: {list(read.gaps)}"
        if self.is_gentle and read.is_gap_told:
            yield "a gap is told, and another member stood by"
        for market, trades in read.trades.items():
            late = read.late[market]
            if any(other <= one for one, other in pairwise(trades)):
                yield f"a trade of {market} comes twice, or out of order"
            if len({*trades, *late}) < len(trades) + len(late):
                yield f"a trade of {market} comes twice, once of them late"
            for one in sorted(set(range(trades[0], trades[-1] + 1)) - {*trades, *late}) if trades else ():
                if self.is_gentle:
                    yield f"trade {one} of {market} is missing, and another member stood by"
                elif one in read.untold[market]:
                    yield f"trade {one} of {market} is missing in silence"


class Read:
    """What a reader makes of the stream."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.number = 0
        self.trades: dict[str, list[int]] = {"S": [], SILENT: []}
        self.late: dict[str, list[int]] = {"S": [], SILENT: []}
        self.gaps: dict[str, Gap] = {}
        self.untold: dict[str, set[int]] = {"S": set(), SILENT: set()}  # no gap stands between the trades around them
        self.is_gap_told = False
        self._told: set[str] = set()  # markets of which a gap stands behind the trade before
        self.book: int | None = None

    def take(self, record: Record) -> None:
        self.number += 1
        if isinstance(record, Gap):
            self._gap(record)
        elif isinstance(record, Trade):
            self._trade(record.raw_symbol or "", record.sequence or 0, is_late="late" in (record.flags or ()))
        elif isinstance(record, BookSnapshot):
            self.book = record.sequence
        elif isinstance(record, BookDelta) and self.book is not None:
            if record.sequence != self.book + 1:
                self.wrong.append(f"the book goes from {self.book} to {record.sequence}")
            self.book = record.sequence

    def _trade(self, market: str, number: int, *, is_late: bool) -> None:
        if is_late:
            self.late[market].append(number)
            return
        is_told = market in self._told or any(concerns(gap, "trades", market) for gap in self.gaps.values())
        trades = self.trades[market]
        if trades and not is_told:
            self.untold[market] |= set(range(trades[-1] + 1, number))
        trades.append(number)
        self._told.discard(market)

    def _gap(self, gap: Gap) -> None:
        self.is_gap_told = True
        self._told |= {market for market in self.trades if concerns(gap, "trades", market)}
        if is_hole(gap) and concerns(gap, "book", "S"):
            self.book = None
        if gap.phase == "close":
            self.gaps.pop(gap.gap_id, None)
            return
        self.gaps[gap.gap_id] = gap
        if concerns(gap, "book", "S"):
            self.book = None


def concerns(gap: Gap, channel: str, market: str) -> bool:
    return gap.channel in {None, channel} and gap.raw_symbol in {None, market}


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
