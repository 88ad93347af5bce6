"""`consolidated:*:BTC/USDT`: the best bid and offer of a market over exchanges, from those that can be relied on.

`consolidated.tops` tells every change of one of them, and not only of the best. With an age, `consolidated.30s`, an
exchange of which nothing has come for that long is left out, too.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

from msgspec import Struct

from aggregator.bus.selection import BadPattern
from aggregator.derived.bar import number
from aggregator.derived.channel import Derived, Stamp, Start
from aggregator.derived.condition import Condition
from aggregator.derived.kept_book import KeptBook
from aggregator.records import (
    MS_NS,
    SECOND_NS,
    Bbo,
    Channel,
    Consolidated,
    Contributor,
    Gap,
    Health,
    Record,
    is_hole,
)

AGE = re.compile(r"([1-9][0-9]{0,4})s")


class Quote(Struct, frozen=True):
    """One side of an exchange's best prices.

    since: the count of changes at which this price came: of equal prices the one that stands longest is the best
    """

    price: str
    size: str | None
    value: Decimal
    since: int


Side = tuple[str | None, str | None]  # a price and its size
EMPTY: Side = (None, None)


class Contribution:
    """The contribution of one exchange: its own best prices, or while there are none of these those of its book."""

    __slots__ = ("_book", "_of_bbo", "_of_book", "ask", "bid", "has_bbo", "has_book", "is_good", "last", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.has_bbo = self.has_book = False
        self.is_good = True  # its condition, found anew when that may have changed
        self.bid: Quote | None = None
        self.ask: Quote | None = None
        self.last: Record | None = None  # the newest that told prices; null: none since it could be relied on
        self._of_bbo, self._of_book = Condition(), Condition()
        self._book = KeptBook()

    @property
    def _channel(self) -> Channel:
        """The channel that it contributes by."""
        return "book" if self.has_book and not self.has_bbo else "bbo"

    @property
    def condition(self) -> Condition:
        """How the topic stands that it contributes by."""
        return self._of_book if self._channel == "book" else self._of_bbo

    def take(self, record: Record, count: int) -> None:
        """Take a record of its best prices or its book, or a gap or a state of these."""
        if isinstance(record, Gap | Health):
            self._judge(record)
        elif isinstance(record, Bbo):
            if not self.has_bbo:
                self.has_bbo, self._book = True, KeptBook()
                self.is_good = self.condition.is_good
            self._quote(record, (record.bid_price, record.bid_size), (record.ask_price, record.ask_size), count)
        elif not self.has_bbo:
            if not self.has_book:
                self.has_book = True
                self.is_good = self.condition.is_good
            has_changed, best = self._book.take(record), self._book.best(1)
            if best is None:
                self.last = None
            elif has_changed:
                bids, asks = best
                self._quote(record, bids[0] if bids else EMPTY, asks[0] if asks else EMPTY, count)

    def _judge(self, record: Gap | Health) -> None:
        if record.channel in {"bbo", None}:
            self._of_bbo.take(record, self.last)
            if self._of_bbo.state == "down" and self.has_bbo:  # it may be refused, and the book go on
                self.has_bbo, self.last = False, None
        if record.channel in {"book", None}:
            self.has_book = self.has_book or record.channel == "book"
            self._of_book.take(record, self.last)
            self._book.take(record)
        self.is_good = self.condition.is_good
        is_lacking = isinstance(record, Gap) and is_hole(record) and record.channel in {self._channel, None}
        if not self.is_good or is_lacking:
            self.last = None  # its prices count again from the next record on

    def _quote(self, record: Record, bid: Side, ask: Side, count: int) -> None:
        self.last = record
        self.bid, self.ask = _quoted(self.bid, bid, count), _quoted(self.ask, ask, count)


def _quoted(before: Quote | None, side: Side, count: int) -> Quote | None:
    price, size = side
    value = number(price)
    if price is None or value is None:
        return None
    is_same = before is not None and before.value == value
    return Quote(price, size, value, before.since if before is not None and is_same else count)


class BestOfExchanges:
    """The machine: it keeps the best prices of each exchange."""

    def __init__(self, stamp: Stamp, *, tells_tops: bool, age_ns: int | None) -> None:
        self.due = 0
        self._stamp = stamp
        self._tells_tops = tells_tops
        self._age_ns = age_ns
        self._exchanges: dict[str, Contribution] = {}
        self._count = 0
        self._now = 0  # the time of the newest record or tick, by our clock
        self._cause: Record | None = None
        self._has_changed = False
        self._told: object = None

    def take(self, record: Record) -> Sequence[Record]:
        """Take a record of an exchange."""
        self._count += 1
        self._now, self._cause, self._has_changed = record.ts_recv or self._now, record, True
        found = self._exchanges.get(record.exchange)
        if found is None:
            found = self._exchanges[record.exchange] = Contribution(record.exchange)
            self._exchanges = dict(sorted(self._exchanges.items()))
        found.take(record, self._count)
        if self._age_ns is not None and not self.due:
            self.due = self._now + self._age_ns
        return ()

    def tick(self, wall: int) -> Sequence[Record]:
        """Look for those of which nothing has come for too long."""
        self._now, self._cause, self._has_changed = wall, Record(ts_recv=wall), True
        times = [each.last.ts_recv for each in self._inside() if each.last is not None]
        self.due = min(times) + self._age_ns if times and self._age_ns is not None else 0
        return ()

    def _inside(self) -> Iterator[Contribution]:
        """The exchanges that can be relied on."""
        age_ns, now = self._age_ns, self._now
        return (
            each
            for each in self._exchanges.values()
            if each.is_good and each.last is not None and (age_ns is None or now - each.last.ts_recv < age_ns)
        )

    def _reason(self, each: Contribution) -> str:
        """Why an exchange is not among them; empty where it is."""
        if not each.is_good:
            return each.condition.state
        if each.last is None:
            return "waiting"
        if self._age_ns is not None and self._now - each.last.ts_recv >= self._age_ns:
            return "old"
        return ""

    def news(self) -> Consolidated | None:
        """The best prices, if they or those who make them have changed; of `tops` if any of their prices has."""
        if not self._has_changed:
            return None
        self._has_changed = False
        inside = list(self._inside())
        key: object = _best(inside), [each.name for each in inside]
        if self._tells_tops:
            key = [(each.name, each.bid, each.ask) for each in inside]
        if key == self._told or not self._exchanges:
            return None
        self._told = key
        return self._record(inside)

    def current(self) -> Consolidated | None:
        """The best prices."""
        return self._record(list(self._inside())) if self._exchanges else None

    def _record(self, inside: list[Contribution]) -> Consolidated:
        bid, ask = _best(inside)
        names = self._stamp.of(self._cause or Record())
        names["sequence"] = None  # no number is common to all
        return Consolidated(
            **names,
            bid_price=bid[1].price if bid else None,
            bid_size=bid[1].size if bid else None,
            bid_exchange=bid[0] if bid else None,
            ask_price=ask[1].price if ask else None,
            ask_size=ask[1].size if ask else None,
            ask_exchange=ask[0] if ask else None,
            contributors=[self._contributor(each) for each in inside],
            absent=[(each.name, reason, self._age(each)) for each, reason in self._outside()],
        )

    def _outside(self) -> Iterator[tuple[Contribution, str]]:
        return ((each, reason) for each in self._exchanges.values() if (reason := self._reason(each)))

    def _contributor(self, each: Contribution) -> Contributor:
        bid, bid_size = (each.bid.price, each.bid.size) if each.bid else EMPTY
        ask, ask_size = (each.ask.price, each.ask.size) if each.ask else EMPTY
        return each.name, each.condition.state, self._age(each) or 0, bid, bid_size, ask, ask_size

    def _age(self, each: Contribution) -> int | None:
        return None if each.last is None else max(0, self._now - each.last.ts_recv) // MS_NS


Best = tuple[str, Quote]  # an exchange's name, and its price


def _best(inside: list[Contribution]) -> tuple[Best | None, Best | None]:
    bids = [(each.name, each.bid) for each in inside if each.bid is not None]
    asks = [(each.name, each.ask) for each in inside if each.ask is not None]
    bid = max(bids, key=lambda one: (one[1].value, -one[1].since), default=None)
    ask = min(asks, key=lambda one: (one[1].value, one[1].since), default=None)
    return bid, ask


def _read(parts: tuple[str, ...]) -> Start | None:
    if parts[0] != "consolidated":
        return None
    words = list(parts[1:])
    tells_tops = words[:1] == ["tops"]
    words = words[tells_tops:]
    age = AGE.fullmatch(words[0]) if len(words) == 1 else None
    if words and age is None:
        if words[-1].endswith("ms"):
            return None
        raise BadPattern(
            f"{'.'.join(parts)!a:.40} is not among consolidated, consolidated.tops, and either with an age, like "
            "consolidated.30s (1 to 99999 s)"
        )
    age_ns = int(age[1]) * SECOND_NS if age else None
    return lambda stamp: BestOfExchanges(stamp, tells_tops=tells_tops, age_ns=age_ns)


CONSOLIDATED = Derived(
    "consolidated", "the best bid and offer over exchanges", None, ("bbo", "book"), _read, merges=True, needs_one=True
)
