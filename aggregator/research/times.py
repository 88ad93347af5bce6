"""Moments as researchers write them, to the nanosecond."""

import re
from datetime import UTC, date, datetime

from aggregator.errors import AggregatorError
from aggregator.records import SECOND_NS

Moment = int | str | date | datetime  # ns since 1970 (UTC), ISO text, or a datetime that knows its time zone

ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d{1,9}))?)?\s*(Z|[+-]\d\d:?\d\d)?", re.ASCII | re.IGNORECASE
)
LEAST_NS = 10**17  # 1973; a smaller number is seconds, milliseconds or microseconds


class BadMoment(AggregatorError):
    """It is no moment that was given; the words say what is."""


def nanoseconds(moment: Moment) -> int:
    """A moment in nanoseconds since 1970, UTC. Text without a time zone is UTC. Raises BadMoment."""
    if isinstance(moment, datetime):
        return _of_datetime(moment)
    if isinstance(moment, date):
        return _of_datetime(datetime(moment.year, moment.month, moment.day, tzinfo=UTC))
    if isinstance(moment, int):
        if 0 < abs(moment) < LEAST_NS:
            raise BadMoment(f"{moment} is not in nanoseconds: write an integer of them, ISO text, or a datetime")
        return moment
    return _of_text(moment)


def _of_datetime(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise BadMoment(f"{moment!r} has no time zone: write tzinfo=UTC")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    whole = (since.days * 86_400 + since.seconds) * SECOND_NS + since.microseconds * 1000
    return whole + getattr(moment, "nanosecond", 0)  # a Timestamp of pandas has them


def _of_text(text: str) -> int:
    found = ISO.fullmatch(text.strip())
    if found is None:
        raise BadMoment(f"{text!r:.60} is no moment: write 2026-11-29, 2026-11-29T12:00:00.123456789Z, or nanoseconds")
    day, clock, seconds, fraction, zone = found.groups()
    zone = "+00:00" if zone is None or zone in "Zz" else zone
    try:
        whole = datetime.fromisoformat(f"{day}T{clock or '00:00'}{seconds or ':00'}{zone}")
    except ValueError as error:
        raise BadMoment(f"{text!r:.60} is no moment: {error}") from None
    return _of_datetime(whole) + int((fraction or "0").ljust(9, "0"))


def shown(ts: int) -> str:
    """A time in ns for people, to the second; one beyond the calendar as the number that it is."""
    try:
        return f"{datetime.fromtimestamp(ts // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return str(ts)
