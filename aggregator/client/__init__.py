"""A client of the feed; docs/python.md shows it in use.

    async with connect("/run/aggregator/feed.sock") as feed:
        await feed.subscribe("trades:*:BTC/USDT")
        async for record in feed:
            print(record)

Everything that can go wrong raises `FeedError`, whose text says what and where. `aggregator.client.sync` has the same
for programs without asyncio.
"""

from typing import TYPE_CHECKING, Any

from aggregator.client.books import LiveBook
from aggregator.client.errors import CutOff, FeedError, LockedOut
from aggregator.client.options import StreamPosition, SubscriptionOptions
from aggregator.client.security import Tls

if TYPE_CHECKING:
    from aggregator.client.feed import Feed, connect

__all__ = [
    "CutOff",
    "Feed",
    "FeedError",
    "LiveBook",
    "LockedOut",
    "StreamPosition",
    "SubscriptionOptions",
    "Tls",
    "connect",
]


def __getattr__(name: str) -> Any:
    """The names that need asyncio, for which a program without it does not wait."""
    if name not in {"Feed", "connect"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from aggregator.client import feed

    return getattr(feed, name)
