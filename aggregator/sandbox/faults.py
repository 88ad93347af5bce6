"""Faults of one connection: what is done to the frames on their way, and a log of every one of them."""

import random
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from aggregator.sandbox.settings import TIMED
from aggregator.simulation import Said

STALL_S = 3.0
REFUSE_S = 3.0
MOST_LOGGED = 200_000


class Injected(Struct, frozen=True):
    """One fault: of which connection, on which topic, and what a reader misses by it.

    numbers: first and last of the exchange's numbers that the frame held
    detectable: whether the protocol lets a reader see it
    """

    ts: int
    exchange: str
    conn: str
    kind: str
    channel: str | None = None
    raw_symbol: str | None = None
    numbers: tuple[int, int] | None = None
    detectable: bool = True


class FaultLog:
    """Every injected fault, in memory (bounded) and in a file where one is named."""

    def __init__(self, path: Path | None) -> None:
        """Append to `path`. Raises OSError."""
        self.entries: deque[Injected] = deque(maxlen=MOST_LOGGED)
        self.counts: dict[str, int] = {}
        self._file = path.open("ab") if path is not None else None

    def add(self, entry: Injected) -> None:
        """Note one fault."""
        self.entries.append(entry)
        self.counts[entry.kind] = self.counts.get(entry.kind, 0) + 1
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry) + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()


class Faults:
    """The faults of one connection, by kind; they may be changed while it runs."""

    def __init__(self, exchange: str, conn: str, wanted: Mapping[str, float], seed: int, log: FaultLog) -> None:
        """Begin with `wanted`: kind -> probability or mean seconds."""
        self.exchange = exchange
        self.conn = conn
        self.wanted = dict(wanted)
        self.is_half_open = False
        self.stalled_until = 0.0
        self._rng = random.Random(f"{seed}:{exchange}:{conn}")
        self._log = log
        self._held: Said | None = None
        self._due: dict[str, float] = {}

    def note(self, kind: str, said: Said | None = None) -> None:
        """Log one fault."""
        topic = (said.channel, said.raw_symbol, said.numbers, said.detectable) if said else (None, None, None, True)
        self._log.add(Injected(time.time_ns(), self.exchange, self.conn, kind, *topic))

    def due(self, now: float) -> str | None:
        """A timed fault whose moment has come."""
        for kind in TIMED:
            mean = self.wanted.get(kind, 0)
            if not mean:
                self._due.pop(kind, None)
            elif kind not in self._due:
                self._due[kind] = now + self._rng.expovariate(1 / mean)
            elif now >= self._due[kind]:
                del self._due[kind]
                return kind
        return None

    def pass_on(self, said: Said, now: float) -> Iterable[bytes]:
        """The frames to send instead of this one: none, itself, itself twice, the one held back as well, or rubbish."""
        if self.is_half_open or now < self.stalled_until:
            self.note("half_open" if self.is_half_open else "stall", said)
            return ()
        if self._strikes("drop"):
            self.note("drop", said)
            return self._with_held(())
        if self._strikes("corrupt"):
            self.note("corrupt", said)
            return self._with_held((self._corrupted(said.frame),))
        if self._strikes("duplicate"):
            self.note("duplicate", said)
            return self._with_held((said.frame, said.frame))
        if self._held is None and self._strikes("reorder"):
            self.note("reorder", said)
            self._held = said
            return ()
        return self._with_held((said.frame,))

    def _with_held(self, frames: tuple[bytes, ...]) -> tuple[bytes, ...]:
        held, self._held = self._held, None
        return frames if held is None else (*frames, held.frame)

    def _strikes(self, kind: str) -> bool:
        probability = self.wanted.get(kind, 0)
        return bool(probability) and self._rng.random() < probability

    def _corrupted(self, frame: bytes) -> bytes:
        """Cut short, or with a wrong type where a text or number was: in no case readable."""
        broken = frame.replace(b'":"', b'":[', 1) if self._rng.random() < 0.5 else frame.replace(b"[", b"[[{", 1)
        if self._rng.random() < 0.5 or broken == frame:
            return frame[: self._rng.randrange(1, max(2, len(frame) - 1))]
        return broken
