"""The contract of a sink: one settings struct, one coroutine that opens it, and a writer that takes batches.

All else is the frame's (`sinks/running.py`), and the same for every sink: which records it gets, the bounded queue,
gathering into batches, trying again, the records that are refused, what is told as missing, counting, and the end.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from msgspec import Struct
from pydantic import BeforeValidator, Field

from aggregator.bus.bus import Batch, Bus
from aggregator.bus.history import Cursor
from aggregator.bus.selection import BadPattern, parse_pattern
from aggregator.sinks.values import Bytes, Count, Duration, FilePath, Word

__all__ = ["LOCAL", "NETWORK", "Batch", "Context", "Delivery", "Ended", "Refused", "Retry", "Sink", "Writer"]

ALL = ("*:*:*",)


class Retry(Exception):
    """Nothing of the batch was taken for now; the frame gives the same batch again.

    reason: in words; it stands in the log and in the status
    after: seconds until then; null: the frame's own pause, which doubles
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


class Refused(Exception):
    """Records that will never be taken. They go to the dead letters, with the reason.

    which: their positions in the batch, where all others of it were taken; null: nothing of the batch was taken, and it
    is not known which of its records is to blame. The frame then gives it again in halves, until those stand alone.
    """

    def __init__(self, reason: str, which: Iterable[int] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.which = None if which is None else sorted(set(which))


class Ended(Exception):
    """The target is gone for good, and nobody minds: a reader that has left. The sink ends, without a word."""


class Writer:
    """An open sink: its `write` is called with one batch after the other, and never while another call is under way.

    `docs/add-a-sink.md` says how each method is to be written.
    """

    def write(self, batch: Batch) -> Awaitable[None] | None:
        """Take a batch; once this has returned it counts as written. Raises Retry, Refused or Ended.

        Write it with `async def`. Only a writer that merely hands on to a thread of its own, and never waits, has a
        plain `def`: it is then called within the call that publishes the records, as soon as there are enough. What it
        returns is awaited before it is called again, which is how it says that it has no room.
        """
        raise NotImplementedError

    async def flush(self) -> None:
        """Make lasting what was taken so far. The frame asks for it at the end of the stream."""

    def lasting(self) -> Cursor | None:
        """The place up to which all that it took is lasting, where `write` returns earlier; null: all of it is.

        A sink that spills goes on there after a restart, and after a failure for which this writer was closed: the next
        one is given once more what is behind it.
        """
        return None

    def held_since(self) -> int:
        """Since when it holds records that are not written, ns; 0: it holds none, as where `write` returns later."""
        return 0

    async def close(self) -> None:
        """Give everything back. It is called once, also after a failure, and at the end after `flush`."""

    def reopen(self) -> bool:
        """Begin new files, as SIGUSR1 asks; whether there are any."""
        return False

    def detail(self) -> object:
        """A frozen struct that tells more of it than every sink's status does; null: there is no more."""
        return None


def _patterns(value: object) -> object:
    """The patterns of a configuration file. Raises ValueError."""
    if isinstance(value, list | tuple):
        for pattern in value:
            if not isinstance(pattern, str):
                raise ValueError("must be a list of texts")  # noqa: TRY004 - pydantic takes a ValueError
            try:
                parse_pattern(pattern)
            except BadPattern as error:
                raise ValueError(str(error)) from None
        if not value:
            raise ValueError("must not be empty")
        return tuple(value)
    raise ValueError("must be a list")


Patterns = Annotated[
    tuple[str, ...], BeforeValidator(_patterns), Word("list", lambda value: f"[{', '.join(map(_quoted, value))}]")
]


def _quoted(text: str) -> str:
    return f'"{text}"'


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,60}$")]


class Delivery(Struct, frozen=True, kw_only=True):
    """How records come to a sink: the keys that every sink with a queue has.

    name: what logs, the status, and its files below `state` call it; by default its type, and where that has one the
        key of which no two may have the same value. No two sinks may share a name
    topics: which records it gets, by patterns `channel:exchange:symbol` as the feed has them; `gap`, `health` and
        `summary` come with the channels that they are about
    queue: records that may wait for it
    queue_bytes: the memory that those may take, about
    when_full: which records go then: `drop_oldest`, `drop_newest`, or `conflate`: of records that only tell how
        something stands (best prices, tickers, candles, funding, open interest, mark and index prices, options) all but
        the latest of each topic go, and where that is not enough the oldest of all. What went is told to the sink by a
        `gap` of each topic. With `spill` none goes: what does not fit is read from `[journal]` later, and after a
        restart the sink goes on where it was
    batch_records: records that are given to it at once, at most
    batch_bytes: bytes of their lines, at most; a single record that is larger is given alone
    batch_age: how long a record waits for others before it is given
    timeout: a write that comes no further for so long has failed: the sink is opened anew and given the batch again; 0:
        no limit
    backoff: the pause before something that failed is tried again; it doubles each time, and chance makes it shorter
    longest_backoff: the longest such pause
    dead_letters: the file for records that the sink refuses, with the reason; by default one in `dead` below `state`
    dead_letters_bytes: the size that it may reach; records that are refused after that are told as missing
    on_start_error: `fail`: the daemon does not start when the sink cannot be opened; `retry`: it goes on trying
    """

    name: Name | None = None
    topics: Patterns = ALL
    queue: Count = 100_000
    queue_bytes: Bytes = 256_000_000
    when_full: Literal["drop_oldest", "drop_newest", "conflate", "spill"] = "drop_oldest"
    batch_records: Count = 1000
    batch_bytes: Bytes = 1_000_000
    batch_age: Duration = 0.1
    timeout: Duration = 0.0
    backoff: Duration = 1.0
    longest_backoff: Duration = 30.0
    dead_letters: FilePath | None = None
    dead_letters_bytes: Bytes = 100_000_000
    on_start_error: Literal["fail", "retry"] = "fail"


