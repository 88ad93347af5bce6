"""How the feed fares, as plain values."""

from msgspec import Struct


class SubscriberStatus(Struct, frozen=True):
    """One subscriber.

    peer: who it is
    topics: the patterns that it holds
    queued: records that wait for it
    queued_bytes: bytes that wait for it, answers too
    lags: how often it was told that it is too slow
    missed: records that it lost by that
    """

    peer: str
    topics: list[str]
    queued: int
    queued_bytes: int
    lags: int
    missed: int


class FeedStatus(Struct, frozen=True):
    """The whole feed.

    listen: where it listens
    subscribers: those that are connected
    topics: topics that were seen
    accepted: connections since the start
    turned_away: of these, those that came when `max_clients` were there
    lags: of every subscriber since the start
    missed: records that they lost by that
    """

    listen: list[str]
    subscribers: list[SubscriberStatus]
    topics: int
    accepted: int
    turned_away: int
    lags: int
    missed: int
