"""`candles.1m`, `candles.100trades`, `candles.5base`, `candles.1000000quote`: bars of trades.

A bar of time holds the trades of its interval. It is told when a trade of a later interval comes, or two seconds after
its end. A trade that comes later still has its bar told again, whole, with the flag `late`.
"""

import re
from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from aggregator.bus.selection import BadPattern
from aggregator.derived.bar import EXACT, TradeBar, base_of, is_counted, number, quote_of, time_of
from aggregator.derived.channel import Derived, Stamp, Start
from aggregator.derived.concerns import concerns
from aggregator.derived.condition import Condition
from aggregator.derived.intervals import Span, span_of
from aggregator.records import MINUTE_NS, SECOND_NS, Candle, Cause, Flags, Gap, Health, Record, Trade

GRACE_NS = 2 * SECOND_NS  # trades are under way for so long, and clocks differ by as much
KEPT_NS = 10 * MINUTE_NS  # a closed bar takes late trades for so long, and those since a gap as long as it is open
MOST_KEPT = 1500  # bars
COUNTED = 100  # bars that are kept count as one more topic
UNSEEN: frozenset[Cause] = frozenset({"sequence", "stalled", "no_first_frame"})  # it was noticed later than it began
MENDED = frozenset({"full", "not_needed"})
AMOUNT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)(trades|base|quote)")
LATE: Flags = ("late",)


class Hole(Struct):
    """A time of which trades may be missing; `end` is null while it lasts.

    is_state: whether a bad state tells of it, and not a gap
    """

    start: int
    end: int | None = None
    is_state: bool = False

    def touches(self, start: int, end: int) -> bool:
        return self.start < end and (self.end is None or self.end >= start)


