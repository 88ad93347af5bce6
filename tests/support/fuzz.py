"""Mutants of genuine frames through every parser and through whole sessions.

`python -m tests.support.fuzz --minutes 10` runs it. The time is divided evenly among all parsers: each
stream's (half of its time through a whole session), and what reads listings, books, trades and polls by REST. Of each
it is asked that
- a parser raises nothing but what a frame may provoke, and a session nothing at all;
- every record that comes out can be written;
- no call takes more than 100 ms of processor time;
- the memory of the process does not grow.

The same seed gives the same mutants. What is wrong is printed with the frame, and the exit code is 1.
"""

import argparse
import base64
import gc
import itertools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random

from msgspec import Raw, Struct, structs

from aggregator.bus.bus import Batch
from aggregator.catalog.registry import archived_ids, connector_ids, load_exchange
from aggregator.exchange import Exchange, Stream, Subscription
from aggregator.ingest.lines import PIECE_BYTES
from aggregator.records import CHANNEL_OF, Instrument
from aggregator.session.moment import Now
from aggregator.session.session import Session
from aggregator.session.unreadable import EXPECTED
from tests.support.mutants import mutant

FRAMES = Path(__file__).parents[1] / "frames"
START = 1_760_000_000_000_000_000
SECOND = 1_000_000_000
SLOWEST = 0.1  # seconds of processor time of one call
AGAIN = 3  # times that a slow call is measured: one alone may be the machine's
MOST_GROWTH = 24  # megabytes of one process, after a parser's first third
LONGEST_SESSION = 200  # reads
PER_READ = 8  # frames
Row = dict[str, object]


class Wrong(Struct, frozen=True):
    """One thing that is wrong, and the frames that show it."""

    parser: str
    what: str
    frames: tuple[bytes, ...] = ()


class Looked(Struct):
    """What came of one parser."""

    parser: str
    mutants: int = 0
    unread: int = 0
    slowest: float = 0.0
    grown: float = 0.0
    wrong: list[Wrong] = []


class Parser(Struct, frozen=True):
    """Something that reads: its name, the genuine material, and what tries one mutant of it.

    attempt: makes what tries the next read, again and again, for as long as it is to live
    """

    name: str
    material: Sequence[bytes]
    attempt: Callable[["Trial"], None]


class Trial:
    """One parser's run: it makes mutants, calls what reads them, and keeps what is wrong."""

    def __init__(self, parser: Parser, seed: int) -> None:
        self.looked = Looked(parser.name)
        self.rng = Random(f"{seed}:{parser.name}")
        self._material = parser.material
        self._seen: set[str] = set()

    def mutant(self) -> bytes:
        self.looked.mutants += 1
        return mutant(self.rng.choice(self._material), self._material, self.rng)

    def read(self, frames: Sequence[bytes], call: Callable[[], Iterable[object]], *, may_raise: bool) -> None:
        """Call what reads these frames, and judge it."""
        taken, given = self._timed(frames, call, may_raise=may_raise)
        if taken > SLOWEST and may_raise:  # else it has changed the session, and cannot be done again
            taken = min(taken, *(self._timed(frames, call, may_raise=may_raise)[0] for _ in range(AGAIN - 1)))
        self.looked.slowest = max(self.looked.slowest, taken)
        if taken > SLOWEST:
            self.note("it takes longer than a call may", f"{taken * 1000:.0f} ms", frames)
        try:
            _ = Batch([record for record in given if type(record) in CHANNEL_OF]).blob  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            self.note("a record cannot be written", str(error), frames)

    def note(self, what: str, more: str, frames: Sequence[bytes]) -> None:
        """Keep what is wrong, each kind once."""
        if what not in self._seen:
            self._seen.add(what)
            self.looked.wrong.append(Wrong(self.looked.parser, f"{what}: {more}", tuple(frames)))

    def _timed(
        self, frames: Sequence[bytes], call: Callable[[], Iterable[object]], *, may_raise: bool
    ) -> tuple[float, list[object]]:
        given: list[object] = []
        begun = time.thread_time()
        try:
            given = list(call())
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            self.looked.unread += 1
            if not may_raise or not isinstance(error, EXPECTED):
                where = traceback.extract_tb(error.__traceback__)[-1]
                self.note(f"it raises {type(error).__name__} at {Path(where.filename).name}:{where.lineno}", str(error),
                          frames)  # fmt: skip
        return time.thread_time() - begun, given


# --- what reads -------------------------------------------------------------------------------------------------------


def parsers() -> list[Parser]:
    """Every parser of every connector."""
    return [parser for id in (*connector_ids(), *archived_ids()) for parser in of(id)]


