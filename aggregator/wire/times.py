"""Times as nanoseconds since 1970, exactly, and how long an interval is."""

import re
from calendar import timegm
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

from aggregator.errors import BadFrame
from aggregator.records import DAY_S, HOUR_S, MS_NS, SECOND_NS
from aggregator.wire.numbers import number

POWERS = {9: 10**9, 6: 10**6, 3: 10**3}
SCALES: tuple[int, ...] = tuple(10 ** (9 - places) for places in range(10))  # ns, by how many decimals a second has
TIME = re.compile(r"-?[0-9]+(\.[0-9]*)?", re.ASCII)
HOUR, SIXTY = r"([01][0-9]|2[0-3])", r"([0-5][0-9])"
ISO = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[T ]{HOUR}:{SIXTY}(?::([0-5][0-9]|60)(?:\.([0-9]*))?)?"
    r"(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?",
    re.ASCII,
)
UNITS_S = {"s": 1, "m": 60, "h": HOUR_S, "d": DAY_S, "w": 7 * DAY_S}
LONGEST_TIME = 4000  # digits: what Python makes a number of without protest


def seconds(value: float | str) -> int:
    """Seconds (an integer, or decimal text) as nanoseconds, exactly."""
    return value * 10**9 if type(value) is int else _scaled(value, 9)


def ms(value: float | str) -> int:
    """Milliseconds (an integer, or decimal text) as nanoseconds, exactly."""
    return value * MS_NS if type(value) is int else _scaled(value, 6)


def us(value: float | str) -> int:
    """Microseconds (an integer, or decimal text) as nanoseconds, exactly."""
    return value * 1000 if type(value) is int else _scaled(value, 3)


def _scaled(value: float | str, places: int) -> int:
    if isinstance(value, int):
        return value * POWERS[places]
    if isinstance(value, float):
        raise BadFrame("a time came as a float: decode it with float_hook=number")
    digits = number(value)
    if not TIME.fullmatch(digits):
        raise BadFrame(f"{value[:40]!r} is not a time")
    whole, _, fraction = digits.partition(".")
    if len(whole) > LONGEST_TIME:
        raise BadFrame(f"{value[:40]!r} is not a time")
    return int(whole + fraction[:places].ljust(places, "0"))


@lru_cache(maxsize=64)
def _day(date: str) -> int:
    return timegm(datetime.strptime(date, "%Y-%m-%d").timetuple())  # noqa: DTZ007 - read as UTC by timegm


_day("1970-01-01")  # the first call imports a module, which a process without a free descriptor could not do later on


def from_iso(stamp: str) -> int:
    """`2024-05-01T12:00:00.123456789Z` (any number of decimals; `Z`, an offset or nothing for UTC) as nanoseconds.

    Raises BadFrame when it is no such time.
    """
    fraction = stamp[20:-1]
    if fraction.isdecimal() and stamp[-1] == "Z" and len(fraction) < len(SCALES):
        whole: int = _second(stamp[:20])
        return whole + int(fraction) * SCALES[len(fraction)]
    return _any_iso(stamp)


@lru_cache(maxsize=4096)
def _second(stamp: str) -> int:
    """The nanoseconds of a whole second, whose point stands at the end: many frames come in each."""
    if stamp[-1] != ".":
        raise BadFrame(f"{stamp!r} does not begin an ISO time")
    return _any_iso(stamp)


def _any_iso(stamp: str) -> int:
    parts = ISO.fullmatch(stamp)
    if parts is None:
        raise BadFrame(f"{stamp[:40]!r} is not an ISO time")
    try:
        date, hour, minute, second, fraction, zone = parts.groups()
        at = _day(date) + int(hour) * 3600 + int(minute) * 60 + int(second or 0) - _offset(zone)
    except ValueError:
        raise BadFrame(f"{stamp[:40]!r} is not an ISO time") from None
    return at * SECOND_NS + int((fraction or "")[:9].ljust(9, "0"))


def _offset(zone: str | None) -> int:
    """Seconds east of UTC of `+08:00`, `+0800` or `+08`; of `Z` and nothing, 0."""
    if zone is None or zone == "Z":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if zone[0] == "-" else 1)


@lru_cache(maxsize=256)
def interval_s(interval: str) -> int | None:
    """How many seconds an interval (`30s`, `1m`, `4h`, `1d`, `1w`) has, as we spell it.

    None where it has no length: months (`1M`) and years differ, and another word says nothing.
    """
    count, unit = interval[:-1], UNITS_S.get(interval[-1:])
    return None if unit is None or not count.isdecimal() else int(count) * unit


def latest(span_s: int) -> Callable[[int], str]:
    """The query for the last so many seconds before a request is sent (`Request.timed`): `from` and `to`, seconds."""

    def query(now: int) -> str:
        until = now // SECOND_NS
        return f"from={until - span_s}&to={until}"

    return query


def end_of(interval: str, start: int) -> int | None:
    """When a candle ends that begins at `start`, in nanoseconds; None where its interval has no length."""
    length = interval_s(interval)
    return None if length is None else start + length * SECOND_NS


@lru_cache(maxsize=256)
def lower_unit(interval: str) -> str:
    """An interval as we spell it, of exchanges that write `1H`, `1D` and `1W`: minutes and months are as ours."""
    unit = interval[-1:].lower()
    return interval if unit == "m" or unit not in UNITS_S else interval[:-1] + unit


def upper_unit(interval: str) -> str:
    """An interval of ours as such exchanges write it: `4h` gives `4H`, `1m` and `1M` stay as they are."""
    return interval[:-1] + interval[-1:].upper() if interval[-1:] in {"h", "d", "w"} else interval
