"""The `stdout` sink: every record as NDJSON. A slow reader loses records, a reader that has left ends it quietly."""

import os
import select
from typing import Literal

from msgspec import Struct

from aggregator.sinks.sink import Batch, Context, Delivery, Ended, Retry, Sink, Writer
from aggregator.sinks.worker import Worker


class StdoutSettings(Struct, frozen=True, kw_only=True):
    """Records on standard output, which a service writes to its journal.

    format: `ndjson` is the only one there is
    """

    format: Literal["ndjson"] = "ndjson"


class StdoutWriter(Writer):
    """Writes in a thread, so that a reader that has stopped keeps nobody waiting."""

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._worker = Worker("stdout")
        self._batch: Batch | None = None
        self._rest = memoryview(b"")  # the batch's end; it survives an error, so that no line is torn

    async def write(self, batch: Batch) -> None:
        if batch is not self._batch:
            self._batch, self._rest = batch, memoryview(batch.blob)
        try:
            await self._worker.do(self._write)
        except BrokenPipeError:
            raise Ended from None
        except OSError as error:  # a full disk behind it, say
            raise Retry(str(error)) from error

    def _write(self) -> None:
        """Write the rest, however long that takes. Raises OSError."""
        while self._rest:
            try:
                written = os.write(self._fd, self._rest)
            except BlockingIOError:  # whoever shares the descriptor made it non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
                continue
            self._rest = self._rest[written:]

    async def close(self) -> None:
        self._worker.stop()


async def open_stdout(settings: StdoutSettings, context: Context) -> Writer:  # noqa: ARG001 - as any sink
    """Begin; standard output is open already."""
    return StdoutWriter()


SINK = Sink("stdout", StdoutSettings, open_stdout, kind="local", delivery=Delivery(batch_age=0.01), unique="type")
