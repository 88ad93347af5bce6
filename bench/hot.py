"""The hot path, from a frame to its lines, without sockets: what each part costs, in one process, in turns.

loads: `orjson.loads` of the same frames, the yardstick; a: the parser alone; bound: the parser, and the least that any
Python does then; b: parser and session with all checks and the book kept, to nobody, where a read of the socket brings
ten frames, and (b1) where it brings one; c: as b, to NDJSON, a batch a read; C: what bound does, in C.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial

import orjson
from msgspec import Struct

from aggregator.bus.bus import Batch, Bus
from aggregator.capture.replay import Reader
from aggregator.catalog.registry import load_exchange
from aggregator.errors import AggregatorError
from aggregator.exchange import Parse, Stream
from aggregator.ingest.lines import PIECE_BYTES
from aggregator.records import CHANNEL_OF, BookDelta, Gap, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from bench.frames import Capture
from bench.measure import MICRO, pinned, processors, table, take_turns, timed
from bench.native import loop

READ = 10  # frames that one read of a busy socket brings; what is long is handed on in PIECEs
SHOWN = 80  # bytes of a frame that cannot be read
HEAD = ("exchange", "frames", "count", "bytes", "loads", "a", "bound", "b1", "b", "c", "C", "c/loads", "checks",
        "a /s", "b /s", "c /s", "gaps")  # fmt: skip
TITLE = "frame to record to line: µs of processor time per frame, and frames per second"


class Row(Struct):
    """One capture's figures, in microseconds per frame; `gaps` that the session reported in one run."""

    exchange: str
    kind: str
    frames: int
    bytes_per_frame: int
    loads: float
    parse: float
    bound: float
    alone: float
    session: float
    lines: float
    gaps: int
    native: float | None = None

    @property
    def checks(self) -> float:
        """What the session adds to the parser, as a share of the parser's time."""
        return self.session / self.parse - 1

    def cells(self) -> list[object]:
        """The row of the table."""
        return [
            self.exchange,
            self.kind,
            self.frames,
            self.bytes_per_frame,
            self.loads,
            self.parse,
            self.bound,
            self.alone,
            self.session,
            self.lines,
            "-" if self.native is None else self.native,
            self.lines / self.loads,
            f"+{self.checks:.0%}",
            *(f"{MICRO / figure:,.0f}" for figure in (self.parse, self.session, self.lines)),
            self.gaps,
        ]


class _Least:
    """What the bound knows of a topic."""

    __slots__ = ("asks", "bids", "count", "last", "symbol")

    def __init__(self) -> None:
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.count = 0
        self.last: int | None = None
        self.symbol = "BASE/QUOTE"


class Unreadable(AggregatorError):
    """The connector does not read these frames, so there is nothing to measure."""


