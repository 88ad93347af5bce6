"""The connections of a capture: a session for each, what one leaves to the next, and those that stood side by side."""

from collections import Counter
from collections.abc import Collection, Mapping

from aggregator.exchange import Stream
from aggregator.records import Cause, Channel, Instrument, Record, Source
from aggregator.session.arbiter import LineArbiter
from aggregator.session.fetches import Fetch
from aggregator.session.moment import Now
from aggregator.session.session import Session
from aggregator.session.subscriptions import Key
from aggregator.session.topics import TopicCheckpoint

Shard = tuple[str, str]  # name of a stream, and what the connections that follow each other have in common


def shard_of(stream: Stream, conn: str) -> Shard:
    """Where a connection belongs: the daemon's names say `exchange/stream.shard#attempt`, any other is its own."""
    return stream.name, conn.rpartition("#")[0] or conn


class ReplayedSessions:
    """Every connection that a capture has shown and whose end it has not; where it tells no end, all of them."""

    def __init__(self, exchange: str, source: Source) -> None:
        """Begin without connections; their records will have this `source`."""
        self._exchange = exchange
        self._source: Source = source
        self._sessions: dict[tuple[str, str], Session] = {}  # the keys: names of stream and connection
        self._carried: dict[Shard, dict[Key, TopicCheckpoint]] = {}  # left by earlier connections
        self._arbiters: dict[Shard, LineArbiter] = {}  # only where the capture tells how connections end
        self._ending: set[str] = set()
        self._counts: Counter[str] = Counter()  # sessions by stream, where connections have no names

    def expect_end(self, conn: str) -> None:
        """Note that the capture will tell the end of this connection."""
        self._ending.add(conn)

    def get(self, stream: Stream, conn: str) -> Session | None:
        """A connection's session, if it has one."""
        return self._sessions.get((stream.name, conn))

    def begin(
        self,
        stream: Stream,
        conn: str,
        instruments: Mapping[str, Instrument],
        channels: Collection[Channel],
        now: Now,
    ) -> Session:
        """A connection's session, with what the one before it has left."""
        shard = shard_of(stream, conn)
        self._counts[stream.name] += 1
        session = self._sessions[stream.name, conn] = Session(
            self._exchange,
            stream,
            conn=conn or f"{self._exchange}/{stream.name}.1#{self._counts[stream.name]}",
            instruments=instruments,
            carried=self._carried.pop(shard, None),
            source=self._source,
            channels=channels,
        )
        session.open(now)
        if conn in self._ending:
            self._arbiters.setdefault(shard, LineArbiter(stream)).join(session)
        return session

    def merged(self, session: Session, records: list[Record], now: Now) -> list[Record]:
        """The records of a session that are to be published; of several connections each record once, as when live."""
        arbiter = self.arbiter_of(session)
        return records if arbiter is None else arbiter.merge(session, records, now)

    def arbiter_of(self, session: Session) -> LineArbiter | None:
        """Whoever has to merge the records of this session with those of others."""
        return self._arbiters.get(shard_of(session.stream, session.conn)) if self._arbiters else None

    def is_merging(self, stream: Stream, conn: str) -> bool:
        """Tell whether records of this connection are compared with those of others."""
        arbiter = self._arbiters.get(shard_of(stream, conn))
        return arbiter is not None and arbiter.is_merging

    def close(self, conn: str, cause: Cause, now: Now) -> list[Record]:
        """End a connection. Gaps open, unless another connection of its shard carries the same."""
        out: list[Record] = []
        for key in [key for key in self._sessions if key[1] == conn]:
            session = self._sessions.pop(key)
            shard = shard_of(session.stream, conn)
            arbiter = self._arbiters.get(shard)
            if arbiter is not None:
                arbiter.leave(session)
            has_others = any(shard_of(other.stream, name) == shard for (_, name), other in self._sessions.items())
            out += self.merged(session, session.close("disconnect" if has_others else cause, now), now)
            if not has_others:
                self._carried[shard] = session.carried()
            if arbiter is not None:
                out += arbiter.settle(now)
        return out

    def tick(self, now: Now) -> list[Record]:
        """Do whatever is due by time alone, on all connections."""
        return [r for session in self._sessions.values() for r in self.merged(session, session.tick(now), now)]

    def end(self, now: Now) -> list[Record]:
        """Give the last records when the capture is over."""
        return [r for session in self._sessions.values() for r in self.merged(session, session.end(now), now)]

    def wanting(self, stream: Stream, url: str) -> tuple[Session, Fetch] | None:
        """The session that wants an answer from this address: the newest, because older ones may have ended untold."""
        for (name, _), session in reversed(self._sessions.items()):
            wanted = next((fetch for fetch in session.wanted if fetch.request.url == url), None)
            if wanted is not None and name == stream.name:
                return session, wanted
        return None

    def newest(self, stream: Stream) -> str | None:
        """The connection of a stream whose session began last."""
        return next((conn for name, conn in reversed(self._sessions) if name == stream.name), None)
