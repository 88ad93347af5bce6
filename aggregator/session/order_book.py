"""A book's topic: deltas joined to a snapshot, checked by number, checksum and crossing, withheld while in doubt."""

from collections import deque

from msgspec import Struct

from aggregator.book import OrderBook, limit, within
from aggregator.errors import BadFrame
from aggregator.records import SECOND_NS, BookDelta, BookSnapshot, Cause, Instrument, OrdersDelta, Record
from aggregator.sequence import GAP, NEXT, Rule, Verdict
from aggregator.session.checksum import Checksum, Compute
from aggregator.session.moment import Now
from aggregator.session.topics import Origin, Topic, TopicCheckpoint, happen, health

LEFT_BEHIND_NS = 60 * SECOND_NS  # an empty book older than this belongs to a market that has ended
BUFFER = 5_000  # deltas held while a snapshot is on its way; the snapshot covers older ones
ANEW_NS = 30 * SECOND_NS  # if all that comes for so long has numbers of the past, the exchange counts anew
ANEW_DELTAS = 3  # and so many deltas at least, each with a higher number than the one before it


Delta = BookDelta | OrdersDelta


class BookNeed(Struct, frozen=True):
    """A whole book that a topic needs from the exchange; `has_failed`: the last one was of no use, or did not come."""

    raw_symbol: str | None
    has_failed: bool = False


class StaleRun(Struct, gc=False):
    """Deltas with numbers of the past that came one after the other, with none between them that fitted.

    since: when (monotonic ns) the first came
    count: how many there were, each with a higher number than the one before it
    number: the number of the newest
    passed: how many deltas the topic had passed by then: it passes none meanwhile
    """

    since: int
    count: int
    number: int
    passed: int