class TimeBars:
    """The machine of bars of time."""

    def __init__(self, stamp: Stamp, interval: str, span: Span) -> None:
        self.due = 1  # at once: the time of the beginning is asked for
        self._stamp = stamp
        self._interval = interval
        self._span = span
        self._began: int | None = None
        self._bars: dict[int, TradeBar] = {}  # by start: the closed ones that are kept, and the open one
        self._open: TradeBar | None = None
        self._closed_until = 0  # the end of the last interval that is closed
        self._cut = 0  # intervals that end here or earlier are forgotten
        self._holes: dict[str, Hole] = {}
        self._condition = Condition()
        self._last: Trade | None = None
        self._latest = 0  # the time of the latest trade
        self._has_news = False

    # --- what comes

    def take(self, record: Record) -> Sequence[Record]:
        """Take a trade, a gap or a state."""
        if isinstance(record, Trade):
            return self._trade(record)
        if isinstance(record, Gap | Health):
            self._condition.take(record, self._last)
            if isinstance(record, Gap):
                self._gap(record)
            self._state(record)
            return self._judged_anew()
        return ()

    def tick(self, wall: int) -> Sequence[Record]:
        """Close the bar whose end has passed."""
        if self._began is None:
            self._began = wall
        bar = self._open
        self.due = 0 if bar is None else bar.end + GRACE_NS
        return [] if bar is None or wall < self.due else self._close(bar.end)

    def _trade(self, trade: Trade) -> list[Record]:
        if not is_counted(trade):
            return []
        if self._began is None:
            self._began = trade.ts_recv
        at, price = time_of(trade), number(trade.price)
        if price is None:  # a trade is missing that cannot be read
            self._holes[f"price:{at}"] = Hole(at, at)
            return self._judged_anew()
        self._last = trade
        self._latest = max(self._latest, at)
        start, end = self._span(at)
        if end <= self._cut and not self._has_jumped_back(trade):
            return []  # it came too late for any bar
        if end <= self._closed_until:
            return self._late(trade, price, at, start, end)
        told = self._close(start) if start > self._closed_until else []
        if self._open is None:
            self._open = self._bars[start] = TradeBar(trade, price, at, start, end)
            self.due = end + GRACE_NS
        else:
            self._open.add(trade, price, at)
        self._has_news = True
        return told

    def _late(self, trade: Trade, price: Decimal, at: int, start: int, end: int) -> list[Record]:
        """Add a trade to a bar that is closed, or make that bar, and tell it again."""
        bar = self._bars.get(start)
        if bar is None:
            bar = self._bars[start] = TradeBar(trade, price, at, start, end)
        else:
            bar.add(trade, price, at)
        return [self._final(bar, is_late=True)]

    def _has_jumped_back(self, trade: Trade) -> bool:
        """Tell whether it is our clock that went back: then everything begins anew from here."""
        if trade.ts_recv > self._cut:
            return False
        self._bars.clear()
        self._holes.clear()
        self._open = None
        self._closed_until = self._cut = 0
        self._began = trade.ts_recv
        self._latest = time_of(trade)
        return True

    def _close(self, until: int) -> list[Record]:
        """Close what ends by this time."""
        bar, told = self._open, list[Record]()
        if bar is not None:
            told.append(self._final(bar, is_late=False))
            self._open, self._has_news = None, False
        self._closed_until = max(self._closed_until, until)
        self.due = 0
        self._forget()
        return told

    def _forget(self) -> None:
        """Forget bars that no trade can come for any more."""
        since = self._latest - KEPT_NS
        floor = min([since, *(hole.start for hole in self._holes.values() if hole.end is None or hole.end > since)])
        for start in sorted(self._bars):
            bar = self._bars[start]
            if bar is self._open or (bar.end > floor and len(self._bars) <= MOST_KEPT):
                break
            self._cut = max(self._cut, bar.end)
            del self._bars[start]
        self._cut = max(self._cut, self._span(max(floor, 0))[0])
        for name in [name for name, hole in self._holes.items() if hole.end is not None and hole.end < self._cut]:
            del self._holes[name]

    # --- whether something is missing

    def _gap(self, gap: Gap) -> None:
        if not concerns(gap, self._last):
            return
        end = gap.ts_recv if gap.ts_to is None else gap.ts_to
        hole = self._holes.get(gap.gap_id)
        if hole is None:
            hole = self._holes[gap.gap_id] = Hole(self._since(gap.cause, gap.ts_from))
        if gap.phase == "open":
            return
        hole.end = max(end, hole.start)
        if gap.repair in MENDED:
            del self._holes[gap.gap_id]
            within = [n for n, h in self._holes.items() if h.is_state and h.touches(hole.start, hole.end)]
            for name in within:
                del self._holes[name]

    def _state(self, record: Gap | Health) -> None:
        """Note since when the input is in a bad state, and until when."""
        hole = next((h for h in self._holes.values() if h.is_state and h.end is None), None)
        if self._condition.is_told_good:
            if hole is not None:
                hole.end = max(record.ts_recv, hole.start)
        elif hole is None:
            cause: Cause = "stalled" if self._condition.state == "stalled" else "disconnect"
            start = self._since(cause, record.ts_recv)
            self._holes[f"state:{start}"] = Hole(start, is_state=True)

    def _since(self, cause: Cause, at: int) -> int:
        """The time since when trades may be missing: the last one for what is noticed late, else a little earlier."""
        if cause in UNSEEN and self._last is not None:
            return min(self._latest, at)
        return at - GRACE_NS

    def _is_complete(self, bar: TradeBar) -> bool:
        if self._began is None or bar.start < self._began + GRACE_NS:
            return False
        return not any(hole.touches(bar.start, bar.end) for hole in self._holes.values())

    def _judged_anew(self) -> list[Record]:
        """The closed bars of which it is now known otherwise whether something is missing."""
        closed = [bar for bar in self._bars.values() if bar is not self._open]
        return [self._final(bar, is_late=True) for bar in closed if bar.told != self._is_complete(bar)]

    # --- what is told

    def _final(self, bar: TradeBar, *, is_late: bool) -> Candle:
        bar.told = self._is_complete(bar)
        flags = LATE if is_late else ()
        return bar.candle(self._stamp, self._interval, closed=True, complete=bar.told, flags=flags)

    def news(self) -> Candle | None:
        """The open bar, if a trade has come."""
        if not self._has_news:
            return None
        self._has_news = False
        return self.current()

    def current(self) -> Candle | None:
        """The open bar."""
        bar = self._open
        if bar is None:
            return None
        return bar.candle(self._stamp, self._interval, closed=False, complete=self._is_complete(bar))


