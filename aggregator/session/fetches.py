"""The REST requests of one connection: for whole books, for missed trades, and whether a silent topic is dead.

The questions stand in `wanted`; whoever does I/O fetches them and brings the answers back.
"""

from collections import deque
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from aggregator.exchange import Request, Since, Stream
from aggregator.records import SECOND_NS, BookSnapshot, Channel, OrdersSnapshot, Record, Trade
from aggregator.session.moment import Now
from aggregator.session.topics import Topic
from aggregator.session.trades import Numbered

BACKFILL_NS = 30 * SECOND_NS  # an answer to a request for trades may take so long

Purpose = Literal["snapshot", "backfill", "probe", "audit"]


class Fetch(Struct, frozen=True):
    """A REST request that is to be made, and its purpose."""

    purpose: Purpose
    channel: Channel
    raw_symbol: str
    request: Request


class Fetches:
    """The REST requests of one connection, and the reading of their answers."""

    def __init__(self, stream: Stream) -> None:
        self.wanted: deque[Fetch] = deque()
        self._stream = stream
        self._backfilling: dict[str, int] = {}  # raw symbol -> the first number that was last asked for

    def want_book(self, raw_symbol: str) -> None:
        """Ask for a whole book."""
        snapshot = self._stream.snapshot
        if snapshot is not None and snapshot.request is not None:
            self.wanted.append(Fetch("snapshot", "book", raw_symbol, snapshot.request(raw_symbol)))

    def want_missing(self, topic: Numbered, now: Now) -> None:
        """Ask for trades that are missing, once for each hole."""
        backfill, holes = self._stream.backfill, topic.holes()
        if backfill is None or not holes or topic.raw_symbol is None:
            return
        first = holes[0][0]
        if self._backfilling.get(topic.raw_symbol) == first:
            return
        self._backfilling[topic.raw_symbol] = first
        topic.expect_backfill(now.mono + BACKFILL_NS)
        since = Since(first - 1, topic.gap.ts_from if topic.gap else now.wall)
        request = backfill.request(topic.raw_symbol, since)
        self.wanted.append(Fetch("backfill", topic.channel, topic.raw_symbol, request))

    def probe(self, topic: Topic, now: Now) -> bool:
        """Ask whether anything has happened to a silent topic; False if the exchange cannot be asked."""
        request = self._question(topic, now)
        if request is not None and topic.raw_symbol is not None:
            self.wanted.append(Fetch("probe", topic.channel, topic.raw_symbol, request))
        return request is not None

    def _question(self, topic: Topic, now: Now) -> Request | None:
        stream, raw_symbol = self._stream, topic.raw_symbol
        if raw_symbol is None or topic.last is None:
            return None
        if topic.channel == "trades" and stream.backfill is not None:
            return stream.backfill.request(raw_symbol, Since(topic.last, now.wall - (now.mono - topic.heard)))
        if topic.channel != "book" or stream.snapshot is None or stream.snapshot.request is None:
            return None
        rule = stream.sequence.get("book")
        return stream.snapshot.request(raw_symbol) if rule is not None and rule.sure else None

    def want_audit(self, raw_symbol: str) -> None:
        """Ask for a whole book to compare with ours."""
        snapshot = self._stream.snapshot
        if snapshot is not None and snapshot.request is not None:
            self.wanted.append(Fetch("audit", "book", raw_symbol, snapshot.request(raw_symbol)))

    @property
    def can_audit(self) -> bool:
        """Tell whether the exchange gives whole books by REST, numbered as its deltas are."""
        rule, snapshot = self._stream.sequence.get("book"), self._stream.snapshot
        return rule is not None and rule.sure and snapshot is not None and snapshot.request is not None

    def read_book(self, raw_symbol: str, body: bytes) -> BookSnapshot | OrdersSnapshot | None:
        """The whole book of an answer. Raises what the connector raises."""
        snapshot = self._stream.snapshot
        return None if snapshot is None or snapshot.parse is None else snapshot.parse(raw_symbol, body)

    def read_trades(self, raw_symbol: str, body: bytes) -> list[Trade]:
        """The trades of an answer. Raises what the connector raises."""
        return [] if self._stream.backfill is None else list(self._stream.backfill.parse(raw_symbol, body))

    def newest(self, fetch: Fetch, body: bytes) -> int | None:
        """The newest number in the answer to a probe. Raises what the connector raises."""
        found: Iterable[Record | None]
        if fetch.channel == "book":
            found = [self.read_book(fetch.raw_symbol, body)]
        else:
            found = self.read_trades(fetch.raw_symbol, body)
        return max(
            (r.sequence for r in found if isinstance(r, Trade | BookSnapshot | OrdersSnapshot) and r.sequence),
            default=None,
        )
