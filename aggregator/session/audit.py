"""The audit of live books: each is compared with the exchange's own, asked for by REST, at the same number.

One book of a connection at a time. The book is copied when the question goes out, and the deltas that follow are kept,
so that it can be set to the very number that the answer has.
"""

from collections.abc import Sequence
from decimal import Decimal

from aggregator.book import OrderBook, limit
from aggregator.records import SECOND_NS, BookDelta, BookSnapshot, Levels, OrdersSnapshot, Record
from aggregator.session.fetches import Fetches
from aggregator.session.moment import Now
from aggregator.session.order_book import BookTopic
from aggregator.session.orders import by_level
from aggregator.session.table import TopicTable
from aggregator.session.topics import health

PATIENCE_NS = 20 * SECOND_NS  # question, answer and the deltas up to it may take so long


class Audit:
    """One question about one book."""

    def __init__(self, topic: BookTopic, now: Now) -> None:
        """Copy the book as it stands, and keep what follows."""
        self.topic = topic
        self._begun = now.mono
        self._last = topic.last or 0
        self._copy = topic.snapshot(now)
        self._deltas: list[BookDelta] = []
        self._answer: BookSnapshot | None = None
        topic.follow(self._deltas)

    def answer(self, answer: BookSnapshot) -> None:
        """Take the exchange's own book."""
        self._answer = answer

    def tick(self, out: list[Record], now: Now) -> bool:
        """Judge when all that is needed is there; True when this audit is over."""
        topic, answer = self.topic, self._answer
        if topic.book is None or now.mono - self._begun > PATIENCE_NS:
            topic.follow(None)
            return True  # the book is in doubt anyway, or no answer came
        if answer is None or answer.sequence is None or (topic.last or 0) < answer.sequence:
            return False
        topic.follow(None)
        book = self._at(answer.sequence)
        if book is None or self._copy is None:
            out.append(health(topic, now, "audit: the exchange's book is of a moment that ours never stood at"))
            return True
        wrong, of = 0, 0
        floors, caps = (self._copy.bid_floor, answer.bid_floor), (self._copy.ask_cap, answer.ask_cap)
        for ours, theirs, sign, limits in ((book.bids(), answer.bids, 1, floors), (book.asks(), answer.asks, -1, caps)):
            differing, compared = compare(ours, theirs, sign, limits)
            wrong, of = wrong + differing, of + compared
        if wrong:
            out.append(health(topic, now, f"audit: {wrong} of {of} levels are not the exchange's"))
            topic.lose("checksum", out, now)
        else:
            out.append(health(topic, now, f"audit: {of} levels agree with the exchange's book"))
        return True

    def _at(self, number: int) -> OrderBook | None:
        """Our book at this number; None if it never had that number."""
        if self._copy is None or number < self._last:
            return None
        book, last = OrderBook(self._copy.bids, self._copy.asks, None), self._last
        for delta in self._deltas:
            if delta.sequence is not None and delta.sequence <= number:
                book.apply(delta.bids, delta.asks)
                last = delta.sequence
        return book if last == number else None


class Audits:
    """The books of one connection, in turn."""

    def __init__(self, topics: TopicTable, answers: Fetches, every: float | None) -> None:
        """Compare one book every so many seconds; None: never."""
        self._topics = topics
        self._answers = answers
        self._every = int(every * SECOND_NS) if every is not None and answers.can_audit else None
        self._due: int | None = None
        self._turn = 0
        self._audit: Audit | None = None

    def tick(self, out: list[Record], now: Now) -> None:
        """Begin an audit that is due, and judge one that can be."""
        if self._audit is not None:
            self._audit = None if self._audit.tick(out, now) else self._audit
        elif self._every is not None and (self._due is None or now.mono >= self._due):
            if self._due is not None:
                self._begin(now)
            self._due = now.mono + self._every

    def _begin(self, now: Now) -> None:
        books = [t for t in self._topics.of("book").values() if isinstance(t, BookTopic) and t.book is not None]
        if not books:
            return
        self._turn += 1
        topic = books[self._turn % len(books)]
        if topic.raw_symbol is not None:
            self._audit = Audit(topic, now)
            self._answers.want_audit(topic.raw_symbol)

    def answer(self, answer: BookSnapshot | OrdersSnapshot | None) -> None:
        """Take the exchange's own book for the audit that waits for it."""
        if isinstance(answer, OrdersSnapshot):
            answer = by_level(answer)
        if self._audit is not None and answer is not None and answer.raw_symbol == self._audit.topic.raw_symbol:
            limit(answer)
            self._audit.answer(answer)


def compare(ours: Levels, theirs: Levels, sign: int, limits: Sequence[str | None]) -> tuple[int, int]:
    """How many levels differ, and how many were compared: those that both books know. `sign` is -1 for asks."""
    mine, other = exact(ours), exact(theirs)
    known = [sign * Decimal(limit) for limit in limits if limit is not None]
    inside = [price for price in mine.keys() | other.keys() if all(sign * price >= limit for limit in known)]
    return sum(mine.get(price) != other.get(price) for price in inside), len(inside)


def exact(levels: Levels) -> dict[Decimal, Decimal]:
    """Levels as numbers, so that spelling does not matter."""
    return {Decimal(price): Decimal(size) for price, size in levels}