def of(id: str) -> Iterator[Parser]:
    """The parsers of one connector."""
    exchange = load_exchange(id)
    assert exchange is not None
    rows = [json.loads(line) for line in (FRAMES / f"{id}.jsonl").read_text().splitlines()]
    bodies = [row["body"].encode() for row in rows if "rest" in row]
    wanted = sorted({(r["type"], r["raw_symbol"]) for row in rows for r in gives(row) if r.get("raw_symbol")})
    listed = [(row["body"].encode(), row) for row in rows if row.get("rest") == "listing" and "until" not in row]
    for stream in (*exchange.streams, *exchange.archived):
        frames = [frame_of(row) for row in rows if "rest" not in row and row.get("stream", "main") == stream.name]
        yield Parser(f"{id}/{stream.name}", frames, through(exchange, stream, wanted, bodies))
        if stream.snapshot is not None and stream.snapshot.parse is not None:
            yield Parser(f"{id}/{stream.name} snapshot", like(rows, "snapshot"), reading(stream.snapshot.parse))
        if stream.backfill is not None:
            yield Parser(f"{id}/{stream.name} backfill", like(rows, "backfill"), reading(stream.backfill.parse))
    for poll in exchange.polls:
        own = [row for row in rows if row.get("name") == poll.name]
        yield Parser(f"{id}/{poll.name} poll", like(own or rows, "poll"), reading(poll.parse))
    if listed:
        yield Parser(f"{id} listing", [body for body, _ in listed], listing(exchange))
    for archive in exchange.archives:
        old = [row["body"].encode() for row in rows if row.get("until") == archive.until]
        if old:
            then = structs.replace(exchange, listing=archive.listing)
            yield Parser(f"{id} listing of {archive.until}", old, listing(then))


def gives(row: Row) -> list[dict[str, str]]:
    found = row["gives"]
    return [given for given in found if given and "type" in given] if isinstance(found, list) else []


def frame_of(row: Row) -> bytes:
    return base64.b64decode(str(row["frame_b64"])) if "frame_b64" in row else str(row["frame"]).encode()


def like(rows: Sequence[Row], kind: str) -> list[bytes]:
    """The answers of this kind, or else any that there are."""
    own = [str(row["body"]).encode() for row in rows if row.get("rest") == kind]
    return own or [str(row["body"]).encode() for row in rows if "rest" in row] or [b"{}"]


def reading(parse: Callable[[str, bytes], object]) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        body = trial.mutant()

        def call() -> Iterable[object]:
            found = parse("BTC-USDT", body)
            return found if isinstance(found, Iterable) else [found]

        trial.read([body], call, may_raise=True)

    return attempt


def listing(exchange: Exchange) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        body = trial.mutant()
        rows: list[Raw] = []

        def call() -> Iterable[object]:
            rows[:] = exchange.listing.rows(body)
            return ()

        trial.read([body], call, may_raise=True)
        for row in rows[:50]:
            trial.read([bytes(row)], lambda row=row: [exchange.listing.read(row)], may_raise=True)  # type: ignore[misc]

    return attempt


def through(
    exchange: Exchange, stream: Stream, wanted: Sequence[tuple[str, str]], bodies: Sequence[bytes]
) -> Callable[[Trial], None]:
    """A stream's frames: one by one through its parser, then a session's worth through a session."""
    channel_of = {str(record.__struct_config__.tag): channel for record, channel in CHANNEL_OF.items()}
    topics = [Subscription(channel_of[kind], raw) for kind, raw in wanted]
    topics = [topic for topic in dict.fromkeys(topics) if topic.channel in stream.channels][: stream.per_connection]
    plain = structs.replace(stream, inflate=None)  # mutants are of what stood in a packed frame

    def attempt(trial: Trial) -> None:
        parse = stream.reader()
        for _ in range(LONGEST_SESSION):
            frame = unpacked(stream, trial.mutant(), trial.rng)
            trial.read([frame], lambda frame=frame: parse(frame), may_raise=True)  # type: ignore[misc]
        is_live = trial.rng.random() < 0.5
        talk(trial, exchange, stream if trial.rng.random() < 0.2 else plain, topics if is_live else None, bodies)

    return attempt


def unpacked(stream: Stream, frame: bytes, rng: Random) -> bytes:
    """A packed frame is mutated as it came, or after unpacking."""
    if stream.inflate is None:
        return frame
    try:
        return mutant(stream.inflate(frame), (), rng)
    except EXPECTED:
        return frame


