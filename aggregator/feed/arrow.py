"""The `arrow` sink: Arrow's IPC streams over a socket, for analysis clients that have no library of ours.

A client connects, sends one line that says which record type it wants, and reads a stream: one schema, and record
batches as they come. There is no server of Flight between: that has threads of its own for each client, and no way to
end a call whose client does not read. Words are plain texts, so that every message stands alone and is made once for
all who asked the same.
Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

import asyncio
import errno
import logging
import select
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, partial
from itertools import count
from typing import Annotated, Any

from msgspec import Struct, structs
from pydantic import AfterValidator, Field, ValidationInfo

from aggregator.bus.selection import BadPattern, Selection, parse_pattern, topic_of
from aggregator.errors import ConfigError, nearest
from aggregator.feed.address import TcpAddress, UnixAddress, parse_address
from aggregator.feed.socket_file import Listener
from aggregator.records import Record
from aggregator.sinks.sink import LOCAL, Batch, Context, Sink, Writer
from aggregator.sinks.values import Bytes, Count, socket_path
from aggregator.sinks.worker import Worker
from aggregator.tables.columns import TYPE_OF, tag, types_of

MODE = 0o660  # the permissions of a unix socket
LONGEST_REQUEST_BYTES = 4096  # the line that a client sends is no longer
MOST_PATTERNS = 32  # one client names no more
ASKING_S = 10.0  # a client has so long to say what it wants
DRAIN_S = 1.0  # clients have so long at the end to read what waits for them
TOLD_S = 60.0  # so long the status says that a client was cut
SEND_BYTES = 256 * 1024  # so much of a message is handed to the socket at once
# Each message begins with four such bytes. They are sent ahead, behind the message before it: whoever reads an end
# that is no right one then stands in the middle of a message, and its library raises.
AHEAD = b"\xff" * 4
END = bytes(4)  # behind those: a right end

log = logging.getLogger("aggregator.feed.arrow")


def _listen(value: str) -> str:
    address = parse_address(value)
    if isinstance(address, UnixAddress):
        socket_path(str(address.path))
    elif address.scheme != "tcp":
        raise ValueError('write "unix:/run/aggregator/arrow.sock" or "tcp:127.0.0.1:8792"')
    return value


def _insecure(value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's own signature
    address = parse_address(info.data["listen"]) if "listen" in info.data else None
    if isinstance(address, TcpAddress) and not address.is_loopback and not value:
        raise ValueError(
            f"{address} is refused: other machines could reach it, and nothing is encrypted; listen at 127.0.0.1 and "
            "come through ssh -L, or let everybody in with insecure = true"
        )
    return value


class ArrowSettings(Struct, frozen=True, kw_only=True):
    """Arrow's IPC streams over a socket, of the record types that each client asks for.

    listen: where clients connect: `"unix:/run/aggregator/arrow.sock"` or `"tcp:127.0.0.1:8792"`
    max_clients: clients at once
    client_bytes: what may wait for a client that is slow; one that is slower is cut off
    insecure: whether a port may be listened at that other machines reach; nothing is encrypted, nobody is asked for a
        token
    """

    listen: Annotated[str, AfterValidator(_listen)]
    max_clients: Annotated[Count, Field(le=1000)] = 32
    client_bytes: Bytes = 64_000_000
    insecure: Annotated[bool, Field(validate_default=True), AfterValidator(_insecure)] = False


class BadArrowRequest(Exception):
    """A client asked for what there is not; the words are sent to it."""


class ArrowRequest(Struct, frozen=True):
    """A client's line: a record type, and the patterns of topics, where not all of it is wanted."""

    kind: type[Record]
    patterns: tuple[str, ...] = ()


def parse_request(line: bytes) -> ArrowRequest:
    """Read `TYPE [channel:exchange:symbol ...]`. Raises BadArrowRequest."""
    try:
        name, *patterns = line.decode().split()
    except ValueError:
        raise BadArrowRequest(
            "send one line: a record type, and topics where not all are wanted: trade trades:*:*"
        ) from None
    found = types_of(name)
    if len(found) != 1:
        meant = [tag(kind) for kind in found] or [near for near in [nearest(name, TYPE_OF)] if near] or list(TYPE_OF)
        raise BadArrowRequest(f"{name!a} is no record type; ask for one of: {', '.join(meant)}")
    if len(patterns) > MOST_PATTERNS:
        raise BadArrowRequest(f"more than {MOST_PATTERNS} topics: leave them out, and filter what comes")
    try:
        list(map(parse_pattern, patterns))
    except BadPattern as error:
        raise BadArrowRequest(str(error)) from None
    return ArrowRequest(found[0], tuple(patterns))