class AmountBars:
    """The machine of bars of so many trades, or of so much of the base or quote asset.

    A bar ends with the trade that reaches the amount, and is never split. Late trades count where they come.
    """

    due = 0

    def __init__(self, stamp: Stamp, interval: str, unit: str, amount: Decimal) -> None:
        self._stamp = stamp
        self._interval = interval
        self._unit = unit
        self._amount = amount
        self._reached = Decimal(0)
        self._bar: TradeBar | None = None
        self._holes: set[str] = set()  # gaps of the open bar; one that is mended is none
        self._lasting: set[str] = set()  # those of them that last
        self._condition = Condition()
        self._last: Trade | None = None
        self._has_news = False
        self._has_complained = False

    def take(self, record: Record) -> Sequence[Record]:
        """Take a trade, a gap or a state."""
        if isinstance(record, Trade):
            return self._trade(record) if is_counted(record) else ()
        if isinstance(record, Gap | Health):
            self._condition.take(record, self._last)
            if isinstance(record, Gap) and concerns(record, self._last):
                self._gap(record)
            self._lasting.discard("state")
            if not self._condition.is_told_good:
                self._holes.add("state")
                self._lasting.add("state")
        return ()

    def _gap(self, gap: Gap) -> None:
        self._holes.add(gap.gap_id)
        self._lasting.add(gap.gap_id)
        if gap.phase == "close":
            self._lasting.discard(gap.gap_id)
            if gap.repair in MENDED:
                self._holes -= {gap.gap_id, "state"}

    def tick(self, _wall: int) -> Sequence[Record]:
        """Do nothing: no time ends such a bar."""
        return ()

    def _trade(self, trade: Trade) -> Sequence[Record]:
        price, counted = number(trade.price), self._counted(trade)
        if price is None or counted is None:
            return self._complaint(trade)
        self._last, at = trade, time_of(trade)
        bar = self._bar
        if bar is None:
            bar = self._bar = TradeBar(trade, price, at, at, at + 1)
        else:
            bar.add(trade, price, max(at, bar.end - 1))  # they stand in the order in which they came
            bar.start, bar.end = min(bar.start, at), max(bar.end, at + 1)
        self._reached = EXACT.add(self._reached, counted)
        self._has_news = True
        if self._reached < self._amount:
            return ()
        told = bar.candle(self._stamp, self._interval, closed=True, complete=not self._holes)
        self._bar, self._reached, self._has_news = None, Decimal(0), False
        self._holes = set(self._lasting)
        return (told,)

    def _counted(self, trade: Trade) -> Decimal | None:
        if self._unit == "trades":
            return Decimal(1)
        return base_of(trade) if self._unit == "base" else quote_of(trade)

    def _complaint(self, trade: Trade) -> Sequence[Record]:
        """Say once that trades of this market do not tell what the bars are to be made of."""
        self._holes.add("unread")
        if self._has_complained:
            return ()
        self._has_complained = True
        names = self._stamp.of(trade)
        reason = f"its trades give no size in the {self._unit} asset: no bar of {self._interval} can be made of them"
        return (Health(**names, channel="candles", state="down", reason=reason),)

    def news(self) -> Candle | None:
        """The open bar, if a trade has come."""
        if not self._has_news:
            return None
        self._has_news = False
        return self.current()

    def current(self) -> Candle | None:
        """The open bar."""
        if self._bar is None:
            return None
        return self._bar.candle(self._stamp, self._interval, closed=False, complete=not self._holes)


def _read(parts: tuple[str, ...]) -> Start | None:
    if parts[0] != "candles" or len(parts) == 1 or (len(parts) > 2 and parts[-1].endswith("ms")):
        return None
    text = ".".join(parts[1:])
    span = span_of(text)
    if span is not None:
        return lambda stamp: TimeBars(stamp, text, span)
    amount = AMOUNT.fullmatch(text)
    if amount is not None and amount[1].strip("0.") and (amount[2] != "trades" or amount[1].isdigit()):
        return lambda stamp: AmountBars(stamp, text, amount[2], Decimal(amount[1]))
    raise BadPattern(
        f"{text!a:.40} is no bar; write candles.1m (ms, s, m, h, d, w, M: 10 ms to a year), candles.100trades, "
        "candles.5base or candles.1000000quote"
    )


def _size(parts: tuple[str, ...]) -> int:
    """How many topics one counts as: bars of a second are kept by the hundred."""
    span = span_of(".".join(parts[1:]))
    if span is None:
        return 1
    start, end = span(0)
    return 1 + min(MOST_KEPT, KEPT_NS // (end - start)) // COUNTED


CANDLES = Derived(
    "candles.BAR",
    "bars of trades",
    "candles",
    ("trades",),
    _read,
    tells_all=False,
    is_superseded=False,
    size=_size,
)
