"""How connections, polls and the REST budget of exchanges fare at one moment: plain values for whoever asks."""

from msgspec import Struct

from aggregator.session.status import SessionStatus


class ConnectionStatus(Struct, frozen=True, kw_only=True):
    """One connection.

    conn: its name, which records carry
    is_open: whether it stands; else it is being made
    age_s: seconds since it was made, or since the attempt began
    held: requests for topics that wait for the exchange's limit
    fetching: REST requests that wait for an answer
    first: records that it was the first to bring, where several carry the same topics
    second: records that another connection had brought before
    behind_ms: how much later a trade of these came, on average
    session: what it has brought
    """

    conn: str
    is_open: bool
    age_s: float
    held: int
    fetching: int
    first: int
    second: int
    behind_ms: float
    session: SessionStatus


class ShardStatus(Struct, frozen=True, kw_only=True):
    """One connection's worth of topics, kept alive over as many connections as that takes.

    name: its connections are called so, with a number behind
    topics: subscriptions that it carries
    room: how many more it may carry
    attempts: connections that were begun
    failures: in a row, since data has flowed
    trouble: why the last connection ended; null: none has
    dropped: records that came over several connections, and were published once
    connections: those of now
    """

    name: str
    topics: int
    room: int
    attempts: int
    failures: int
    trouble: str | None
    dropped: int
    connections: list[ConnectionStatus]


class PollStatus(Struct, frozen=True, kw_only=True):
    """One poll.

    name: its records carry it, with a number behind
    topics: that it asks for
    every_s: seconds between two requests of one symbol
    silent: symbols whose last request had no answer
    session: what it has brought
    """

    name: str
    topics: int
    every_s: float
    silent: int
    session: SessionStatus


class BudgetStatus(Struct, frozen=True, kw_only=True):
    """How often something may be done, and how much of that is left now.

    of: what is asked: the beginning of an address, or the host that connections are made to
    limit: weight, or connections, in any `seconds`
    seconds: length of the window
    left: of the limit, now
    waiting: requests that wait for their turn
    """

    of: str
    limit: int
    seconds: float
    left: int
    waiting: int = 0


class RestingHost(Struct, frozen=True, kw_only=True):
    """A host that was asked too much, and is left alone.

    host: its name
    seconds: for which it still is
    words: its own
    """

    host: str
    seconds: float
    words: str


class RestStatus(Struct, frozen=True, kw_only=True):
    """The requests by REST, over all exchanges.

    refused: how often a host has said that it was asked too much
    budgets: of requests
    connects: of new connections
    resting: hosts that are left alone now
    """

    refused: int
    budgets: list[BudgetStatus]
    connects: list[BudgetStatus]
    resting: list[RestingHost]


class ListingStatus(Struct, frozen=True, kw_only=True):
    """The listing of an exchange's instruments.

    ts: when it was read (ns)
    instruments: that are in force
    missing: that the last answer lacks; if the next one does, too, they are gone
    """

    ts: int
    instruments: int
    missing: int
