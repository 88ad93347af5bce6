"""The `stdout` sink: every record as NDJSON. A slow reader loses records, a reader that has left ends it quietly."""

import asyncio
import logging
import os
import select

from aggregator.bus.bus import Bus, Group, Tap
from aggregator.sinks.notes import encode, loss_of, overflow
from aggregator.sinks.paths import Place
from aggregator.sinks.settings import StdoutSettings
from aggregator.sinks.worker import Worker

PAUSE = 0.01  # seconds in which batches gather
FIRST_BACKOFF = 1.0  # seconds; doubles
LONGEST_BACKOFF = 30.0

log = logging.getLogger("aggregator.sinks.stdout")


class _Output:
    """The bytes that are still to be written; they survive an error, so that no line is torn."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.rest = memoryview(b"")

    def write(self) -> None:
        """Write the rest, however long that takes. Raises OSError."""
        while self.rest:
            try:
                written = os.write(self._fd, self.rest)
            except BlockingIOError:  # whoever shares the descriptor made it non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
                continue
            self.rest = self.rest[written:]


async def write_stdout(settings: StdoutSettings, bus: Bus, tap: Tap, *, fd: int = 1) -> bool:  # noqa: ARG001 - as any sink
    """Write until the stream ends; whether the reader left before that.

    What the tap loses stands in the output as a `gap` of cause `overflow`. On any error but a closed pipe (a full
    disk behind it, say) it tries again, and the tap loses what does not fit.
    """
    output, worker, ts = _Output(fd), Worker("stdout"), 0
    try:
        async for group in tap.groups(PAUSE):
            output.rest = memoryview(_blob(group, bus.epoch, ts))
            ts = group.batches[-1].records[-1].ts_recv
            await _write(output, worker)
    except BrokenPipeError:
        return True
    finally:
        worker.stop()
    return False


async def _write(output: _Output, worker: Worker) -> None:
    wait = 0.0
    while True:
        try:
            await worker.do(output.write)
        except BrokenPipeError:
            raise
        except OSError as error:
            if not wait:
                log.error("stdout: %s; trying again until it works", error)  # noqa: TRY400 - no fault of ours
            wait = min(wait * 2 or FIRST_BACKOFF, LONGEST_BACKOFF)
            await asyncio.sleep(wait)
        else:
            if wait:
                log.warning("stdout: goes on")
            return


def _blob(group: Group, epoch: str, ts: int) -> bytes:
    """The group's lines, behind a gap where something was lost before it; `ts`: of the record before."""
    parts = [batch.blob for batch in group.batches]
    if group.lost is not None:
        first = group.batches[0].records[0].ts_recv
        parts.insert(0, encode(overflow("stdout", epoch, loss_of(group.lost, ts or first, first), Place())) + b"\n")
    return b"".join(parts)
