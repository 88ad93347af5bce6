"""What one run leaves to the next: each topic's open gap and the last number that it knew, one file an exchange."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from aggregator.records import Channel
from aggregator.subscriptions import Key
from aggregator.topics import Carried


class Leftover(Struct, frozen=True):
    """One topic of one feed."""

    feed: str
    channel: Channel
    raw_symbol: str | None
    carried: Carried


def save(left: Mapping[str, Mapping[Key, Carried]], path: Path) -> None:
    """Write what is left over; whole or not at all. Raises OSError."""
    rows = [
        Leftover(feed, channel, raw_symbol, carried)
        for feed, topics in left.items()
        for (channel, raw_symbol), carried in topics.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(rows))
    new.replace(path)


def take(path: Path) -> dict[str, dict[Key, Carried]]:
    """Read what an earlier run left over, once: its numbers are of no use to any run but the next.

    Raises ValueError when the file cannot be read, OSError when it cannot be taken away.
    """
    found: dict[str, dict[Key, Carried]] = {}
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[Leftover])
    except FileNotFoundError:
        return found
    except msgspec.MsgspecError as error:
        with suppress(OSError):
            path.unlink()
        raise ValueError(f"{path}: {error}") from error
    path.unlink()
    for row in rows:
        found.setdefault(row.feed, {})[row.channel, row.raw_symbol] = row.carried
    return found
