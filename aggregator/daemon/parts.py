"""The parts of exchanges that workers have: all of an exchange, or one bucket of its symbols.

A bucket is the same thing as in a cluster (`cluster/buckets.py`), and has the same name: `ID-0of2`. A worker has one of
an exchange at most. So in the worker the exchange is one whose configuration names a part of it, and nothing else.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil

from msgspec import Struct, structs

from aggregator.capture.recorder import RecorderStatus
from aggregator.cluster.buckets import SymbolPart, part_of
from aggregator.config.config import ExchangeConfig
from aggregator.daemon.attention import DriftStatus
from aggregator.daemon.followed import FollowedStatus
from aggregator.daemon.status import ChannelStatus, ExchangeStatus, State
from aggregator.exchange import Limits
from aggregator.ingest.checkpoint_file import Topics
from aggregator.records import Record
from aggregator.sinks.brokers.nats_client import bucket_names

DIVIDED_FROM = 20_000.0  # records a second; of fewer one worker takes some of a processor, and dividing brings nothing
LEAST_CONNECTIONS = 2  # a worker needs so many of those that an exchange allows: one for its streams, one for REST
STATES: Sequence[State] = ("paused", "waiting", "starting", "running")  # where parts differ the first of these counts


class ExchangePart(Struct, frozen=True):
    """The part of an exchange that one worker has.

    name: the exchange's id, or that of a bucket
    symbols: of which it is; null: all
    """

    name: str
    exchange: str
    symbols: SymbolPart | None = None

    def tells(self, record: Record) -> bool:
        """Tell whether a record of the exchange comes of this part."""
        if self.symbols is None:
            return True
        if record.raw_symbol is None:
            name = record.conn.partition("/")[0]
            is_of_no_part = name not in bucket_names(self.exchange, self.symbols.count)
            return name == self.name or (is_of_no_part and 0 in self.symbols.buckets)
        return self.symbols.has(record.raw_symbol)

    def configured(self, config: ExchangeConfig) -> ExchangeConfig:
        """The configuration of the exchange, as the worker of this part is to have it."""
        if self.symbols is None:
            return config
        topics = max(1, config.max_topics // self.symbols.count)
        return structs.replace(config, part=self.symbols, part_name=self.name, max_topics=topics)

    def left(self, topics: Topics) -> Topics:
        """Give the topics of this part, of all that a run has left; one about no symbol is the first part's."""
        part = self.symbols
        if part is None:
            return topics

        def is_ours(raw_symbol: str | None) -> bool:
            return 0 in part.buckets if raw_symbol is None else part.has(raw_symbol)

        return {feed: {key: kept for key, kept in left.items() if is_ours(key[1])} for feed, left in topics.items()}


def parts_of(exchange: str, count: int) -> list[ExchangePart]:
    """An exchange divided into so many parts."""
    names = bucket_names(exchange, count)
    return [ExchangePart(name, exchange, part_of(count, (bucket,))) for bucket, name in enumerate(names)]


def count_of(config: ExchangeConfig, load: float, fair: float, workers: int) -> int:
    """Into how many parts an exchange is to be divided.

    load: records a second that came of it
    fair: what each worker would have if all had the same
    """
    count = config.buckets
    if count is None:
        count = ceil(load / fair) if load > max(fair, DIVIDED_FROM) else 1
    return min(count, workers)


def allowed(count: int, limits: Limits) -> int:
    """Into how many of so many parts an exchange can be divided, as it limits connections."""
    return count if limits.connections is None else max(1, min(count, limits.connections // LEAST_CONNECTIONS))


# --- how an exchange fares whose parts several workers have -----------------------------------------------------------


def joined(parts: Sequence[ExchangeStatus]) -> ExchangeStatus:
    """How an exchange fares, as its parts do."""
    first = parts[0]
    if len(parts) == 1:
        return first
    demands = [part.demand for part in parts if part.demand is not None]
    return ExchangeStatus(
        id=first.id,
        state=min((part.state for part in parts), key=STATES.index),
        trouble=next((part.trouble for part in parts if part.trouble is not None), None),
        topics=_added(part.topics for part in parts),
        gaps=sum(part.gaps for part in parts),
        rate=round(sum(part.rate for part in parts), 1),
        records=sum(part.records for part in parts),
        duplicates=sum(part.duplicates for part in parts),
        withheld=sum(part.withheld for part in parts),
        age_ms=_of_those(min, [part.age_ms for part in parts]),
        demand=_added(demands) if demands else None,
        followed=_followed([part.followed for part in parts if part.followed is not None]),
        listing=max((part.listing for part in parts if part.listing is not None), key=lambda it: it.ts, default=None),
        shards=[shard for part in parts for shard in part.shards],
        polls=[poll for part in parts for poll in part.polls],
        words=_added(part.words for part in parts),
        capture=_capture([part.capture for part in parts if part.capture is not None]),
        channels=_channels([channel for part in parts for channel in part.channels]),
        drift=_drift([part.drift for part in parts if part.drift is not None]),
        elsewhere=first.elsewhere,
    )


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


def _of_those(choose: Callable[[list[int]], int], values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return choose(known) if known else None


def _followed(parts: Sequence[FollowedStatus]) -> FollowedStatus | None:
    if not parts:
        return None
    return structs.replace(
        parts[0], markets=sum(part.markets for part in parts), waiting=_added(part.waiting for part in parts)
    )


def _capture(parts: Sequence[RecorderStatus]) -> RecorderStatus | None:
    if not parts:
        return None
    return RecorderStatus(
        path=" ".join(part.path for part in parts),
        size=sum(part.size for part in parts),
        waiting=sum(part.waiting for part in parts),
        lost=sum(part.lost for part in parts),
    )


def _channels(all_of: Sequence[ChannelStatus]) -> list[ChannelStatus]:
    found: dict[str, list[ChannelStatus]] = {}
    for channel in all_of:
        found.setdefault(channel.channel, []).append(channel)
    return [
        ChannelStatus(
            channel=parts[0].channel,
            topics=_added(part.topics for part in parts),
            gaps=_added(part.gaps for part in parts),
            rate=round(sum(part.rate for part in parts), 1),
            age_ms=_of_those(min, [part.age_ms for part in parts]),
            oldest_ms=_of_those(max, [part.oldest_ms for part in parts]),
        )
        for parts in found.values()
    ]


def _drift(parts: Sequence[DriftStatus]) -> DriftStatus | None:
    if not parts:
        return None
    return DriftStatus(
        kinds=max(part.kinds for part in parts),
        counts=_added(part.counts for part in parts),
        findings=[finding for part in parts for finding in part.findings],
    )
