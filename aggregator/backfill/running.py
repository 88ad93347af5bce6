"""A backfill at work: the pages of a walk asked for one by one, within the budget of the host, and written down."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from msgspec import Struct

from aggregator.backfill.files import HistoryFiles, Job
from aggregator.backfill.walks import MissingTime, Past, Target, begin, moment, name
from aggregator.errors import AggregatorError, SessionError, in_short
from aggregator.exchange import Exchange, Page, PastPages, Request
from aggregator.records import SECOND_NS, Candle, Instrument

MOST_TRIES = 8  # for one page; then the backfill ends, and can be gone on with
FIRST_PAUSE_S = 1.0  # before a page is asked for again; doubles
LONGEST_PAUSE_S = 60.0


class CannotBackfill(AggregatorError):
    """Nothing can be asked for; the words say why, and what to do."""


class BackfillFailed(AggregatorError):
    """It has ended before its end; what is written stays, and it can be gone on with."""


class Filled(Struct, frozen=True):
    """The outcome of a backfill.

    records: how many were written in all
    holes: what the exchange does not give
    files: those that were written
    """

    records: int
    holes: list[MissingTime]
    files: list[Path]


Fetch = Callable[[Request], Awaitable[bytes]]
Told = Callable[[int, int], None]  # the time that is reached, in ns, and the records so far


def history_of(exchange: Exchange, instrument: Instrument, channel: str, interval: str) -> PastPages:
    """How the past of a market is asked for. Raises CannotBackfill with what can be had instead."""
    ways = [way for way in exchange.history if way.channel == channel]
    if not ways:
        others = sorted({way.channel for way in exchange.history})
        hint = f"; {' and '.join(others)} can be had" if others else ""
        raise CannotBackfill(f"{exchange.id} gives no {channel} of the past that we know how to ask for{hint}")
    here = [way for way in ways if way.serves(instrument)]
    if not here:
        raise CannotBackfill(
            f"{exchange.id} gives no {channel} of the past of {instrument.symbol}, which is of kind {instrument.kind}"
        )
    if channel == "trades":
        return here[0]
    found = next((way for way in here if interval in way.intervals), None)
    if found is None:
        known = ", ".join(dict.fromkeys(each for way in here for each in way.intervals))
        raise CannotBackfill(f"{exchange.id} has no candles of {interval!r}; there are {known}")
    return found


def reached(target: Target, start: int, now: int) -> int:
    """The earliest time from `start` on that the exchange still gives."""
    history, step = target.history, target.step
    if history.reach_s is not None:
        start = max(start, now - history.reach_s * SECOND_NS)
    if history.deepest is not None:
        start = max(start, (now // step - history.deepest + 1) * step)
    return start


class BackfillRun:
    """One backfill: `run` goes on until all is had."""

    def __init__(
        self,
        job: Job,
        files: HistoryFiles,
        fetch: Fetch,
        clock: Callable[[], int],
        *,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
        said: Callable[[str], None] = lambda _: None,
        told: Told = lambda _, __: None,
    ) -> None:
        """Write to these files what `fetch` brings; `said` hears of what goes wrong, `told` how far it is."""
        self._job, self._files, self._fetch, self._clock = job, files, fetch, clock
        self._pause, self._said, self._told = pause, said, told

    async def run(self) -> Filled:
        """Ask until all is had. Raises BackfillFailed, OSError."""
        progress, target = self._files.progress, self._job.target
        if not progress.is_done:
            earliest = min(target.end, reached(target, progress.place.at, self._clock()))
            if earliest > progress.place.at:
                hole = MissingTime(progress.place.at, earliest)
                progress.place.at = earliest
                progress.place.seen.clear()
                self._files.take((), [hole], progress.place)
            walk = begin(target, progress.place)
            while (page := walk.page()) is not None:
                steps = walk.take(await self._ask(page))
                place = walk.place()
                if steps.is_astray:
                    said = (
                        "it answers with records of other times than were asked for, and nobody knows what is missing"
                    )
                    self._said(f"{target.history.request(page).url}: {said}")
                before = progress.place
                if steps.records or steps.holes or (place.at, place.number) != (before.at, before.number):
                    self._files.take(steps.records, steps.holes, place)
                self._told(place.at, progress.taken)
        return Filled(progress.taken, progress.holes, self._files.finish())

    async def _ask(self, page: Page) -> Sequence[Past]:
        """The records of a page, however often it has to be asked for."""
        history, wait = self._job.target.history, FIRST_PAUSE_S
        request = history.request(page)
        for left in range(MOST_TRIES - 1, -1, -1):
            try:
                body = await self._fetch(request)
                return self._read(history, page, body, request)
            except SessionError as error:
                if not left:
                    raise BackfillFailed(
                        f"{error}; after {MOST_TRIES} tries it is given up: begun again, it goes on from here"
                    ) from None
                pause = error.wait or wait
                self._said(f"{error}; it is asked again in {pause:.0f} s")
                await self._pause(pause)
                wait = min(wait * 2, LONGEST_PAUSE_S)
        raise AssertionError  # the last try returns or raises

    def _read(self, history: PastPages, page: Page, body: bytes, request: Request) -> Sequence[Past]:
        try:
            found = list(history.parse(page, body))
            for record in found:
                name(record), moment(record)  # they raise where it lacks what a walk needs
        except Exception as error:  # noqa: BLE001 - an answer may be anything
            raise SessionError(f"{request.url}: its answer cannot be read: {in_short(error)}") from None
        return [record for record in found if not self._is_open(record)]

    def _is_open(self, record: Past) -> bool:
        """Tell whether a candle is not over yet: it is left to a later backfill."""
        return isinstance(record, Candle) and record.ts_open + self._job.target.step > self._clock()
