"""The declarations of a connector in words: how a book comes, what guards it, and the exchange's limits."""

from aggregator.exchange import Exchange, Limits, PastPages, Poll, Stream
from aggregator.records import HOUR_S

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def duration(seconds: float) -> str:
    """Seconds in the largest unit that is whole: `24 h`, `5 min`, `0.5 s`."""
    for size, unit in UNITS:
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def book_mode(exchange: Exchange) -> str:
    """How the whole book is had, how deep, and how its updates are numbered; each way once."""
    return "; ".join(dict.fromkeys(_book(feed) for feed in exchange.feeds if "book" in feed.channels))


def _book(feed: Stream | Poll) -> str:
    if isinstance(feed, Poll):
        return f"polled every {duration(feed.every)}"
    if feed.snapshot is None:
        way = "whole book in the stream"
    else:
        place = "by REST" if feed.snapshot.ask is None else "asked for on the socket"
        way = f"whole book in the stream, or {place}" if feed.snapshot.in_band else f"deltas, whole book {place}"
    depth = "all levels" if feed.depth is None else f"{feed.depth} levels"
    rule = feed.sequence.get("book")
    return f"{way}, {depth}, {rule.name if rule else 'unnumbered'}"


def past(exchange: Exchange) -> str:
    """How far back trades and candles can be asked for, each way once."""
    return "; ".join(dict.fromkeys(f"{way.channel}: {_reach(way)}" for way in exchange.history))


def _reach(way: PastPages) -> str:
    if way.reach_s is not None:
        return f"the last {duration(-(-way.reach_s // HOUR_S) * HOUR_S)}"
    if way.walk == "latest" or way.deepest is not None:
        return f"the latest {way.deepest or way.most:,}"
    return "of any time"


def checksum(exchange: Exchange) -> str:
    """Tell whether books are checked against the exchange's own sum."""
    checked = [feed.checksum is not None for feed in exchange.streams if "book" in feed.channels]
    if not checked or not any(checked):
        return "no" if book_mode(exchange) else ""
    return "yes" if all(checked) else "on some streams"


def limits(exchange: Exchange) -> str:
    """The limits of an exchange, as far as they are declared."""
    topics = sorted({stream.per_connection for stream in exchange.streams})
    parts = [f"{_range(topics)} topics a connection"] if topics else []
    return "; ".join(parts + _allowed(exchange.limits))


def _range(numbers: list[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _allowed(limits: Limits) -> list[str]:
    parts = []
    if limits.connects is not None:
        count, seconds = limits.connects
        parts.append(f"{count} connections in {duration(seconds)}")
    if limits.lifetime is not None:
        parts.append(f"a connection lives {duration(limits.lifetime)}")
    if limits.connections is not None:
        parts.append(f"{limits.connections} connection{'s' if limits.connections > 1 else ''} at once")
    if limits.requests is not None:
        count, seconds = limits.requests
        parts.append(f"{count} subscription requests in {duration(seconds)} a connection")
    several = len(limits.weights) > 1
    for prefix, budgets in limits.weights.items():
        place = f" ({prefix.partition('://')[2] or prefix})" if several else ""
        allowed = " and ".join(f"{weight} in {duration(seconds)}" for weight, seconds in budgets)
        parts.append(f"REST weight {allowed}{place}")
    return parts
