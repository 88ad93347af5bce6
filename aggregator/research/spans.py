"""Times from one moment to another (ns), as sorted lists without overlaps."""

from collections.abc import Iterable, Iterator, Sequence

from aggregator.records import DAY_S, SECOND_NS

Span = tuple[int, int]
DAY_NS = DAY_S * SECOND_NS


def union(spans: Iterable[Span]) -> list[Span]:
    """All of them together; those of no length are gone."""
    found: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def minus(spans: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """The rest of some without others; both are unions."""
    found: list[Span] = []
    at = 0
    for start, end in spans:
        while at < len(others) and others[at][1] <= start:
            at += 1
        left, look = start, at
        while look < len(others) and others[look][0] < end:
            if others[look][0] > left:
                found.append((left, others[look][0]))
            left = max(left, others[look][1])
            look += 1
        if left < end:
            found.append((left, end))
    return found


def common(spans: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """The times that lie in both; both are unions."""
    return minus(spans, minus(spans, others))


def by_day(spans: Iterable[Span]) -> Iterator[tuple[int, Span]]:
    """Spans cut at midnight (UTC), each with the number of its day since 1970."""
    for begin, end in spans:
        start = begin
        while start < end:
            day = start // DAY_NS
            until = min(end, (day + 1) * DAY_NS)
            yield day, (start, until)
            start = until
