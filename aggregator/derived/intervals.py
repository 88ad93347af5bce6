"""Intervals of time as candles name them: `1s`, `15m`, `1h`, `1d`, `1w`, `1M`."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from aggregator.records import DAY_S, HOUR_S, MINUTE_NS, MS_NS, SECOND_NS

INTERVAL = re.compile(r"([1-9][0-9]{0,5})(ms|s|m|h|d|w|M)")
UNITS = {
    "ms": MS_NS,
    "s": SECOND_NS,
    "m": MINUTE_NS,
    "h": HOUR_S * SECOND_NS,
    "d": DAY_S * SECOND_NS,
    "w": 7 * DAY_S * SECOND_NS,
}
MONDAY_NS = 4 * DAY_S * SECOND_NS  # 1970 began with a Thursday
LEAST_NS, LONGEST_BAR_NS = 10 * MS_NS, 366 * DAY_S * SECOND_NS
MONTHS = 12  # in a year

Span = Callable[[int], tuple[int, int]]  # the interval that holds a time: its start, inclusive, and its end


def span_of(text: str) -> Span | None:
    """The intervals of this length, counted from 1970 on in UTC; weeks begin on Mondays. Null where it is no length."""
    parts = INTERVAL.fullmatch(text)
    if parts is None:
        return None
    count, unit = int(parts[1]), parts[2]
    if unit == "M":
        return (lambda at: _months(at, count)) if count <= MONTHS else None
    length = count * UNITS[unit]
    if not LEAST_NS <= length <= LONGEST_BAR_NS:
        return None
    offset = MONDAY_NS if unit == "w" else 0

    def span(at: int) -> tuple[int, int]:
        start = at - (at - offset) % length
        return start, start + length

    return span


def _months(at: int, count: int) -> tuple[int, int]:
    day = datetime.fromtimestamp(at // SECOND_NS, UTC)
    month = day.year * MONTHS + day.month - 1
    first = month - month % count
    return _start(first), _start(first + count)


def _start(month: int) -> int:
    return int(datetime(month // MONTHS, month % MONTHS + 1, 1, tzinfo=UTC).timestamp()) * SECOND_NS
