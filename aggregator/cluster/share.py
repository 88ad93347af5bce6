"""One member's share in a shard: the records that it has gathered, and what of them the stream is to hold next.

The stream of a shard is a list of frames with one writer at a time. Each frame names the frame that it follows, and the
server takes it only where that is so: an owner that was stopped and goes on, or whose clock is wrong, is refused. An
ownership begins with a frame without records, the barrier. What stands before it is all that came of the owners before;
nothing of theirs comes after it. So whoever takes over reads up to its barrier, knows exactly what the stream holds,
and goes on with the first record that it has and the stream does not.

Records are numbered through over all owners. A reader goes on behind a number, whoever has written it.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain, islice

from msgspec import Struct, structs

from aggregator.bus.bus import Batch
from aggregator.cluster.positions import WHOLE, Identity, Positions, Topic, identity_of, kind_of
from aggregator.records import (
    CHANNEL_OF,
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Channel,
    Gap,
    Health,
    Liquidation,
    OrdersSnapshot,
    Record,
    Summary,
    Trade,
)
from aggregator.session.topics import with_flag

RING_NS = 30 * SECOND_NS  # a standby keeps what it has gathered so long, and longer what the stream does not reach
RECENT_NS = 60 * SECOND_NS  # a topic of which a record is no older is followed, whatever is known of its state
APART_NS = 2 * SECOND_NS  # the same record comes to two hosts within this time, by their clocks
LATE_NS = 12 * SECOND_NS  # whoever was stopped for longer than a lease lasts publishes nothing more
COMPARED_NS = 30 * SECOND_NS  # for so long after a takeover records come that may have come to the owner before
BOOKS: tuple[Channel, ...] = ("book", "orders")
GONE = "it is gathered elsewhere now"
RECORD_BYTES = 300.0  # a record in the stream takes so much, about, until the first frame has shown it

WholeBook = Callable[[str], BookSnapshot | None]


class ShareFrame(Struct, frozen=True):
    """Records that go into the stream together.

    fence: the fencing number of the ownership
    first: the number of the first record; of a barrier, which has none, that of the last before it
    payload: their lines
    """

    fence: int
    first: int
    records: tuple[Record, ...] = ()
    payload: bytes = b""

    @property
    def last(self) -> int:
        """The number of the last record."""
        return self.first + max(0, len(self.records) - 1)


class Share:
    """One member's records of a shard.

    exchange: that it is about
    sure: channels of books whose numbers say which record it is
    most: records that may wait to be published
    way: by which the owners follow each other: gaps between two of them carry it
    """

    def __init__(
        self, exchange: str, sure: Collection[Channel] = (), *, most: int = 400_000, way: str = "cluster"
    ) -> None:
        self.exchange = exchange
        self.positions = Positions(sure)
        self.epoch = ""  # the epoch of the numbers, once the stream has told it
        self.number = 0  # the last one that the stream is known to hold
        self.fence = 0  # the fencing number of the newest frame there
        self._noted = 0  # the last one that the stream has brought here
        self.stored_at = 0  # when the newest records there were stored, ns by the clock of the servers; 0: not known
        self.begun = 0  # the fencing number of this member's ownership, once it goes on
        self.overflowed = 0
        self._brought = 0  # the fencing number of the newest frame with records
        self._went_on = 0  # the newest ownership with which this member has gone on
        self._own_at = 0  # when the newest record came that this member has published, ns
        self._conn = f"{exchange}/{way}"  # the connection that gaps between two owners name
        self._most = most
        self._held: deque[Record] = deque()
        self._under_way: tuple[Record, ...] = ()  # the records of the frame that is sent, and not known to be stored
        self._record_bytes = RECORD_BYTES  # the bytes of a record of the newest frame
        self._new = 0  # how many have come to be held, to be published, since `fresh` was asked
        self._horizon = 0  # everything that was gathered since is held (ns)
        self._live: dict[Topic, int] = {}  # since when a topic has been gathered without a break
        self._gaps: dict[str, Gap] = {}  # those that are open in what is gathered
        self._over: dict[str, Gap] = {}  # those that have ended lately, while another one owned it
        self._past: dict[Topic, Gap] = {}  # by topic the one that is open and that the stream is not told of
        self._states: dict[tuple[Topic, str], Health] = {}
        self._dropped: dict[Topic, int] = {}  # the number of the newest that the ring has let go of
        self._owed: dict[Topic, Gap] = {}  # gaps of the stream that end with the next record of their topic
        self._came: Counter[Identity] = Counter()
        self._compared_until = 0
        self._passed: dict[Topic, int] = {}  # the newest time of trades without numbers at the owner before, ns
        self._changed: set[tuple[type[Record], str | None, str]] = set()  # things that stand otherwise by now

    def __len__(self) -> int:
        """How many records are held, those that are under way among them."""
        return len(self._under_way) + len(self._held)

    # --- what is gathered

    def gather(self, records: Sequence[Record], now: int) -> None:
        """Take records that this member has gathered; they are its own. `now` is the wall clock, ns."""
        before = len(self._held)
        for record in records:
            self._follow(record)
            if not self.begun:
                if not isinstance(record, Health | Summary):
                    self._held.append(record)
            elif self._past and (instead := self._instead(record)) is not None:
                self._held += instead
            elif now >= self._compared_until:
                self._hold(record)
            elif not self._is_told(record):
                self._mark_late(record)
                self._hold(record)
        self._new += len(self._held) - before
        if not self.begun:
            self._trim(now)
        elif len(self._held) > self._most:
            self._overflow(now)

    def _follow(self, record: Record) -> None:
        """Follow how this member's own topics stand."""
        if isinstance(record, Gap):
            if record.phase == "close":
                if self._gaps.pop(record.gap_id, None) is not None and not self.begun:
                    self._over[record.gap_id] = record
            else:
                self._gaps[record.gap_id] = record
                for topic in [t for t in self._live if _concerns(record, t)]:
                    del self._live[topic]
        elif isinstance(record, Health):
            topic = (record.channel, record.raw_symbol)
            key = topic, record.conn
            if record.state == "down":
                self._states.pop(key, None)
            else:
                self._states[key] = record
            if _comes(record):
                self._live.setdefault(topic, record.ts_recv)
            elif record.state != "stalled":
                self._live.pop(topic, None)
        elif (channel := CHANNEL_OF.get(type(record))) is not None:
            self._live.setdefault((channel, record.raw_symbol), record.ts_recv)

    def _trim(self, now: int) -> None:
        """Let go of what is older than a ring keeps, and what the stream has gone past.

        While no server takes anything the stream stands still: what has come since is nowhere else if the owner dies.
        """
        oldest = now - RING_NS
        for id in [id for id, gap in self._over.items() if gap.ts_recv < oldest]:
            del self._over[id]
        if self.positions.at:
            oldest = min(oldest, self.positions.at - APART_NS)
        self._let_go_before(oldest)

    def _let_go_before(self, oldest: int) -> None:
        """Let go of what came before a moment, and of more than there may be."""
        held = self._held
        while held and (held[0].ts_recv < oldest or len(held) > self._most):
            record = held.popleft()
            self._horizon = record.ts_recv
            if record.sequence is not None and (channel := CHANNEL_OF.get(type(record))) is not None:
                self._dropped[channel, record.raw_symbol] = record.sequence

    def _overflow(self, now: int) -> None:
        """Let go of the oldest, and have it told topic by topic; gaps and states stay, as nobody tells them again."""
        lost: Counter[Topic] = Counter()
        since: dict[Topic, int] = {}
        kept: list[Record] = []
        for _ in range(len(self._held) - self._most * 9 // 10):
            record = self._held.popleft()
            channel = CHANNEL_OF.get(type(record))
            if channel is None:
                kept.append(record)
                continue
            self.overflowed += 1
            topic = channel, record.raw_symbol
            lost[topic] += 1
            since.setdefault(topic, record.ts_recv)
        for topic, count in lost.items():
            gap = self._gap(topic, "overflow", since[topic], now)
            kept.append(structs.replace(_ended(gap, now), missed=count))
        self._held.extendleft(reversed(kept))

    @property
    def followed(self) -> set[Topic]:
        """The topics that the stream tells of, as far as they are followed."""
        positions = self.positions
        recent = positions.at - RECENT_NS
        followed = {topic for topic, _ in positions.states}
        return followed | {topic for topic, found in positions.topics.items() if found.at > recent}

    def readiness(self) -> float:
        """The part of the stream's topics that would lack nothing if this member went on; 0 while none come."""
        if not self._live:
            return 0.0
        followed = self.followed
        return sum(map(self._covers, followed)) / len(followed) if followed else 1.0

    @property
    def is_fresh(self) -> bool:
        """Tell whether gaps would be told if this member went on now, and not if it did so some time later."""
        return not all(is_past for _, is_past in self._silent())

    def cut(self, now: int) -> None:
        """Hold nothing of what has come so far: with a subscription comes the past, which the stream may hold."""
        self._let_go_before(now + 1)
        self._horizon = max(self._horizon, now)

    def late(self, moment: int) -> set[Topic]:
        """The topics that are well in the stream, and do not come here since this moment or longer."""
        return {topic for topic in self._well() if self._live.get(topic, moment + 1) > moment}

    def lacking(self) -> set[Topic]:
        """The topics that are well in the stream, and of which something would be missing if this member went on."""
        return {topic for topic in self._well() if not self._covers(topic)}

    def _well(self) -> Iterator[Topic]:
        states = self.positions.states.items()
        well = {topic for (topic, _), state in states if _comes(state)}
        return (topic for topic in well if topic[0] not in {"instruments", "status"})

    def _covers(self, topic: Topic) -> bool:
        """Tell whether all of a topic that the stream does not hold is held here."""
        since = self._live.get(topic)
        return since is not None and max(since, self._horizon) <= self.positions.at - APART_NS

    def forget(self) -> None:
        """Nothing is gathered any more; what the stream holds is still followed."""
        self._held.clear()
        self._under_way = ()
        for kept in (self._live, self._gaps, self._over, self._past, self._states, self._owed, self._dropped):
            kept.clear()
        self.begun, self._horizon, self._went_on = 0, 0, 0

    # --- an ownership

    def barrier(self, fence: int) -> ShareFrame:
        """The frame with which an ownership begins."""
        return ShareFrame(fence, self.number)

    def take_over(self, fence: int, now: int, whole: WholeBook) -> None:
        """Go on from what the stream holds, all of which `heard` has told, up to the barrier.

        whole: gives a book as it stands; null where there is none
        """
        self._trim(now)  # the stream remembers no longer, and the process may have been stopped
        ring, self._held = self._held, deque()
        here, both, joined = self._compared(ring)
        self._came.clear()
        self._changed.clear()
        self._compared_until = now + COMPARED_NS
        self._owed = {}
        self._passed = {topic: position.newest for topic, position in self.positions.topics.items() if position.newest}
        self._pass_over(ring, joined)
        self._tell_standing(ring, now)
        broken = self._uncovered(here, both, joined, now)
        anew = {raw for (channel, raw) in broken if channel == "book"}
        if "book" not in self.positions.sure:
            anew |= {record.raw_symbol for record in ring if isinstance(record, BookSnapshot | BookDelta)}
            anew |= {raw for (channel, raw) in self.positions.topics if channel == "book"}
        self.begun = self._went_on = fence
        self._go_on(ring, anew, now)
        for raw_symbol in sorted(raw for raw in anew if raw is not None):
            book = whole(raw_symbol)
            if book is not None:
                self._hold(structs.replace(book, reason="resync", ts_recv=now, conn=book.conn or self.exchange))
            elif ("book", raw_symbol) not in self._owed:
                self._owe(("book", raw_symbol), now)
        self._new = len(self._held)

    def _go_on(self, ring: Collection[Record], anew: Collection[str | None], now: int) -> None:
        """Have published what the stream does not hold, without the changes of books that are told anew."""
        ends = {record.gap_id: record.ts_to for record in ring if isinstance(record, Gap) and record.ts_to}
        since, left = self.positions.at - APART_NS, list(self.positions.gaps.values())
        for record in ring:
            if isinstance(record, Gap):
                topic = record.channel, record.raw_symbol
                # where the owner before has left a gap open the records here end it, and then their own holes count
                if ends.get(record.gap_id, now) > since or any(_concerns(gap, topic) for gap in left):
                    self._held.append(record)
            elif isinstance(record, BookSnapshot | BookDelta) and record.raw_symbol in anew:
                continue
            elif not self._is_told(record):
                self._mark_late(record)
                self._hold(record)

    def _mark_late(self, record: Record) -> None:
        """Flag a trade that the owner before has passed over."""
        if isinstance(record, Trade | Liquidation) and (self.positions.is_behind(record) or self._is_passed(record)):
            with_flag(record, "late")

    def _is_passed(self, record: Trade | Liquidation) -> bool:
        """Tell whether the owner before has told a later trade of a market whose trades have no numbers."""
        if record.sequence is not None or record.ts_event is None:
            return False
        return record.ts_event < self._passed.get((CHANNEL_OF[type(record)], record.raw_symbol), 0)

    def let_go(self, now: int) -> None:
        """Publish nothing more: what is held is a ring from now on, without what is told anew by whoever goes on."""
        held = chain(self._under_way, self._held)
        self.begun, self._under_way = 0, ()
        self._past.clear()
        self._held = deque(
            [each for each in held if not isinstance(each, Health | Summary) and not self._is_owed(each)]
        )
        self._trim(now)

    def _is_owed(self, record: Record) -> bool:
        """Tell whether a record is a gap between two owners."""
        return isinstance(record, Gap) and record.conn == self._conn and record.cause == "restart"

    def _tell_standing(self, ring: Collection[Record], now: int) -> None:
        """End what the owner before has left open, and tell how this member's own topics stand."""
        out = self._held
        for gap in list(self.positions.gaps.values()):
            if gap.gap_id not in self._gaps:
                out.append(structs.replace(_ended(gap, now), ts_recv=now, upstream=None))
        for key, state in list(self.positions.states.items()):
            if key not in self._states:
                out.append(structs.replace(state, state="down", reason=GONE, ts_recv=now, rate=None, upstream=None))
        out.extend(structs.replace(state, ts_recv=now) for state in self._states.values())
        known = {gap.gap_id for gap in chain(self._past.values(), ring) if isinstance(gap, Gap)}
        known |= self.positions.gaps.keys()
        out.extend(structs.replace(gap) for id, gap in self._gaps.items() if id not in known)

    def _silent(self, joined: Collection[Topic] = ()) -> Iterator[tuple[Gap, bool]]:
        """The gaps behind which all of their topics has come here, and whether the stream need not be told of one.

        It need not where both have a record behind which nothing is missing here, or where all has come here for so
        long that nobody is as late: what is missing here stands in the stream, or is told to be missing there.
        """
        if not self._gaps and not self._over:
            return
        until, left = self.positions.at - RING_NS, self.positions.gaps.values()
        unwell = {topic for (topic, _), state in self._states.items() if not _comes(state)}
        well = set(self._well()) - unwell
        for gap in chain(self._gaps.values(), self._over.values()):
            if gap.channel is None:
                continue
            topic = gap.channel, gap.raw_symbol
            since = self._live.get(topic)
            if since is None or gap.ts_from > since or topic not in well or topic[0] in BOOKS:
                continue
            if not any(_concerns(other, topic) for other in left):
                yield gap, topic in joined or since <= until

    def _instead(self, record: Record) -> Sequence[Record] | None:
        """Give the records to be told instead of one where the stream was not told of a gap; null: the record itself.

        While a gap is open nobody opens another one: what is lost meanwhile is told with the state of its topic.
        """
        if not isinstance(record, Gap | Health) or record.channel is None:
            return None
        topic = record.channel, record.raw_symbol
        gap = self._past.get(topic)
        if gap is None or (_comes(record) if isinstance(record, Health) else record.gap_id != gap.gap_id):
            return None
        del self._past[topic]
        if isinstance(record, Health):
            return structs.replace(gap, ts_recv=record.ts_recv, ts_from=record.ts_recv), record
        if record.phase == "open":
            return None
        state = self._states.get((topic, record.conn))
        return () if state is None else (structs.replace(state, state="live", ts_recv=record.ts_recv, reason=None),)

    def _pass_over(self, ring: deque[Record], joined: Collection[Topic]) -> None:
        """Take the gaps from a ring of which the stream need not be told."""
        past = {gap.gap_id for gap, is_past in self._silent(joined) if is_past}
        opened = (gap for id, gap in self._gaps.items() if id in past)
        self._past = {(gap.channel, gap.raw_symbol): gap for gap in opened if gap.channel is not None}
        for _ in range(len(ring) if past else 0):
            record = ring.popleft()
            if not isinstance(record, Gap) or record.gap_id not in past:
                ring.append(record)

    def _compared(self, ring: Collection[Record]) -> tuple[set[Topic], set[Topic], dict[Topic, int]]:
        """The topics of which records are held here, and those of which the stream has one behind the last break here.

        Of the topics that are joined so also when the newest such record came here.
        """
        here: set[Topic] = set()
        both: set[Topic] = set()
        joined: dict[Topic, int] = {}
        for record in ring:
            if (channel := CHANNEL_OF.get(type(record))) is not None:
                topic = channel, record.raw_symbol
                here.add(topic)
                if record.ts_recv >= self._live.get(topic, record.ts_recv + 1) and self.positions.holds(record):
                    both.add(topic)
                    if _is_joining(record):
                        joined[topic] = record.ts_recv
        return here, both, joined

    def _uncovered(
        self, here: Collection[Topic], both: Collection[Topic], joined: Mapping[Topic, int], now: int
    ) -> list[Topic]:
        """Open a gap of each topic of which something may be missing between the owner before and this one.

        here: the topics of which records are held
        both: those of which the stream has one behind the last break here
        joined: those behind which nothing is missing here, and when the newest record came that the stream has too
        """
        broken = []
        for topic in sorted(self.followed, key=str):
            if topic[0] in {"instruments", "status"} or self._is_whole(topic, is_joined=topic in joined):
                continue
            broken.append(topic)
            self._owe(topic, now)
        if self._brought == self._went_on:
            return broken  # its ring does not hold any more what it has published itself
        others = sorted(self.followed.difference(broken), key=str)
        apart = [topic for topic in others if topic not in both and self._is_apart(topic, now, is_here=topic in here)]
        if apart or any(self._is_late(topic, came) for topic, came in joined.items()):
            apart += [topic for topic in others if topic not in apart and self._may_lack(topic, joined)]
        for topic in apart:
            self._owe(topic, now)
        return broken + apart

    def _is_late(self, topic: Topic, came: int) -> bool:
        """Tell whether a topic came so late to the owner before that times say nothing of the others."""
        position = self.positions.topics.get(topic)
        return position is not None and position.at > max(came, self._own_at) + APART_NS

    def _may_lack(self, topic: Topic, joined: Collection[Topic]) -> bool:
        """Tell whether something may be missing of a topic if the owner before was late."""
        if topic in joined or topic[0] in {"instruments", "status"}:
            return False
        return max(self._live[topic], self._horizon) > self.positions.at - LATE_NS

    def _is_whole(self, topic: Topic, *, is_joined: bool) -> bool:
        """Tell whether nothing is missing of a topic between the owner before and this one.

        is_joined: the stream holds a record of it behind which all is held here; else the times have to tell
        """
        if topic[0] == "orders" or self._has_dropped(topic):
            return False
        if self._is_open(topic) and (topic[0] in BOOKS or not is_joined):
            return False  # a book of which a gap is open has to come whole
        return is_joined or self._covers(topic)

    def _is_open(self, topic: Topic) -> bool:
        """Tell whether the owner before has left a gap open: other topics say nothing of how far this one came."""
        left = self.positions.gaps.items()
        return any(id not in self._gaps and (gap.channel, gap.raw_symbol) == topic for id, gap in left)

    def _has_dropped(self, topic: Topic) -> bool:
        """Tell whether the ring has let go of a numbered record that the stream does not hold."""
        position, number = self.positions.topics.get(topic), self._dropped.get(topic)
        is_sure = topic[0] not in BOOKS or topic[0] in self.positions.sure
        return is_sure and number is not None and position is not None and number > (position.last or number)

    def _is_apart(self, topic: Topic, now: int, *, is_here: bool) -> bool:
        """Tell whether the newest records of a topic that the stream holds should have come here, and have not.

        The owner before was late with them then: others that came at the same time are in neither.
        """
        position, since = self.positions.topics.get(topic), self._live.get(topic)
        if position is None or since is None or topic[0] in {"instruments", "status"}:
            return False
        if topic[0] in BOOKS and topic[0] not in self.positions.sure:
            return False  # it is told anew
        is_due = is_here or now - position.at > APART_NS
        return is_due and position.at > max(since, self._horizon, self._own_at) + APART_NS

    def _owe(self, topic: Topic, now: int) -> None:
        """Open a gap that ends with the next record of a topic, and of a book with the next whole one."""
        position = self.positions.topics.get(topic)
        came = (position and position.at) or self.positions.at or now
        since = min(came, self.stored_at or now, now)  # the clock of the owner before may have been ahead
        gap = self._gap(topic, "restart", since, now)
        self._owed[topic] = gap
        self._held.append(structs.replace(gap))

    def _gap(self, topic: Topic, cause: str, ts_from: int, now: int) -> Gap:
        channel, raw_symbol = topic
        position = self.positions.topics.get(topic)
        return Gap(
            exchange=self.exchange,
            symbol=None if position is None else position.symbol,
            raw_symbol=raw_symbol,
            ts_recv=now,
            conn=self._conn,
            source="derived",
            gap_id=f"{self._conn}:{channel}:{raw_symbol or '*'}:{cause}:{now}",
            phase="open",
            channel=channel,
            cause=cause,  # type: ignore[arg-type] # the callers name two
            ts_from=ts_from,
        )

    def _is_told(self, record: Record) -> bool:
        """Tell whether the stream holds a record that has come here, from whoever."""
        count = 1
        if isinstance(record, Trade | Liquidation):
            identity = (CHANNEL_OF[type(record)], record.raw_symbol, *identity_of(record))
            self._came[identity] += 1
            count = self._came[identity]
        return self.positions.holds(record, count) or self._is_shown(record)

    def _is_shown(self, record: Record) -> bool:
        """Tell whether a record without a time is the one that the owner before has published last, and came later."""
        if record.ts_event is not None or isinstance(record, (Trade, Liquidation, *WHOLE)):
            return False
        thing = type(record), record.raw_symbol, kind_of(record)
        if thing in self._changed:
            return False
        if self.positions.shows(record):
            return True
        self._changed.add(thing)
        return False

    def _hold(self, record: Record) -> None:
        """Have a record published; a gap that it ends is closed behind it, and changes of a book wait for that."""
        channel = CHANNEL_OF.get(type(record))
        if channel is not None and self._owed:
            topic = channel, record.raw_symbol
            gap = self._owed.get(topic)
            if gap is not None and isinstance(record, WHOLE) and not isinstance(record, BookSnapshot | OrdersSnapshot):
                return
            if gap is not None:
                del self._owed[topic]
                at = record.ts_recv
                self._held += (record, structs.replace(_ended(gap, at), ts_recv=at))
                return
        self._held.append(record)

    # --- what is published

    def next_frame(self, most: int, most_bytes: int) -> ShareFrame | None:
        """The next records to publish, so many at most; null: there are none. They are under way from now on."""
        held = self._held
        count = min(most, len(held), int(most_bytes / self._record_bytes) or 1) if self.begun else 0
        while count:
            some = tuple(islice(held, count))
            for number, record in enumerate(some, self.number + 1):
                record.offset = number
            payload = Batch(list(some)).blob
            if len(payload) <= most_bytes:
                self._under_way, self._record_bytes = some, len(payload) / count
                for _ in some:
                    held.popleft()
                return ShareFrame(self.begun, self.number + 1, some, payload)
            if count == 1:
                self._leave_out(some[0])
            else:
                count = max(1, count * most_bytes // (len(payload) + most_bytes))
        return None

    def fills(self, most_bytes: int) -> bool:
        """Tell whether a frame of such a size would be full."""
        return len(self._held) * self._record_bytes >= most_bytes

    def fresh(self) -> list[Record]:
        """The records to be published that have come since this was asked before in the same ownership."""
        count, self._new = min(self._new, len(self)) if self.begun else 0, 0
        newest_first = chain(reversed(self._held), reversed(self._under_way))
        return list(islice(newest_first, count))[::-1]

    def _leave_out(self, record: Record) -> None:
        """Put a gap in place of a record that is larger than a message may be."""
        channel = CHANNEL_OF.get(type(record), "status")
        gap = self._gap((channel, record.raw_symbol), "overflow", record.ts_recv, record.ts_recv)
        self._held[0] = structs.replace(_ended(gap, record.ts_recv), missed=1)

    def drain(self) -> list[Record]:
        """All that is to be published now, where that cannot fail."""
        found = list(self._held)
        self._held.clear()
        return found

    def is_settled(self, now: int) -> bool:
        """Tell whether the ownership before this one matters no more."""
        return now >= self._compared_until and not self._owed and not self._past

    def stored(self, frame: ShareFrame) -> None:
        """The stream holds the frame of this member's own that was under way: its records are held no more."""
        self._under_way = ()
        self.number, self.fence = max(self.number, frame.last), max(self.fence, frame.fence)
        self._brought = max(self._brought, frame.fence)
        self._own_at = max([self._own_at, *(record.ts_recv for record in frame.records[-1:])])

    def heard(self, fence: int, last: int, records: Sequence[Record]) -> None:
        """Take a frame of the stream, in order; `last`: the number of its last record.

        A frame of an older ownership than one that came before was taken by mistake, and no reader accepts it.
        """
        if fence < self.fence:
            return
        self.fence = fence
        for record in records:
            if record.offset > self._noted:
                self.positions.note(record)
        if records:
            self._brought = fence
        self._noted = max(self._noted, last)
        self.number = max(self.number, last)


def _ended(gap: Gap, at: int) -> Gap:
    """The end of a gap, never before its beginning: that may be told by the clock of another host, which is ahead."""
    return structs.replace(gap, phase="close", ts_to=max(at, gap.ts_from), repair="none")


def _comes(state: Health) -> bool:
    """Tell whether all of a topic comes that there is."""
    return state.state in {"live", "quiet"} or (state.state == "syncing" and state.channel not in BOOKS)


def _concerns(gap: Gap, topic: tuple[Channel | None, str | None]) -> bool:
    channel, raw_symbol = topic
    return gap.channel in {None, channel} and gap.raw_symbol in {None, raw_symbol}


def _is_joining(record: Record) -> bool:
    """Tell whether all of a topic is held here behind a record that the stream holds too."""
    if isinstance(record, Trade | Liquidation):
        return record.sequence is not None or record.id is not None
    return isinstance(record, BookSnapshot | BookDelta) and record.sequence is not None