# --- messages, made in the sink's thread


@cache
def plain_schema(record: type[Record]) -> Any:
    """The schema of a type's stream: that of its tables, with words as plain texts."""
    import pyarrow as pa

    from aggregator.tables.arrow import schema

    def plain(kind: Any) -> Any:
        if pa.types.is_dictionary(kind):
            return kind.value_type
        if pa.types.is_list(kind):
            return pa.list_(plain(kind.value_type))
        if pa.types.is_struct(kind):
            return pa.struct([(field.name, plain(field.type)) for field in kind])
        return kind

    whole = schema(record)
    return pa.schema([(field.name, plain(field.type)) for field in whole], metadata=whole.metadata)


def beginning(record: type[Record]) -> bytes:
    """The first bytes of a stream."""
    return bytes(plain_schema(record).serialize()) + AHEAD


@cache
def _selection(patterns: tuple[str, ...]) -> Selection:
    return Selection(map(parse_pattern, patterns))


def messages_for(batch: Batch, requests: Sequence[ArrowRequest]) -> dict[ArrowRequest, bytes]:
    """The message of each request for which the batch has records."""
    from aggregator.tables.arrow import to_batch

    of_type: dict[type[Record], list[Record]] = {request.kind: [] for request in requests}
    for record in batch.records:
        if type(record) in of_type:
            of_type[type(record)].append(record)
    found = {}
    for request in requests:
        records = of_type[request.kind]
        if request.patterns:
            wanted = _selection(request.patterns)
            records = [record for record in records if wanted.wants(topic_of(record))]
        if records:
            made = to_batch(request.kind, records, batch.epoch).cast(plain_schema(request.kind))
            found[request] = bytes(made.serialize())[len(AHEAD) :] + AHEAD
    return found


# --- clients


class ArrowClient:
    """A client: what waits for it, and the task that sends it."""

    def __init__(self, name: str, writer: asyncio.StreamWriter, most: int) -> None:
        self.name = name
        self.request: ArrowRequest | None = None  # it has not asked yet
        self.is_cut = False
        self._writer = writer
        self._most = most
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._is_ending = False
        self._changed = asyncio.Event()

    def put(self, message: bytes) -> bool:
        """Have a message sent; false: too much waits for it already, and it is cut off."""
        if self._size and self._size + len(message) > self._most:
            self.is_cut = True
            self.cut()
            return False
        self._waiting.append(message)
        self._size += len(message)
        self._changed.set()
        return True

    async def send(self) -> None:
        """Send what waits until the end. Raises OSError where the client has left."""
        while True:
            while self._waiting:
                message = memoryview(self._waiting[0])
                for at in range(0, len(message), SEND_BYTES):
                    self._write(message[at : at + SEND_BYTES])
                    await self._writer.drain()
                if self._waiting:  # else it was cut off meanwhile
                    self._size -= len(self._waiting.popleft())
            if self._is_ending:
                self._write(END)
                return
            self._changed.clear()
            await self._changed.wait()

    def refuse(self, said: str) -> None:
        """Answer it in words."""
        with suppress(OSError):
            self._write(f"error: {said}\n".encode())

    def _write(self, data: bytes | memoryview) -> None:
        """Hand some bytes to the socket. Raises OSError where it is closed: loops differ in what they say to that."""
        if self._writer.transport.is_closing():
            raise ConnectionResetError(errno.ECONNRESET, "the client has left")
        self._writer.write(data)

    def end(self) -> None:
        """Have it end behind what waits."""
        self._is_ending = True
        self._changed.set()

    def cut(self) -> None:
        """Close the connection in the middle of a message."""
        self._writer.transport.abort()
        self._waiting.clear()
        self.end()

    @property
    def has_left(self) -> bool:
        """Tell whether the far end has closed, which a client to which nothing is sent would not show otherwise."""
        sock = self._writer.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:
            return True
        look = select.poll()
        look.register(sock.fileno(), 0)  # hang-ups and errors are always told
        return bool(look.poll(0))


