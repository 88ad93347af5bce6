"""The settings of the feed: plain values, already checked."""

from pathlib import Path

from msgspec import Struct


class FeedSettings(Struct, frozen=True, kw_only=True):
    """The `feed` sink: the unix socket that subscribers connect to."""

    path: Path
    mode: int = 0o660
    group: str | None = None  # by name; null leaves the group of the daemon
    ring: int = 10_000  # records kept per client: the oldest go when it is slow
    max_clients: int = 1000
