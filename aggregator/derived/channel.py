"""The declaration of a derived channel: its names, its inputs, and the machine that makes its records.

A machine is pure: it opens nothing and reads no clock. Time comes to it from records and from `tick`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from aggregator.records import Channel, Record

SOURCE = "derived/"  # the beginning of `conn` of every derived record; the name of its channel follows


class Machine(Protocol):
    """One derived topic at work.

    due: when `tick` has something to do, in ns of the wall clock; 0: never, as things stand
    """

    due: int

    def take(self, record: Record) -> Sequence[Record]:
        """Take a record of an input, a gap or a state of it too. Gives what is told at once, whoever asked for less."""

    def tick(self, wall: int) -> Sequence[Record]:
        """Do what is due by time alone, and give what is told at once."""

    def news(self) -> Record | None:
        """How it stands, if that is new since the last call; null while it cannot be told."""

    def current(self) -> Record | None:
        """How it stands, for who has just come; null while it cannot be told."""


class Derived(Struct, frozen=True):
    """A kind of derived channel.

    form: how its names are written, for people
    about: what it tells, in a sentence
    channel: the ordinary channel that its gaps and states are told as; null: it passes none on
    inputs: the ordinary channels that it is computed of
    needs_one: whether of each market one of the inputs is enough, the first that there is
    read: makes a machine's maker of the parts of a name (`candles.1m` has two); null for a name of another kind.
        Raises BadPattern, with the reason, for a name of this kind of which nothing can be made
    tells_all: whether every change is told where no interval is asked for; else only what `take` and `tick` give
    is_superseded: whether a record says all that the one before it said, so that only the newest matters
    size: says of the parts of a name how many topics such a one counts as, where it keeps much
    merges: whether one topic is made of many exchanges: the exchange of its name is then the pattern of these
    """

    form: str
    about: str
    channel: Channel | None
    inputs: tuple[Channel, ...]
    read: "Callable[[tuple[str, ...]], Start | None]"
    tells_all: bool = True
    is_superseded: bool = True
    merges: bool = False
    needs_one: bool = False
    size: "Callable[[tuple[str, ...]], int]" = lambda _parts: 1


Start = Callable[["Stamp"], Machine]


class Stamp(Struct, frozen=True):
    """The names that a machine's records carry; `conn` says that they are derived, and how."""

    exchange: str
    symbol: str | None
    raw_symbol: str | None
    conn: str

    def of(self, cause: Record) -> dict[str, Any]:
        """The envelope of a record that follows from another: of its time."""
        return {
            "exchange": self.exchange,
            "symbol": self.symbol,
            "raw_symbol": self.raw_symbol,
            "ts_event": cause.ts_event,
            "ts_sent": cause.ts_sent,
            "ts_recv": cause.ts_recv,
            "sequence": cause.sequence,
            "conn": self.conn,
            "source": "derived",
        }
