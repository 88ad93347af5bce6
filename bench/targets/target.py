"""What a module of this folder declares: the server, and for each mode of the sink what the client alone does."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from msgspec import Struct

from aggregator.bus.bus import Batch
from aggregator.records import Record
from aggregator.sinks.sink import Sink
from tests.support.servers import Server

Send = Callable[[Batch], Awaitable[None]]  # one batch, until the server has confirmed it
Alone = Callable[[int], AbstractAsyncContextManager[Send]]


class Mode(Struct, frozen=True):
    """One way in which a sink writes.

    settings: the sink's keys, for a server at a port
    alone: a client of the library without the sink, connected to that port; its `Send` takes the same batches, and in
        the end it is closed, as a sink is
    is_slow: a message for each record, which every client is slow at
    """

    settings: Callable[[int], Mapping[str, object]]
    alone: Alone
    is_slow: bool = False


class Target(Struct, frozen=True):
    """A sink, its server, and its modes by name.

    record: the record of a number; null: a trade
    """

    sink: Sink
    server: Callable[[Path], Server]
    modes: Mapping[str, Mode]
    record: Callable[[int], Record] | None = None