def talk(
    trial: Trial, exchange: Exchange, stream: Stream, topics: Sequence[Subscription] | None, bodies: Sequence[bytes]
) -> None:
    """One session from its opening to its close."""
    packed = next((s.inflate for s in exchange.streams if s.name == stream.name), None)
    instruments: dict[str, Instrument] = {}
    session = Session(exchange.id, stream, conn="fuzz", instruments=instruments, subscriptions=topics)
    wall = START
    now = Now(wall, wall)
    trial.read([], lambda: session.open(now), may_raise=False)
    for _ in range(trial.rng.randrange(1, LONGEST_SESSION)):
        wall += trial.rng.choice((0, 1000, SECOND // 10, 2 * SECOND, 40 * SECOND))
        now = Now(wall, wall)
        frames, size = [], 0
        for _ in range(trial.rng.randrange(1, PER_READ)):
            frame = trial.mutant()
            if packed is not None and stream.inflate is None:
                frame = unpacked(structs.replace(stream, inflate=packed), frame, trial.rng)
            frames.append(frame)
            size += len(frame)
            if size >= PIECE_BYTES:
                break
        trial.read(frames, partial(session.receive, frames, now), may_raise=False)
        trial.read([], partial(session.tick, now), may_raise=False)
        for frame in session.outbox:
            session.sent(frame, now)
        session.outbox.clear()
        while session.wanted:
            fetch = session.wanted.popleft()
            body = mutant(trial.rng.choice(bodies), bodies, trial.rng) if bodies else b"{}"
            trial.read([body], partial(session.answer, fetch, body, now), may_raise=False)
        if session.close_reason is not None:
            break
    trial.read([], lambda: [*session.books(now), *session.end(now), *session.close("disconnect", now)], may_raise=False)
    trial.read([], lambda: session.bye("enough", now), may_raise=False)
    session.carried()


# --- the run ----------------------------------------------------------------------------------------------------------


def resident() -> float:
    """Megabytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def try_for(parser: Parser, seconds: float, seed: int) -> Looked:
    """Try a parser for so long; where memory has grown, for as long again, for the first time alone says little."""
    trial = Trial(parser, seed)
    _spend(parser, trial, seconds / 3)
    for _ in range(2):
        settled = _spend(parser, trial, 0)
        trial.looked.grown = _spend(parser, trial, seconds * 2 / 3) - settled
        if trial.looked.grown <= MOST_GROWTH:
            return trial.looked
    trial.note("memory grows", f"{trial.looked.grown:.0f} MB", ())
    return trial.looked


def _spend(parser: Parser, trial: Trial, seconds: float) -> float:
    """Try a parser for so long; the megabytes that the process holds then."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        parser.attempt(trial)
    gc.collect()
    return resident()


def try_times(parser: Parser, times: int, seed: int) -> Looked:
    """Try a parser so often, for a run that is the same on every machine."""
    trial = Trial(parser, seed)
    for _ in range(times):
        parser.attempt(trial)
    return trial.looked


def _run(at: int, seconds: float, seed: int) -> Looked:
    """In a process of its own, which has the parsers by their place alone."""
    return try_for(_known()[at], seconds, seed)


_parsers: list[Parser] = []


def _known() -> list[Parser]:
    if not _parsers:
        _parsers.extend(parsers())
        gc.collect()
        gc.freeze()
    return _parsers


def main() -> None:
    """Run, print a line for each parser, and leave with 1 where anything is wrong."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--minutes", type=float, default=10)
    asked.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--only", default="", help="parsers whose name begins so: kraken/")
    options = asked.parse_args()
    chosen = [at for at, parser in enumerate(_known()) if parser.name.startswith(options.only)]
    seconds = options.minutes * 60 * options.jobs / len(chosen)
    print(f"{len(chosen)} parsers, {seconds:.1f} s each", file=sys.stderr)
    wrong: list[Wrong] = []
    total = unread = 0
    slowest = 0.0
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        runs = pool.map(_run, chosen, itertools.repeat(seconds), itertools.repeat(options.seed))
        for looked in runs:
            total += looked.mutants
            unread += looked.unread
            slowest = max(slowest, looked.slowest)
            wrong += looked.wrong
            said = f"{looked.mutants:9,} mutants  slowest {looked.slowest * 1000:6.1f} ms  grown {looked.grown:5.1f} MB"
            print(f"{looked.parser:40} {said}  {len(looked.wrong) or ''}", flush=True)
            for one in looked.wrong:
                print("   wrong:", one.what, "\n     ", *(f"{frame[:300]!r}" for frame in one.frames), flush=True)
    print(f"{total:,} mutants, {unread:,} not readable, slowest {slowest * 1000:.1f} ms, wrong: {len(wrong)}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
