"""The load of workers: measured while they run, kept for the next start, and whether moving an exchange would help.

A worker says what processor time it has taken; of its exchanges, or parts of such, it is known how many records came of
each. An exchange takes that part of its worker's time that its records are of all of these.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from aggregator.errors import UNREADABLE
from aggregator.ingest import state

UNKNOWN_LOAD = 100.0  # records a second of an exchange that has not been seen
MEASURED_S = 120.0  # so long a time is looked at
EVERY_S = 10.0  # between two looks
BUSY = 0.5  # a worker that takes less of a processor is left alone
GAIN = 0.15  # and so much less of one must the busier of two workers take, else nothing is moved

MayHave = Callable[[str, int], bool]

log = logging.getLogger("aggregator.daemon")


class Burden(Struct, frozen=True):
    """One worker at one moment: what processor time its process has taken since it began, and the exchanges it has.

    Of one that is divided the name of its part stands for it, here and below.
    """

    life: int
    cpu_s: float
    exchanges: tuple[str, ...]


class Proposal(Struct, frozen=True):
    """An exchange that is to move, the number of the worker that is to have it, and why."""

    exchange: str
    worker: int
    why: str


class MeasuredLoad:
    """How many records a second came of each exchange, in the life before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rates: dict[str, float] = {}
        self._since = time.monotonic()

    def of(self, id: str) -> float:
        """Records a second."""
        return self._rates.get(id, UNKNOWN_LOAD)

    def read(self) -> None:
        """Read what was kept; where that cannot be, all are alike."""
        try:
            blob = state.read(self._path)
            self._rates = {} if blob is None else msgspec.json.decode(blob, type=dict[str, float])
        except (OSError, *UNREADABLE) as error:
            log.warning(
                "%s: cannot be read, so exchanges are given to workers as if all were alike: %s", self._path, error
            )

    def keep(self, records: Mapping[str, float]) -> None:
        """Keep what was measured in this life: how many have come of each exchange."""
        seconds = max(1.0, time.monotonic() - self._since)
        rates = self._rates | {id: round(count / seconds, 1) for id, count in records.items() if count}
        try:
            state.write(self._path, [msgspec.json.encode(rates)])
        except OSError as error:
            said = "the next start divides exchanges by what an earlier one has kept"
            log.warning("%s: cannot be written, and %s: %s", self._path, said, error)


class Balance:
    """The load of workers lately, and the exchange that another one would better have."""

    def __init__(self, may_have: MayHave = lambda exchange, worker: True) -> None:  # noqa: ARG005
        self._may_have = may_have
        self._looks: deque[tuple[float, dict[int, Burden], dict[str, float]]] = deque()

    def look(self, now: float, burdens: Mapping[int, Burden], records: Mapping[str, float]) -> Proposal | None:
        """Measure, and say what would help; null: nothing would, or it is too soon to say.

        now: seconds
        burdens: by number of the worker
        records: by exchange, how many have come
        """
        looks = self._looks
        if looks and _who_has_what(looks[-1][1].items()) != _who_has_what(burdens.items()):
            looks.clear()  # it is another division now, or other processes
        looks.append((now, dict(burdens), dict(records)))
        since, before, came = looks[0]
        if now - since < MEASURED_S:
            return None
        looks.popleft()
        seconds = now - since
        cpu = {number: (burden.cpu_s - before[number].cpu_s) / seconds for number, burden in burdens.items()}
        rates = {id: (count - came.get(id, 0.0)) / seconds for id, count in records.items()}
        return proposed(cpu, rates, {number: burden.exchanges for number, burden in burdens.items()}, self._may_have)


def _who_has_what(burdens: Iterable[tuple[int, Burden]]) -> dict[int, tuple[int, tuple[str, ...]]]:
    return {number: (burden.life, burden.exchanges) for number, burden in burdens}


def proposed(
    cpu: Mapping[int, float],
    rates: Mapping[str, float],
    exchanges: Mapping[int, tuple[str, ...]],
    may_have: MayHave = lambda exchange, worker: True,  # noqa: ARG005
) -> Proposal | None:
    """The exchange whose move makes the busiest worker's share least, where that is worth it.

    cpu: by number of the worker, which part of a processor it takes
    rates: by exchange, records a second
    exchanges: by number of the worker
    may_have: tells whether an exchange may move to the worker of a number
    """
    if len(cpu) < 2:
        return None
    busiest = max(cpu, key=lambda number: (cpu[number], -number))
    idlest = min(cpu, key=lambda number: (cpu[number], number))
    total = sum(rates.get(id, 0.0) for id in exchanges[busiest])
    movable = [id for id in sorted(exchanges[busiest]) if may_have(id, idlest)]
    if cpu[busiest] < BUSY or not total or not movable:
        return None

    def after(id: str) -> float:
        moved = cpu[busiest] * rates.get(id, 0.0) / total
        return max(cpu[busiest] - moved, cpu[idlest] + moved)

    best = min(movable, key=after)
    if after(best) > cpu[busiest] - GAIN:
        return None
    why = f"worker {busiest} took {cpu[busiest]:.2f} of a processor, worker {idlest} {cpu[idlest]:.2f}"
    return Proposal(best, idlest, why)
