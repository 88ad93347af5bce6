"""All derived channels, found by name: add one to `DERIVED`, and it is on the feed (docs/add-a-derived-channel.md)."""

import re
from functools import lru_cache

from msgspec import Struct

from aggregator.bus.selection import CHANNEL_NAMES, BadPattern, Pattern, parse_pattern
from aggregator.derived.best_prices import BEST_OF_BOOK
from aggregator.derived.candles import CANDLES
from aggregator.derived.channel import Derived, Start
from aggregator.derived.consolidated import CONSOLIDATED
from aggregator.derived.levels import LEVELS
from aggregator.derived.newest import EACH_COUNTS, NEWEST
from aggregator.records import MS_NS

DERIVED: tuple[Derived, ...] = (LEVELS, BEST_OF_BOOK, CANDLES, CONSOLIDATED, *NEWEST)
FORMS = ", ".join(each.form for each in DERIVED)
INTERVAL = re.compile(r"([0-9]{1,8})ms")
LEAST_INTERVAL_MS, LONGEST_INTERVAL_MS = 10, 3_600_000
LONGEST_NAME = 64  # characters
KNOWN = 2**10  # names that are remembered


class DerivedChannel(Struct, frozen=True):
    """One derived channel: its kind, the maker of its machines, and the interval at which it is told (0: at once).

    size: how many topics each of its topics counts as
    """

    name: str
    kind: Derived
    start: Start
    interval_ns: int = 0
    size: int = 1


@lru_cache(maxsize=KNOWN)
def find(name: str) -> DerivedChannel | None:
    """The derived channel of this name; null where no kind has such names.

    Raises BadPattern, with the reason, where one has, and nothing can be made of this one.
    """
    if name in CHANNEL_NAMES or len(name) > LONGEST_NAME:
        return None
    parts = tuple(name.split("."))
    found = _read(name, parts, 0)
    interval = INTERVAL.fullmatch(parts[-1])
    if found is not None or interval is None or len(parts) == 1:
        return found
    interval_ms = int(interval[1])
    found = _read(name, parts[:-1], interval_ms * MS_NS)
    if found is not None and not LEAST_INTERVAL_MS <= interval_ms <= LONGEST_INTERVAL_MS:
        raise BadPattern(f"{interval[0]} is no interval: {LEAST_INTERVAL_MS} to {LONGEST_INTERVAL_MS} ms")
    return found


def _read(name: str, parts: tuple[str, ...], interval_ns: int) -> DerivedChannel | None:
    for kind in (*DERIVED, EACH_COUNTS):
        start = kind.read(parts)
        if start is not None:
            return DerivedChannel(name, kind, start, interval_ns, kind.size(parts))
    return None


def derived(pattern: Pattern) -> DerivedChannel | None:
    """The derived channel that a pattern names; null where it names ordinary ones."""
    return find(pattern.channels[0]) if len(pattern.channels) == 1 else None


def needs(pattern: Pattern) -> Pattern:
    """The topics that those of a pattern are computed of; the pattern itself where it names no derived ones."""
    found = derived(pattern)
    if found is None:
        return pattern
    return Pattern(found.kind.inputs, pattern.exchange, pattern.symbol, found.kind.needs_one)


def parse_topics(text: str) -> Pattern:
    """Read a pattern of ordinary topics, or of the topics of one derived channel. Raises BadPattern."""
    name, colon, rest = text.partition(":")
    if len(name) > LONGEST_NAME or name in CHANNEL_NAMES or find(name) is None:
        if "." in name and colon:
            raise BadPattern(f"{name!a:.80} is no derived channel; those are {FORMS}")
        return parse_pattern(text)
    return parse_pattern(f"{CHANNEL_NAMES[0]}:{rest}")._replace(channels=(name,))


def narrowed(text: str, depth: int | None, interval_ms: int | None) -> str:
    """The name of a topic as the options of a subscription mean it: `book` of 10 levels is `book.10`."""
    channel, colon, rest = text.partition(":")
    if depth is not None and channel != "book":
        raise BadPattern(f"{text!a:.80} is no book: depth says how many levels of one are told; subscribe to it apart")
    channel += "" if depth is None else f".{depth}"
    channel += "" if interval_ms is None else f".{interval_ms}ms"
    return channel + colon + rest
