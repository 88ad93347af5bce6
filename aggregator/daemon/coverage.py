"""How complete the recordings of the daemon are, as `aggregator coverage` tells it, in a process of its own.

A recording of a day may be gigabytes that are read for minutes: in the daemon every stream would wait for it. Whoever
may see the status may ask for this, so time, memory, days and the answer are bounded.
"""

import asyncio
import mmap
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from aggregator.bus.insight import CoverageQuery, NoCoverage, RecordingPlace
from aggregator.feed.protocol import BadRequest
from aggregator.sinks.sink import SinkConfig

MOST_DAYS = 31  # in one question
MOST_WAITING = 4  # questions at once; one is answered after the other
MOST_KEPT = 8  # answers that are kept
LONGEST_S = 60.0
LARGEST_ANSWER_BYTES = 16_000_000
LARGEST_MEMORY_BYTES = 1_000_000_000
LONGEST_WORDS_BYTES = 4096  # the end of what the process complains of
PIECE_BYTES = 65536  # bytes of its answer that are read in one turn
FRESH_S = 15.0  # an answer is given again for so long
LOOK_S = 0.25  # between two looks at its memory
NARROWER = "ask for fewer days or one exchange, or run `aggregator coverage`"


def recordings_of(sinks: Sequence[SinkConfig]) -> list[RecordingPlace]:
    """The recordings that sinks make."""
    return [
        RecordingPlace(name=each.name, type=each.sink.name, path=str(each.settings.path))
        for each in sinks
        if each.sink.is_recording
    ]


class CoverageTeller:
    """Asks `aggregator coverage`, one question after the other."""

    def __init__(self) -> None:
        self._working = asyncio.Lock()
        self._waiting = 0
        self._kept: dict[CoverageQuery, tuple[float, bytes]] = {}

    async def tell(self, query: CoverageQuery, recordings: Sequence[RecordingPlace]) -> bytes:
        """How complete a recording is, as JSON. Raises BadRequest, NoCoverage."""
        path = _path_of(query, recordings)
        if self._waiting >= MOST_WAITING:
            raise NoCoverage(f"{self._waiting} such questions are being answered already: ask again later")
        self._waiting += 1
        try:
            async with self._working:
                found = self._fresh(query)
                if found is None:
                    found = await _ask(query, path)
                    self._kept[query] = asyncio.get_running_loop().time(), found
                return found
        finally:
            self._waiting -= 1

    def _fresh(self, query: CoverageQuery) -> bytes | None:
        """The answer that was given lately, where there is one."""
        oldest = asyncio.get_running_loop().time() - FRESH_S
        fresh = [(each, held) for each, held in self._kept.items() if held[0] > oldest]
        self._kept = dict(fresh[-MOST_KEPT + 1 :])
        return self._kept[query][1] if query in self._kept else None


def _path_of(query: CoverageQuery, recordings: Sequence[RecordingPlace]) -> Path:
    """Where the recording lies that a question is about. Raises BadRequest for one that is not to be answered."""
    paths = {each.name: each.path for each in recordings}
    if query.recording not in paths:
        known = ", ".join(paths) or "this daemon makes none"
        raise BadRequest(f"{query.recording!a:.80} is no recording of this daemon: {known}")
    try:
        days = (date.fromisoformat(query.last) - date.fromisoformat(query.first)).days + 1
    except ValueError:
        raise BadRequest(f"{query.first!a:.40} to {query.last!a:.40} are no days; write 2026-11-29") from None
    if not 0 < days <= MOST_DAYS:
        raise BadRequest(f"{days} days are asked for; 1 to {MOST_DAYS} can be at once")
    if query.exchange is not None and not query.exchange.isidentifier():
        raise BadRequest(f"{query.exchange!a:.80} is no id of an exchange")
    return Path(paths[query.recording])


async def _ask(query: CoverageQuery, path: Path) -> bytes:
    """Have a process tell it. Raises NoCoverage where it does not, or takes too much."""
    day_after = date.fromordinal(date.fromisoformat(query.last).toordinal() + 1)
    words = ["--json", "--brief", f"--from={query.first}", f"--to={day_after}"]
    words += [] if query.exchange is None else [f"--exchange={query.exchange}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "aggregator", "coverage", *words, "--", path,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    with suppress(OSError):  # a service may not be allowed to
        os.setpriority(os.PRIO_PROCESS, process.pid, 19)
    telling, complaining = asyncio.ensure_future(_whole(process.stdout)), asyncio.ensure_future(_last(process.stderr))
    ending, watching = asyncio.ensure_future(process.wait()), asyncio.ensure_future(_watch(process.pid))
    reading = asyncio.gather(telling, complaining, ending)
    either: list[asyncio.Future[Any]] = [reading, watching]
    try:
        done, _ = await asyncio.wait(either, timeout=LONGEST_S, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise NoCoverage(f"reading the recording takes longer than {LONGEST_S:g} s: {NARROWER}")
        if reading not in done:
            raise NoCoverage(
                f"reading the recording takes more than {LARGEST_MEMORY_BYTES} bytes of memory: {NARROWER}"
            )
        told, complaint, code = reading.result()
    finally:
        await _end(process, [telling, complaining, ending, watching])
    if code:
        said = complaint.decode(errors="replace").strip().rpartition("\n")[2].removeprefix("aggregator: ")
        raise NoCoverage(said or f"`aggregator coverage` has ended with code {code}")
    return told


async def _end(process: asyncio.subprocess.Process, tasks: "Sequence[asyncio.Future[Any]]") -> None:
    """End the process, and what hears it.

    What it has still said is read to its end: nobody hears that a process is over whose pipe is full.
    """
    for task in tasks:
        task.cancel()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(_last(process.stdout), _last(process.stderr), process.wait())


async def _whole(stream: asyncio.StreamReader | None) -> bytes:
    """All that a process says. Raises NoCoverage where that is too much."""
    held = bytearray()
    while piece := await stream.read(PIECE_BYTES) if stream is not None else b"":
        held += piece
        if len(held) > LARGEST_ANSWER_BYTES:
            raise NoCoverage(f"the answer is larger than {LARGEST_ANSWER_BYTES} bytes: {NARROWER}")
    return bytes(held)


async def _last(stream: asyncio.StreamReader | None) -> bytes:
    """The last of what a process complains of."""
    held = b""
    while piece := await stream.read(LONGEST_WORDS_BYTES) if stream is not None else b"":
        held = (held + piece)[-LONGEST_WORDS_BYTES:]
    return held


async def _watch(pid: int) -> None:
    """Return once a process takes more memory than it may; where the system does not tell, never."""
    while _resident(pid) <= LARGEST_MEMORY_BYTES:  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(LOOK_S)


def _resident(pid: int) -> int:
    """The memory that a process takes; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return 0