class BookTopic(Topic):
    """A book: deltas are joined to a snapshot, checked by number, checksum and crossing, and withheld while in doubt.

    needs: the topic adds to it when it needs a whole book from the exchange
    crosses: whether books of this exchange may be crossed, so that a crossed one is no reason for doubt
    joins: whether changes follow periodic books too (`Stream.periodic_joins`)
    in_band: whether the stream brings the whole book by itself, before its deltas
    requested: whether it can be asked for, so that deltas are held for it
    """

    __slots__ = (
        "_asked",
        "_base",
        "_buffer",
        "_cap",
        "_checksum",
        "_crosses",
        "_depth",
        "_floor",
        "_followed",
        "_in_band",
        "_joins",
        "_judge",
        "_needs",
        "_reached",
        "_reached_at",
        "_requested",
        "_rule",
        "_snapshots",
        "_stale",
        "book",
        "withheld",
    )

    def __init__(
        self,
        raw_symbol: str | None,
        instrument: Instrument | None,
        place: Origin,
        carried: TopicCheckpoint,
        *,
        rule: Rule,
        depth: int | None,
        crosses: bool,
        joins: bool,
        checksum: Compute | None,
        verify: int,
        needs: deque[BookNeed],
        in_band: bool,
        requested: bool,
    ) -> None:
        """Begin without a book; a gap that the connection before left stays open until a snapshot comes."""
        super().__init__("book", raw_symbol, instrument, place, TopicCheckpoint(carried.gap))
        self._rule = rule
        self._judge = rule.joins
        self._depth = depth
        self._crosses = crosses
        self._joins = joins
        self._checksum = Checksum(checksum, verify)
        self._needs = needs
        self._in_band = in_band
        self._requested = requested
        self._buffer: deque[Delta] | None = None  # made when needed: a queue is as large as all the rest
        self._followed: list[BookDelta] | None = None
        self._floor: str | None = None  # a snapshot of limited depth knows no bids below this, no asks above `_cap`
        self._cap: str | None = None
        self._asked = False
        self._reached = 0  # the highest number of a delta so far: a whole book with a lower one misses changes
        self._reached_at = 0  # the exchange's time of the newest delta so far
        self._snapshots = 0
        self._stale: StaleRun | None = None
        self.book: OrderBook | None = None
        self._base: OrderBook | None = None  # the same, if changes apply to it
        self.withheld = 0  # deltas held back since the book was last good

    @property
    def stands(self) -> bool:
        """Tell whether there is a book: deltas alone make none."""
        return self.book is not None

    def accept(self, record: Record, out: list[Record], now: Now) -> None:
        """Pass a delta that fits the book, or a snapshot that starts it anew."""
        if type(record) is BookDelta:
            if self._base is None:
                self._hold(record)
            else:
                self._continue(self._base, record, out, now)
        elif type(record) is BookSnapshot:
            self._start(record, out, now)

    def _continue(self, book: OrderBook, delta: BookDelta, out: list[Record], now: Now) -> None:
        last, final = self.last, delta.sequence
        if last is not None and final is not None:
            first = final if delta.sequence_first is None else delta.sequence_first
            if first != last + 1 or delta.sequence_prev is not None:  # else it is next by every rule
                verdict = self._judge(last, first, final, delta.sequence_prev)
                if verdict is not NEXT:
                    self._stumble(delta, verdict, out, now)
                    return
        try:
            crossed = book.apply(delta.bids, delta.asks)
        except BadFrame:
            self._doubt("parse_error", out, now)
            raise
        if crossed and not self._crosses:
            self._doubt("crossed", out, now)
        elif delta.checksum is not None and self._checksum.is_wrong(book, self.instrument, delta.checksum):
            self._doubt("checksum", out, now, got=delta.checksum)
        else:
            if final is not None:
                self.last = final
                self._judge = self._rule.follows
            self._newest = delta.ts_event or delta.ts_sent or 0
            self.count += 1
            out.append(delta)
            if delta.checksum is None and self._checksum.comes and self._checksum.has_stopped():
                out.append(
                    health(self, now, "checksums no longer come with the book: a loss shows in its numbers alone")
                )
            if self._followed is not None:
                self._followed.append(delta)

    def follow(self, deltas: list[BookDelta] | None) -> None:
        """Put each delta that is applied from now on into this list too; None ends that."""
        self._followed = deltas

    def _stumble(self, delta: Delta, verdict: Verdict, out: list[Record], now: Now) -> None:
        """Judge a delta that is not the next: a hole, a duplicate, or numbers that start anew: younger, yet lower."""
        time = delta.ts_event or delta.ts_sent or 0
        is_younger = self._judge is self._rule.follows and 0 < self._newest < time
        if verdict is GAP or is_younger or self._counts_anew(delta, now):
            expected, got = (self.last or 0) + 1, delta.sequence_first or delta.sequence
            self._doubt("sequence", out, now, expected=expected, got=got)
            if verdict is not GAP:
                self._reached = 0  # the numbers start anew
            self._hold(delta)
        else:
            self.duplicates += 1

    def _counts_anew(self, delta: Delta, now: Now) -> bool:
        """Tell whether numbers of the past are no repeats any more, because nothing else has come for too long."""
        number, run = delta.sequence or 0, self._stale
        if run is None or run.passed != self.count:
            run = self._stale = StaleRun(now.mono, 0, -1, self.count)
        if number > run.number:
            run.number = number
            run.count += 1
        return run.count >= ANEW_DELTAS and now.mono - run.since >= ANEW_NS

    def _doubt(
        self, cause: Cause, out: list[Record], now: Now, *, expected: int | None = None, got: int | None = None
    ) -> None:
        if self._base is not None:
            self._reached = max(self._reached, self.last or 0)
        self._reached_at = max(self._reached_at, self._newest)
        self.book = self._base = None
        self.last = None
        self._buffer = self._stale = None
        self.open_gap(cause, out, now, expected=expected, got=got)
        self.ask()

    def lose(self, cause: Cause, out: list[Record], now: Now) -> None:
        """Trust the book no longer: open a gap and ask for a whole book."""
        self._doubt(cause, out, now)

    def drop(self) -> None:
        """Have no book any more, without a word."""
        self.book = self._base = None

    def forget(self) -> None:
        """Drop the held deltas: a frame between them is lost, so they cannot be joined to a snapshot."""
        self._buffer = None

    def ask(self, *, failed: bool = False) -> None:
        """Ask for a whole book; `failed` says that the last one was of no use."""
        self._asked = True
        self._needs.append(BookNeed(self.raw_symbol, failed))

    def _hold(self, delta: Delta) -> None:
        self.withheld += 1
        self._reached = max(self._reached, delta.sequence or 0)
        self._reached_at = max(self._reached_at, delta.ts_event or delta.ts_sent or 0)
        if not self._requested:
            return
        if self._buffer is None:
            self._buffer = deque(maxlen=BUFFER)
        self._buffer.append(delta)
        if not self._asked:
            self.ask()

    def _start(self, snapshot: BookSnapshot, out: list[Record], now: Now) -> None:
        stands_in = snapshot.reason == "periodic" and not self._joins
        # a snapshot that came as a frame has its connection
        is_answer = not stands_in and (not self._in_band or not snapshot.conn)
        if self._is_behind(snapshot, is_answer=is_answer, stands_in=stands_in):
            self.duplicates += 1
            return
        if is_answer and is_left_behind(snapshot, now):
            happen(self, "noted", out, now, "the exchange answers with an empty book of long ago")
            self.ask(failed=True)
            return
        buffered = [] if stands_in else self._joinable(snapshot, is_answer=is_answer)
        if not is_answer and not stands_in:
            self._reached = 0  # the numbers may start anew with a new subscription
        if buffered is None:
            self.ask(failed=True)  # the snapshot is older than deltas that were seen
            return
        book = self._proven(snapshot, out, now)
        if book is None:
            return
        limit(snapshot)
        if self._depth is None:  # if the book has a depth, the exchange itself tells which levels enter it
            self._floor, self._cap = snapshot.bid_floor, snapshot.ask_cap
            snapshot.depth = None if is_answer else snapshot.depth
        if is_answer:  # its receive time is later than that of the deltas which follow it
            snapshot.conn = f"{self.conn}/snapshot"
        if self._snapshots and snapshot.reason == "initial":
            snapshot.reason = "resync"
        self._snapshots += 1
        self._judge = self._rule.joins
        self.book, self.last = book, snapshot.sequence
        self._newest = 0
        if not stands_in:
            self._base, self._asked, self.withheld, self._buffer = book, False, 0, None
        self.count += 1
        out.append(snapshot)
        self.close_gap(out, now, "none")
        self._catch_up(buffered, out, now)

    def _catch_up(self, held: list[Delta], out: list[Record], now: Now) -> None:
        """Apply the held deltas. If one cannot be read, those after it are held for the next whole book."""
        unread: BadFrame | None = None
        for delta in held:
            try:
                self.accept(delta, out, now)
            except BadFrame as error:
                unread = error
        if unread is not None:
            raise unread

    def _proven(self, snapshot: BookSnapshot, out: list[Record], now: Now) -> OrderBook | None:
        """Make the book of a snapshot. If something contradicts it, open a gap, ask for another and give None."""
        try:
            book = OrderBook(snapshot.bids, snapshot.asks, self._depth)
        except BadFrame:
            self._doubt("parse_error", out, now)
            raise
        if not self._crosses and book.is_crossed():
            self._doubt("crossed", out, now)
            return None
        sums, said = self._checksum, snapshot.checksum
        if sums.fits(said is None or not sums.is_wrong(book, self.instrument, said)):
            return book
        if not sums.is_doubtful or not self._rule.sure:  # without numbers only the checksum shows a loss
            self._doubt("checksum", out, now, got=said)
            return None
        sums.give_up()
        out.append(health(self, now, "whole books do not give their own checksum: it is computed no more"))
        return book

    def _is_behind(self, snapshot: BookSnapshot, *, is_answer: bool, stands_in: bool) -> bool:
        """Tell whether a whole book is less than the live one, or older: an answer or copy that was long on its way."""
        is_followed = self._base is not None
        if is_followed is stands_in:
            return stands_in
        number, last = snapshot.sequence, self.last
        if number is None or last is None:
            return False
        time = snapshot.ts_event or snapshot.ts_sent or 0
        return number <= last if is_answer else number < last and 0 < time < self._newest

    def _joinable(self, snapshot: BookSnapshot, *, is_answer: bool) -> list[Delta] | None:
        """The held deltas that follow a snapshot; None if something between them is, or may be, missing.

        Where nothing is numbered, all that were held for an answer follow: sizes are absolute, so that it comes to the
        same if the answer has seen them. A lower number in a younger frame is that of a subscription which counts anew;
        if it is not, the next delta shows the hole.
        """
        buffered = list(self._buffer or ())
        if snapshot.sequence is None:
            return buffered if is_answer and all(delta.sequence is None for delta in buffered) else []
        if not buffered and is_answer and not self._rule.sure:
            return None  # without a delta to join, nothing shows that the snapshot is recent enough
        for at, delta in enumerate(buffered):
            final = delta.sequence or 0
            first = final if delta.sequence_first is None else delta.sequence_first
            verdict = self._rule.joins(snapshot.sequence, first, final, delta.sequence_prev)
            if verdict is GAP or (verdict is NEXT and at == 0 and not self._rule.sure):
                return None  # the snapshot must be newer than the first delta held, because numbers show no holes here
            if verdict is NEXT:
                return buffered[at:]
        if snapshot.sequence >= self._reached:
            return []
        time = snapshot.ts_event or snapshot.ts_sent or 0
        begins_anew = not is_answer and self._rule.sure and 0 < self._reached_at <= time
        return [] if begins_anew else None

    def snapshot(self, now: Now) -> BookSnapshot | None:
        """The live book as a record, or None where there is none that can be trusted."""
        if self.book is None:
            return None
        found = BookSnapshot(
            exchange=self.exchange,
            symbol=self.symbol,
            raw_symbol=self.raw_symbol,
            ts_recv=now.wall,
            conn=self.conn,
            source="derived",
            flags=("snapshot",),
            sequence=self.last,
            bids=within(self.book.bids(), 1, self._floor),
            asks=within(self.book.asks(), -1, self._cap),
            bid_floor=self._floor,
            ask_cap=self._cap,
            depth=self._depth,
            reason="request",
        )
        limit(found)
        return found


def is_left_behind(snapshot: BookSnapshot, now: Now) -> bool:
    """Tell whether a whole book is empty and, by the exchange's time, old: a delisted contract leaves such a book."""
    time = snapshot.ts_event or snapshot.ts_sent
    return not snapshot.bids and not snapshot.asks and time is not None and now.wall - time > LEFT_BEHIND_NS