LOCAL = Delivery()
NETWORK = Delivery(timeout=60.0, on_start_error="retry")


class Context:
    """The stream as a writer may see it, and the place where a writer tells of itself after it has taken a batch.

    name: the sink, as logs call it
    bus: the stream as it stands: its epoch and offset, the instruments in force, the live books
    clock: ns since the epoch
    delivery: the keys that the frame goes by
    deaths: (epoch, exchange) of runs that were killed, and from when on (ns) the stream itself tells what is missing
    daemon: the name by which others know this daemon; empty where there is none, as in a replay
    before: the epoch of the life of before that published something; empty: none is known; null: nobody was asked
    place: where the stream is before the batch that is being given, which `lasting` may say later; null: the sink does
        not spill
    fail: says that the writer cannot go on though it is given nothing: it is closed, and another opened
    step: says that the write at hand has come further, as by the answer to one of many messages; its `timeout` begins
        anew, for a target that is only slow would be given the same batch for ever
    settle: says that `held_since` tells something else now
    """

    def __init__(
        self,
        name: str,
        bus: Bus,
        clock: Callable[[], int],
        delivery: Delivery,
        deaths: Mapping[tuple[str, str], int] = MappingProxyType({}),
        daemon: str = "",
        before: str | None = None,
    ) -> None:
        self.name = name
        self.bus = bus
        self.clock = clock
        self.delivery = delivery
        self.deaths = deaths
        self.daemon = daemon
        self.before = before
        self.lost = 0
        self.removed = 0
        self.trouble: str | None = None
        self.place: Callable[[], Cursor | None] = lambda: None
        self.fail: Callable[[Exception], None] = lambda error: None  # noqa: ARG005
        self.step: Callable[[], None] = lambda: None
        self.settle: Callable[[], None] = lambda: None

    def lose(self, count: int) -> None:
        """Count records that were taken, and could not be kept after all; the writer tells its target of them."""
        self.lost += count

    def remove(self, count: int) -> None:
        """Count files that were removed to make room."""
        self.removed += count

    def report(self, trouble: str | None) -> None:
        """Say for the status what keeps part of the sink from working; null: nothing."""
        self.trouble = trouble


class Sink(Struct, frozen=True, eq=False):
    """A kind of sink: what an entry point of the group `aggregator.sinks` names.

    name: what `type` of `[[sinks]]` says; that of the entry point
    settings: a frozen struct of its own keys; the lines `key: meaning` of its docstring are their documentation
    open: opens it; whatever it raises means that it cannot be opened now
    kind: `local`: the daemon does not start where it cannot be opened; `network`: it goes on trying, and a write has
        a timeout
    delivery: other defaults of the keys that every sink has; null: `LOCAL` or `NETWORK`, by its kind
    unique: the key of which no two sinks may have the same value; `type`: there can be one such sink only
    example: values of the keys without a default, for the configuration that shows every key
    has_queue: false: it has none of those keys, and takes each batch as it is published
    is_table: whether it is a table of its own in a configuration, like `[journal]`
    takes_files: whether it takes the closed files of the sink whose `path` is its own, and no records
    is_recording: whether what it writes below its `path` can be read as a recording
    module: the module of its client library, which the extra of the sink's name installs; null: it needs none
    can_spill: whether `when_full` may be `spill`; false: it takes batches before it has written them
    starts_first: whether it starts before the others, as these may ask it for what is past
    """

    name: str
    settings: type[Struct]
    open: Callable[[Any, Context], Awaitable[Writer]]
    kind: Literal["local", "network"] = "local"
    delivery: Delivery | None = None
    unique: str | None = None
    example: Mapping[str, object] = MappingProxyType({})
    has_queue: bool = True
    is_table: bool = False
    takes_files: bool = False
    is_recording: bool = False
    module: str | None = None
    can_spill: bool = True
    starts_first: bool = False

    @property
    def defaults(self) -> Delivery:
        """The defaults of the keys that every sink has."""
        return self.delivery or {"local": LOCAL, "network": NETWORK}[self.kind]

    def configured(self, delivery: Delivery | None = None, **values: object) -> "SinkConfig":
        """The sink with these values of its own keys, which are taken as they are."""
        return SinkConfig(self, self.settings(**values), delivery or self.defaults)


class SinkConfig(Struct, frozen=True):
    """One `[[sinks]]` of a configuration, checked."""

    sink: Sink
    settings: Any
    delivery: Delivery

    @property
    def name(self) -> str:
        """The name in logs: as it was given; else the type, and the value of which no two may have the same."""
        if self.delivery.name is not None:
            return self.delivery.name
        unique = self.sink.unique
        value = getattr(self.settings, unique, None) if unique is not None else None
        return self.sink.name if value is None else f"{self.sink.name} {value}"
