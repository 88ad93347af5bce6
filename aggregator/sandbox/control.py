"""The control socket: faults, the books as they truly are, and what was done to whom; NDJSON both ways."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

LONGEST_LINE_BYTES = 64 * 1024


class Command(Struct):
    """A request on the control socket.

    op: `fault`, `fault_off`, `books`, `pause`, `resume`, `log`, `stats`
    exchange, conn: whom a fault is for (`*`: all); kind and value: as in `--faults`
    """

    op: str
    exchange: str = "*"
    conn: str = "*"
    kind: str = ""
    value: float = 0.0


Obey = Callable[[Command], object]


class SandboxControl:
    """Serves `obey` at a unix socket; it answers an object, or raises ValueError that says what is allowed."""

    def __init__(self, path: Path, obey: Obey) -> None:
        """Nothing listens before `start`."""
        self._path = path
        self._obey = obey
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a socket that nobody listens at any more is replaced, another file is not. Raises OSError."""
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LONGEST_LINE_BYTES)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(self._answer(line) + b"\n")
                await writer.drain()
        except (ValueError, OSError):
            pass  # a line without end, or nobody there any more
        finally:
            writer.close()

    def _answer(self, line: bytes) -> bytes:
        try:
            return msgspec.json.encode(self._obey(msgspec.json.decode(line, type=Command)))
        except (msgspec.MsgspecError, ValueError) as error:
            return msgspec.json.encode({"error": str(error)})
