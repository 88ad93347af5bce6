"""The daemon's metrics in the text format of Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/.

They are made of the status and the tally when they are asked for, so that nothing is counted twice. Vector's names come
first (https://vector.dev/docs/reference/configuration/sources/internal_metrics/); ours begin with `aggregator_`. Labels
are exchanges, channels, sinks and words of ours, never symbols: a series for each topic would be a hundred thousand.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, get_args

from msgspec import Struct

from aggregator import __version__
from aggregator.bus.bus import BusStatus
from aggregator.daemon.process import ProcessStatus
from aggregator.daemon.status import DaemonStatus, ExchangeStatus, WorkerStatus
from aggregator.daemon.tally import LAG_S, Lags, StreamTally
from aggregator.feed.status import FeedStatus, SubscriberStatus
from aggregator.ingest.drift import What
from aggregator.ingest.status import RestStatus
from aggregator.sinks.status import SinkStatus
from aggregator.sources.status import SourceStatus

if TYPE_CHECKING:
    from prometheus_client.core import Metric

MOST_CLIENTS_TOLD = 50  # clients of each feed, those for whom the most waits
WHATS: tuple[str, ...] = get_args(What)  # each is there from the start: a counter that appears has not increased
STATES = ("starting", "running", "waiting", "paused")  # an exchange is in one of them
COMPONENT = ("component_id", "component_kind", "component_type")
MS, NS = 1e-3, 1e-9

Labels = tuple[str, ...]
Samples = list[tuple[Labels, float]]


class Measure(Struct, frozen=True):
    """One metric: its name, what it says, its labels, and its values."""

    name: str
    says: str
    labels: Labels
    samples: Samples

    @property
    def is_counter(self) -> bool:
        """Tell whether it only grows; its name says so."""
        return self.name.endswith("_total")


def exposition(status: DaemonStatus, tally: StreamTally) -> tuple[bytes, str]:
    """The text, and its media type."""
    from prometheus_client.core import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

    class Told:
        def collect(self) -> "Iterator[Metric]":
            return _families(status, tally)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Told())
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def _families(status: DaemonStatus, tally: StreamTally) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for each in measures(status, tally):
        kind = CounterMetricFamily if each.is_counter else GaugeMetricFamily
        family = kind(each.name, each.says, labels=each.labels)
        for labels, value in each.samples:
            family.add_metric(labels, value)
        yield family
    yield _histogram(tally)


def _histogram(tally: StreamTally) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(
        "aggregator_exchange_lag_seconds",
        "Our clock less the time that the exchange gives, of one record a second of each connection.",
        labels=("exchange", "channel"),
    )
    for (exchange, channel), lags in sorted(tally.lags.items()):
        family.add_metric((exchange, channel), _buckets(lags), lags.sum_s)
    return family


def _buckets(lags: Lags) -> list[tuple[str, float]]:
    found, total = [], 0
    for bound, count in zip((*map(str, LAG_S), "+Inf"), lags.counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found


def measures(status: DaemonStatus, tally: StreamTally) -> Iterator[Measure]:
    """Every metric but the histogram."""
    yield from _components(status, tally)
    yield from _process(status.process, status.bus)
    yield from _workers(status.workers)
    yield from _exchanges(status.exchanges, tally)
    yield from _channels(status.exchanges, tally)
    yield from _rest(status.rest)
    yield from _feeds(status.feeds)
    if status.journal is not None:
        yield Measure("aggregator_journal_bytes", "What the journal takes on disk.", (), [((), status.journal.bytes)])
        yield Measure(
            "aggregator_journal_missed_records_total",
            "Records that the journal could not write.",
            (),
            [((), status.journal.missed)],
        )


# --- after Vector's conventions ---------------------------------------------------------------------------------------


def _exchange_id(id: str) -> Labels:
    return (id, "source", "exchange")


def _source_id(source: SourceStatus) -> Labels:
    return (source.name, "source", source.type)


def _sink_id(sink: SinkStatus) -> Labels:
    return (sink.name, "sink", sink.type)


def _feed_id(feed: FeedStatus) -> Labels:
    return (" ".join(feed.listen), "sink", "feed")


def _components(status: DaemonStatus, tally: StreamTally) -> Iterator[Measure]:
    sinks, feeds = status.sinks, status.feeds
    yields = {
        each.id: tally.of(each.id).total(each.shards, each.polls, each.records) for each in status.exchanges
    }  # fmt: skip
    yield Measure(
        "component_received_bytes_total",
        "Bytes that came, as they came: of exchanges those of frames and of answers of polls.",
        COMPONENT,
        [(_exchange_id(id), found.bytes) for id, found in yields.items()],
    )
    yield Measure(
        "component_received_events_total",
        "What came: frames and answers of an exchange, records of another daemon or for a sink.",
        COMPONENT,
        [
            *((_exchange_id(id), float(found.frames)) for id, found in yields.items()),
            *((_source_id(source), source.records) for source in status.sources),
            *((_sink_id(sink), sink.received) for sink in sinks),
        ],
    )
    yield Measure(
        "component_sent_events_total",
        "Records that went on: from exchanges and other daemons into the stream, from sinks to where they are kept.",
        COMPONENT,
        [
            *((_exchange_id(id), float(found.records)) for id, found in yields.items()),
            *((_source_id(source), source.records) for source in status.sources),
            *((_sink_id(sink), sink.written) for sink in sinks),
        ],
    )
    yield Measure(
        "component_sent_bytes_total",
        "Bytes of the lines that a sink has taken.",
        COMPONENT,
        [(_sink_id(sink), sink.bytes) for sink in sinks],
    )
    yield Measure(
        "component_discarded_events_total",
        "Records that went no further. Not intentionally: they are lost to a sink or to clients that are too slow.",
        (*COMPONENT, "intentional"),
        [
            *(((*_source_id(source), "true"), float(source.left_out)) for source in status.sources),
            *(((*_sink_id(sink), "false"), float(sink.dropped)) for sink in sinks),
            *(((*_feed_id(feed), "false"), float(feed.missed)) for feed in feeds),
        ],
    )
    yield Measure(
        "component_errors_total",
        "What went wrong: frames that cannot be read, connections that ended, writes that failed or were refused.",
        (*COMPONENT, "error_type", "stage"),
        [
            *(
                ((*_exchange_id(id), "parser_failed", "processing"), float(found.unread))
                for id, found in yields.items()
            ),
            *(
                ((*_exchange_id(each.id), "connection_failed", "receiving"), float(_failed(tally, each.id)))
                for each in status.exchanges
            ),
            *(((*_source_id(source), "parser_failed", "processing"), source.unread) for source in status.sources),
            *(((*_sink_id(sink), "request_failed", "sending"), float(sink.retried)) for sink in sinks),
            *(((*_sink_id(sink), "refused", "sending"), float(sink.refused)) for sink in sinks),
        ],
    )
    yield Measure(
        "buffer_events",
        "Records that wait for a sink or for the clients of a feed.",
        COMPONENT,
        [
            *((_sink_id(sink), float(sink.held)) for sink in sinks),
            *((_feed_id(feed), float(sum(each.queued for each in feed.subscribers))) for feed in feeds),
        ],
    )
    yield Measure(
        "buffer_byte_size",
        "About how many bytes these take.",
        COMPONENT,
        [
            *((_sink_id(sink), float(sink.held_bytes)) for sink in sinks),
            *((_feed_id(feed), float(sum(each.queued_bytes for each in feed.subscribers))) for feed in feeds),
        ],
    )


def _failed(tally: StreamTally, exchange: str) -> int:
    return sum(count for kind, count in tally.of(exchange).ends.items() if kind not in {"replaced", "unwanted"})


# --- ours -------------------------------------------------------------------------------------------------------------


def _process(process: ProcessStatus, bus: BusStatus) -> Iterator[Measure]:
    yield Measure("aggregator_info", "The version that runs.", ("version", "loop"), [((__version__, process.loop), 1)])
    yield from _single(
        ("aggregator_start_time_seconds", "When the daemon began.", process.started * NS),
        ("aggregator_loop_lag_seconds", "How late the event loop was at the last look.", process.lag_ms * MS),
        ("aggregator_loop_lag_max_seconds", "How late it was at most in the last minute.", process.lag_max_ms * MS),
        ("aggregator_memory_bytes", "Resident memory.", process.memory_bytes),
        ("aggregator_open_files", "Descriptors that are in use.", process.open_files),
        ("aggregator_tasks", "Tasks of the event loop.", process.tasks),
        ("aggregator_threads", "Threads of Python.", process.threads),
        ("aggregator_records_total", "Records that were published: the stream's offset.", bus.offset),
        ("aggregator_instruments", "Instruments in force.", bus.instruments),
    )


def _workers(workers: Sequence[WorkerStatus]) -> Iterator[Measure]:
    if not workers:
        return
    names = [(str(each.number),) for each in workers]
    for name, says, values in (
        ("aggregator_worker_begun_total", "How often a worker was begun.", [each.begun for each in workers]),
        ("aggregator_worker_cpu_seconds", "Processor time of a worker's process.", [each.cpu_s for each in workers]),
        ("aggregator_worker_records", "Records that came of its process.", [each.records for each in workers]),
        ("aggregator_worker_memory_bytes", "Its resident memory.", [each.memory_bytes or 0 for each in workers]),
    ):
        yield Measure(name, says, ("worker",), [(label, value) for label, value in zip(names, values, strict=True)])


def _single(*found: tuple[str, str, float | None]) -> Iterator[Measure]:
    for name, says, value in found:
        if value is not None:
            yield Measure(name, says, (), [((), value)])


def _exchanges(exchanges: Sequence[ExchangeStatus], tally: StreamTally) -> Iterator[Measure]:
    yield Measure(
        "aggregator_exchange_state",
        "1 for the state that an exchange is in.",
        ("exchange", "state"),
        [((each.id, state), float(state == each.state)) for each in exchanges for state in STATES],
    )
    lines = {each.id: [line for shard in each.shards for line in shard.connections] for each in exchanges}
    yield Measure(
        "aggregator_connections",
        "Connections that stand.",
        ("exchange",),
        [((id,), float(sum(line.is_open for line in found))) for id, found in lines.items()],
    )
    yield Measure(
        "aggregator_connections_wanted",
        "Connections that should stand.",
        ("exchange",),
        [((each.id,), float(sum(max(1, len(shard.connections)) for shard in each.shards))) for each in exchanges],
    )
    yield Measure(
        "aggregator_connections_ended_total",
        "Connections that have ended, or could not be made, by the kind of reason.",
        ("exchange", "reason"),
        [((each.id, kind), float(n)) for each in exchanges for kind, n in sorted(tally.of(each.id).ends.items())],
    )
    yield Measure(
        "aggregator_gaps_total",
        "Gaps in the stream, by their cause; the channel is empty where all of a connection is meant.",
        ("exchange", "channel", "cause"),
        [
            ((each.id, channel, cause), float(count))
            for each in exchanges
            for (channel, cause), count in sorted(tally.of(each.id).gaps.items())
        ],
    )
    yield Measure(
        "aggregator_checksum_failures_total",
        "Books that did not have the exchange's own checksum.",
        ("exchange",),
        [((each.id,), float(tally.of(each.id).gaps["book", "checksum"])) for each in exchanges],
    )
    yield Measure(
        "aggregator_book_resyncs_total",
        "Books that were whole again after a gap.",
        ("exchange",),
        [((each.id,), float(tally.of(each.id).resyncs)) for each in exchanges],
    )
    offsets = {each.id: tally.of(each.id).clock_offset_ms.values() for each in exchanges}
    yield Measure(
        "aggregator_clock_offset_seconds",
        "The least lag in two minutes: the way here, and the difference of the clocks; the least of all connections.",
        ("exchange",),
        [((id,), min(found) * MS) for id, found in offsets.items() if found],
    )
    yield Measure(
        "aggregator_unread_frames_total",
        "Frames and answers that could not be read.",
        ("exchange",),
        [
            ((each.id,), float(tally.of(each.id).total(each.shards, each.polls, each.records).unread))
            for each in exchanges
        ],
    )
    yield Measure(
        "aggregator_drift_total",
        "Differences from what the exchange has always sent: fields that are new or missing, frames of no known kind.",
        ("exchange", "what"),
        [
            ((each.id, what), float(count))
            for each in exchanges
            if each.drift is not None
            for what, count in (dict.fromkeys(WHATS, 0) | each.drift.counts).items()
        ],
    )


def _channels(exchanges: Sequence[ExchangeStatus], tally: StreamTally) -> Iterator[Measure]:  # noqa: ARG001
    every = [(each.id, channel) for each in exchanges for channel in each.channels]
    for name, says, label, of in (
        ("aggregator_topics", "Topics that are wanted, by their state.", "state", "topics"),
        ("aggregator_gaps_open", "Gaps that are open.", "cause", "gaps"),
    ):
        samples: Samples = [
            ((id, channel.channel, word), float(count))
            for id, channel in every
            for word, count in sorted(getattr(channel, of).items())
        ]
        yield Measure(name, says, ("exchange", "channel", label), samples)
    yield Measure(
        "aggregator_records_per_second",
        "Records per second, lately.",
        ("exchange", "channel"),
        [((id, channel.channel), channel.rate) for id, channel in every],
    )
    yield Measure(
        "aggregator_topic_age_seconds",
        "Seconds since the last record: of the channel (`newest`), and of its live topic that is silent for longest.",
        ("exchange", "channel", "of"),
        [
            ((id, channel.channel, of), value * MS)
            for id, channel in every
            for of, value in (("newest", channel.age_ms), ("oldest", channel.oldest_ms))
            if value is not None
        ],
    )


def _rest(rest: RestStatus) -> Iterator[Measure]:
    every = (("rest", rest.budgets), ("connect", rest.connects))
    for name, says, of in (
        ("aggregator_budget_left", "What is left of a limit on requests or connections now.", "left"),
        ("aggregator_budget_limit", "That limit.", "limit"),
        ("aggregator_budget_waiting", "Requests that wait for their turn.", "waiting"),
    ):
        samples = {
            (kind, each.of, f"{each.seconds:g}"): float(getattr(each, of)) for kind, found in every for each in found
        }
        yield Measure(name, says, ("kind", "of", "seconds"), list(samples.items()))
    yield Measure(
        "aggregator_hosts_resting",
        "1 for a host that said that it was asked too much, and is left alone.",
        ("host",),
        list({(each.host,): 1.0 for each in rest.resting}.items()),
    )
    yield Measure(
        "aggregator_too_many_requests_total",
        "How often a host has said that it was asked too much.",
        (),
        [((), rest.refused)],
    )


def _feeds(feeds: Iterable[FeedStatus]) -> Iterator[Measure]:
    named = [(" ".join(feed.listen), feed) for feed in feeds]
    yield Measure(
        "aggregator_feed_clients",
        "Clients that are connected.",
        ("feed",),
        [((n,), len(f.subscribers)) for n, f in named],
    )
    yield Measure(
        "aggregator_feed_accepted_total",
        "Connections since the start.",
        ("feed",),
        [((name,), feed.accepted) for name, feed in named],
    )
    yield Measure(
        "aggregator_feed_turned_away_total",
        "Of these, those that came when there was no room.",
        ("feed",),
        [((name,), feed.turned_away) for name, feed in named],
    )
    fullest = [(name, peer, each) for name, feed in named for peer, each in _fullest(feed.subscribers)]
    yield Measure(
        "aggregator_client_queue_records",
        f"Records that wait for a client; of the {MOST_CLIENTS_TOLD} of each feed for whom the most waits.",
        ("feed", "client"),
        [((name, peer), each.queued) for name, peer, each in fullest],
    )
    yield Measure(
        "aggregator_client_lags_total",
        "How often such a client was too slow, and lost records by that.",
        ("feed", "client"),
        [((name, peer), each.lags) for name, peer, each in fullest],
    )
    yield Measure(
        "aggregator_client_missed_records_total",
        "Records that such a client has lost because it is too slow.",
        ("feed", "client"),
        [((name, peer), each.missed) for name, peer, each in fullest],
    )


def _fullest(subscribers: Sequence[SubscriberStatus]) -> Iterator[tuple[str, SubscriberStatus]]:
    """Clients by name, of whom the most waits or is lost; two of one name are one."""
    order = sorted(subscribers, key=lambda each: (-each.queued, -each.missed))
    return iter({each.peer: each for each in order[:MOST_CLIENTS_TOLD]}.items())
