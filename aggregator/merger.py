"""Several connections that carry the same topics, as one stream: each record once, no gap while one of them is good.

Where an exchange numbers its records the first arrival wins; where it does not, one connection (the owner of the topic)
is followed until it fails. Used while one connection replaces another, and for as long as redundancy is wanted.
"""

from collections import deque

from msgspec import Struct, structs

from aggregator.asking import Key
from aggregator.exchange import Stream
from aggregator.records import CHANNEL_OF, BookDelta, BookSnapshot, Channel, Gap, Record, Trade
from aggregator.sequence import NEXT, STALE, Judge
from aggregator.session import Session
from aggregator.topics import Now, with_flag

REMEMBERED = 10_000  # numbers or ids of a topic's latest trades

TradeId = int | str


class Merged(Struct):
    """What has been published of one topic."""

    owner: Session
    last: int | None = None  # of a book that stands, or of numbered trades
    judge: Judge | None = None
    gap: Gap | None = None
    seen: set[TradeId] = {}  # type: ignore[assignment]  # replaced at once by an empty set
    order: deque[TradeId] = deque()

    def __post_init__(self) -> None:
        self.seen = set()
        self.order = deque()

    def is_new(self, id: TradeId) -> bool:
        """Whether a trade was not published yet; it counts as published from now on."""
        if id in self.seen:
            return False
        self.seen.add(id)
        self.order.append(id)
        if len(self.order) > REMEMBERED:
            self.seen.discard(self.order.popleft())
        return True


class Lead(Struct):
    """How one connection fares against the others: how often it was the first with a record, and how often not."""

    wins: int = 0
    losses: int = 0


class Merger:
    """The legs of one shard."""

    def __init__(self, stream: Stream) -> None:
        """Begin without legs."""
        self.leads: dict[str, Lead] = {}
        self.dropped = 0
        self._rules = stream.sequence
        self._legs: list[Session] = []
        self._topics: dict[Key, Merged] = {}
        self._withheld: set[str] = set()  # gaps that are not published, as another leg is good

    def join(self, session: Session) -> None:
        """A leg more. What an only leg has published so far is where the others go on from."""
        if not self._legs:
            for (channel, raw_symbol), last in session.numbers().items():
                merged = self._topics.setdefault((channel, raw_symbol), Merged(session))
                merged.last = last if merged.last is None else max(merged.last, last)
                rule = self._rules.get(channel)
                merged.judge = rule.follows if rule else None
        self._legs.append(session)
        self.leads.setdefault(session.conn, Lead())

    def leave(self, session: Session) -> None:
        """A leg less; call it before the records of its end are taken."""
        if session in self._legs:
            self._legs.remove(session)

    def take(self, session: Session, records: list[Record], now: Now) -> list[Record]:
        """What of one leg's records is to be published."""
        out: list[Record] = []
        for record in records:
            if isinstance(record, Gap):
                self._gap(session, record, out)
                continue
            channel = CHANNEL_OF.get(type(record))
            if channel is None:
                out.append(record)
            else:
                self._record(session, channel, record, out, now)
        return out

    def _record(self, session: Session, channel: Channel, record: Record, out: list[Record], now: Now) -> None:
        key = (channel, record.raw_symbol)
        merged = self._topics.get(key)
        if merged is None:
            merged = self._topics[key] = Merged(session)
        rule = self._rules.get(channel)
        before = len(out)
        if isinstance(record, Trade) and (record.sequence is not None or record.id is not None):
            self._trade(session, merged, record, out)
        elif rule is not None and rule.sure and isinstance(record, BookSnapshot | BookDelta):
            self._book(session, merged, record, out, now)
        elif self._owns(session, merged, key):
            out.append(record)
        elif merged.owner is not session:
            return
        else:  # it has just become the owner: its book as it stands holds this record already
            out += session.books(now, record.raw_symbol) if channel == "book" else [record]
        if merged.gap is not None and len(out) > before and session.is_good(*key):
            out.append(_close(merged.gap, session, now))
            merged.gap = None

    def _owns(self, session: Session, merged: Merged, key: Key) -> bool:
        """Whether this leg is the one that is followed; it takes over where the owner has failed."""
        if merged.owner is session:
            return True
        if merged.owner not in self._legs or not merged.owner.is_good(*key):
            merged.owner = session
        return False

    def _trade(self, session: Session, merged: Merged, trade: Trade, out: list[Record]) -> None:
        number = trade.sequence
        old = number is not None and merged.last is not None and number <= merged.last
        if old and not merged.order:  # published before there was a second leg
            self.dropped += 1
            return
        lead = self.leads[session.conn]
        if not merged.is_new(number if number is not None else str(trade.id)):
            self.dropped += 1
            lead.losses += 1
            return
        lead.wins += 1
        if old:
            with_flag(trade, "late")
        elif number is not None:
            merged.last = number
        out.append(trade)

    def _book(
        self, session: Session, merged: Merged, record: BookSnapshot | BookDelta, out: list[Record], now: Now
    ) -> None:
        rule = self._rules["book"]
        if isinstance(record, BookSnapshot):
            if merged.last is None or record.reason == "periodic":
                merged.last, merged.judge = record.sequence, rule.joins
                out.append(record)
            return
        if merged.last is None or record.sequence is None:
            self._take_book(session, merged, out, now)
            return
        first = record.sequence if record.sequence_first is None else record.sequence_first
        judge = merged.judge or rule.joins
        verdict = judge(merged.last, first, record.sequence, record.sequence_prev)
        lead = self.leads[session.conn]
        if verdict is NEXT:
            merged.last, merged.judge = record.sequence, rule.follows
            lead.wins += 1
            out.append(record)
        elif verdict is STALE:
            self.dropped += 1
            lead.losses += 1
        elif not self._is_good_elsewhere(session, ("book", record.raw_symbol)):
            self._take_book(session, merged, out, now, raw_symbol=record.raw_symbol)

    def _take_book(
        self, session: Session, merged: Merged, out: list[Record], now: Now, *, raw_symbol: str | None = None
    ) -> None:
        """Go on from this leg's book as it stands."""
        for snapshot in session.books(now, raw_symbol):
            snapshot.reason = "resync"
            merged.last, merged.judge = snapshot.sequence, self._rules["book"].follows
            out.append(snapshot)

    def _gap(self, session: Session, gap: Gap, out: list[Record]) -> None:
        if gap.channel is None:
            if not any(leg is not session for leg in self._legs):
                out.append(gap)
            return
        key = (gap.channel, gap.raw_symbol)
        merged = self._topics.setdefault(key, Merged(session))
        if gap.phase == "open":
            if self._is_good_elsewhere(session, key) or merged.gap is not None:
                self._withheld.add(gap.gap_id)
                return
            merged.gap = gap
            if gap.channel == "book":
                merged.last = None
            out.append(gap)
        elif gap.gap_id in self._withheld:
            self._withheld.discard(gap.gap_id)
        elif merged.gap is not None and merged.gap.gap_id == gap.gap_id:
            merged.gap = None
            out.append(gap)

    def _is_good_elsewhere(self, session: Session, key: Key) -> bool:
        return any(leg is not session and leg.is_good(*key) for leg in self._legs)


def _close(gap: Gap, session: Session, now: Now) -> Gap:
    return structs.replace(
        gap, phase="close", ts_recv=now.wall, ts_to=now.wall, conn=session.conn, repair="none", recovered=0, offset=0
    )