class Bench:
    """One capture, ready to be run through each part any number of times."""

    def __init__(self, capture: Capture) -> None:
        """Find the stream that reads the frames. Raises Unreadable."""
        exchange = load_exchange(capture.exchange)
        if exchange is None:
            raise Unreadable(f"there is no connector for {capture.exchange}")
        self.capture = capture
        self.stream: Stream = Reader(exchange, (), None).stream_of(capture.url, capture.frames[0])
        self.gaps = 0
        start = 1_760_000_000_000_000_000
        self._times = [Now(start + at * 1000, start + at * 1000) for at in range(len(capture.frames))]
        self._check()

    def _check(self) -> None:
        session = self._session()
        records = session.receive(self.capture.frames, self._times[-1])
        self.gaps = sum(isinstance(record, Gap) and record.phase == "open" for record in records)
        if session.bad:
            seen = session.bad_frames[-1]
            raise Unreadable(f"{session.bad} frames cannot be read: {seen.error}: {seen.frame[:SHOWN]!r}")
        if len(records) < len(self.capture.frames) * 0.99:
            raise Unreadable(f"{len(self.capture.frames)} frames gave only {len(records)} records")

    def fresh(self) -> list[bytes]:
        """The frames as a socket would bring them: new objects, never read before."""
        return [bytes(bytearray(frame)) for frame in self.capture.frames]

    def _session(self) -> Session:
        """A session whose books are there already."""
        session = Session(
            self.capture.exchange,
            self.stream,
            conn=f"{self.capture.exchange}/bench#1",
            instruments=self.capture.instruments,
        )
        now = self._times[0]
        session.receive(self.capture.opening, now)
        for raw_symbol, body in self.capture.snapshots.items():
            session.receive_snapshot(raw_symbol, body, now)
        session.books(now)
        return session

    def loads(self) -> float:
        """The yardstick."""
        inflate = self.stream.inflate
        frames = self.fresh() if inflate is None else [inflate(frame) for frame in self.capture.frames]
        return timed(lambda: _each(orjson.loads, frames))

    def parse(self) -> float:
        """The parser alone."""
        parse, frames = self._reader(), self.fresh()
        return timed(lambda: _each_event(parse, frames))

    def _reader(self) -> Parse:
        """What reads the frames, once it has read those of the opening."""
        parse, inflate = self.stream.reader(), self.stream.inflate
        read = parse if inflate is None else lambda frame: parse(inflate(frame))
        for frame in self.capture.opening:
            list(read(frame))
        return read

    def bound(self) -> float:
        """Parser, topic found, record stamped and counted, levels put into a dictionary a side; nothing is checked."""
        parse, reads, exchange = self._reader(), self._reads(), self.capture.exchange
        topics: dict[tuple[type, str | None], _Least] = defaultdict(_Least)

        def work() -> None:
            for frames, now in reads:
                out: list[Record] = []
                for frame in frames:
                    for event in parse(frame):
                        if type(event) not in CHANNEL_OF:
                            continue
                        record: Record = event  # type: ignore[assignment]
                        topic = topics[type(record), record.raw_symbol]
                        record.exchange = record.conn = exchange
                        record.symbol = topic.symbol
                        record.ts_recv = now.wall
                        topic.count += 1
                        topic.last = record.sequence
                        if type(record) is BookDelta:
                            topic.bids |= record.bids
                            topic.asks |= record.asks
                        out.append(record)

        return timed(work)

    def _reads(self, most: int = READ) -> list[tuple[list[bytes], Now]]:
        """The frames as reads of the socket bring them, at most so many together."""
        reads: list[tuple[list[bytes], Now]] = []
        held = PIECE_BYTES
        for frame, now in zip(self.fresh(), self._times, strict=True):
            if held >= PIECE_BYTES or len(reads[-1][0]) == most:
                reads.append(([], now))
                held = 0
            reads[-1][0].append(frame)
            held += len(frame)
        return reads

    def session(self, most: int = READ) -> float:
        """Parser and session, to nobody."""
        session, reads = self._session(), self._reads(most)
        receive = session.receive

        def work() -> None:
            for frames, now in reads:
                receive(frames, now)

        return self._ended(session, timed(work))

    def alone(self) -> float:
        """The same, where frames come one by one."""
        return self.session(1)

    def lines(self) -> float:
        """Parser, session, bus and NDJSON."""
        session, reads = self._session(), self._reads()
        receive = session.receive
        bus = Bus("bench")
        bus.attach(_encode)

        def work() -> None:
            for frames, now in reads:
                bus.publish(receive(frames, now))

        return self._ended(session, timed(work))

    def _ended(self, session: Session, took: float) -> float:
        """End a session, so that its topics go with it: the collector sees nothing of what `settle` has frozen."""
        session.close("disconnect", self._times[-1])
        return took

    def native(self, read: Callable[[bytes], int]) -> float:
        """What `bound` does, in C."""
        frames = b"".join(frame + b"\n" for frame in self.capture.frames)
        if read(frames) < len(self.capture.frames):
            raise Unreadable("the loop in C does not read these frames")
        return timed(lambda: read(frames))

    def row(self, rounds: int) -> Row:
        """Measure."""
        tasks = {
            "loads": self.loads,
            "parse": self.parse,
            "bound": self.bound,
            "alone": self.alone,
            "session": self.session,
            "lines": self.lines,
        }
        read = loop() if self.capture.exchange.startswith("binance") else None
        if read is not None:
            tasks["native"] = partial(self.native, read)
        count = len(self.capture.frames)
        least = {name: seconds / count * MICRO for name, seconds in take_turns(tasks, rounds).items()}
        size = sum(map(len, self.capture.frames)) // count
        return Row(self.capture.exchange, self.capture.kind, count, size, gaps=self.gaps, **least)


def _encode(batch: Batch) -> None:
    batch.blob  # noqa: B018 - reading it is what encodes the lines


def _each(read: Callable[[bytes], object], frames: list[bytes]) -> None:
    for frame in frames:
        read(frame)


def _each_event(parse: Callable[[bytes], Iterable[object]], frames: list[bytes]) -> None:
    for frame in frames:
        for _ in parse(frame):
            pass


def report(captures: Iterable[Capture], rounds: int) -> list[Row]:
    """Measure every capture and print the table; what cannot be read is named and left out."""
    found: list[Row] = []
    with pinned(processors()[0]):
        for capture in captures:
            try:
                found.append(Bench(capture).row(rounds))
            except Unreadable as error:
                print(f"{capture.exchange} {capture.kind}: left out: {error}")
    table(TITLE, HEAD, [row.cells() for row in found])
    return found