class ArrowWriter(Writer):
    """Listens, makes a message for each request, and gives it to the clients that asked so."""

    def __init__(self, settings: ArrowSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._clients: dict[ArrowClient, asyncio.Task[None] | None] = {}
        self._numbers = count(1)
        self._file: Listener | None = None
        self._server: asyncio.Server | None = None
        self._cut = 0
        self._told_until = 0.0
        self._worker = Worker("arrow")

    async def begin(self) -> None:
        """Listen. Raises ConfigError, OSError."""
        await self._worker.do(_load)
        address = parse_address(self._settings.listen)
        if isinstance(address, UnixAddress):
            self._file = Listener(address.path, MODE, None, self._context.name)
            self._server = await asyncio.start_unix_server(
                self._serve, sock=self._file.socket, limit=LONGEST_REQUEST_BYTES
            )
            return
        try:
            self._server = await asyncio.start_server(
                self._serve, address.host, address.port, limit=LONGEST_REQUEST_BYTES
            )
        except OSError as error:
            raise ConfigError(f"{self._context.name}: cannot listen at {address}: {error.strerror or error}") from error

    @property
    def addresses(self) -> list[Any]:
        """Where it listens, as the system says it."""
        return [sock.getsockname() for sock in self._server.sockets] if self._server else []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = ArrowClient(f"client {next(self._numbers)}", writer, self._settings.client_bytes)
        try:
            self._admit(client)
            request = await _asked(reader)
            client.put(await self._worker.do(partial(beginning, request.kind)))
            client.request = request
            await client.send()
        except BadArrowRequest as error:
            client.refuse(str(error))
        except OSError:
            pass  # it has left, or was cut off
        finally:
            self._clients.pop(client, None)
            writer.close()

    def _admit(self, client: ArrowClient) -> None:
        """Take a client in, after those who have left are gone. Raises BadArrowRequest where there is no place."""
        for gone in [each for each in self._clients if each.has_left]:
            gone.cut()
            self._clients.pop(gone)
        if len(self._clients) >= self._settings.max_clients:
            raise BadArrowRequest("there are too many clients (max_clients)")
        self._clients[client] = asyncio.current_task()

    async def write(self, batch: Batch) -> None:
        """Give a batch to the clients that asked for such records; with none it is gone."""
        asked = {client.request: None for client in self._clients if client.request is not None}
        if asked:
            messages = await self._worker.do(partial(messages_for, batch, list(asked)))
            for client in list(self._clients):
                message = messages.get(client.request) if client.request is not None else None
                if message is not None and not client.is_cut and not client.put(message):
                    self._tell_cut(client)
        if self._told_until and asyncio.get_running_loop().time() >= self._told_until:
            self._told_until = 0.0
            self._context.report(None)

    def _tell_cut(self, client: ArrowClient) -> None:
        self._cut += 1
        self._told_until = asyncio.get_running_loop().time() + TOLD_S
        said = f"{client.name} did not read, and was cut off; {self._cut} were since the start"
        log.warning("%s: %s", self._context.name, said)
        self._context.report(said)

    async def flush(self) -> None:
        """End every stream, and wait a little until it is read."""
        tasks = [task for task in self._clients.values() if task is not None]
        for client in list(self._clients):
            client.end()
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN_S)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [task for task in self._clients.values() if task is not None]
        for client in list(self._clients):
            client.cut()
        if tasks:  # they are not cancelled: the library of streams takes that for an error
            await asyncio.wait(tasks, timeout=DRAIN_S)
        if self._file is not None:
            self._file.close()
        self._worker.stop()


async def _asked(reader: asyncio.StreamReader) -> ArrowRequest:
    """Read the line of a client. Raises BadArrowRequest, OSError."""
    try:
        async with asyncio.timeout(ASKING_S):
            line = await reader.readline()
    except TimeoutError:
        raise BadArrowRequest(f"nothing was asked for within {ASKING_S:g} s") from None
    except ValueError:
        raise BadArrowRequest(f"a line of more than {LONGEST_REQUEST_BYTES} bytes") from None
    return parse_request(line)


def _load() -> None:
    import pyarrow.compute  # noqa: F401 - it takes long to load, and here nobody waits for it


async def open_arrow(settings: ArrowSettings, context: Context) -> Writer:
    """Begin. Raises ConfigError where it cannot listen, OSError."""
    writer = ArrowWriter(settings, context)
    try:
        await writer.begin()
    except BaseException:
        await writer.close()
        raise
    return writer


SINK = Sink(
    "arrow",
    ArrowSettings,
    open_arrow,
    kind="local",
    delivery=structs.replace(LOCAL, queue=400_000, batch_records=10_000, batch_bytes=10_000_000),
    unique="listen",
    example={"listen": "unix:/run/aggregator/arrow.sock"},
    module="pyarrow",
)
