"""The sinks that there are: each is an entry point of the group `aggregator.sinks`, in whatever package it comes.

Those of this package are named here in the same way. They need no look at the metadata of every installed package,
which takes a tenth of a second, and they are there in a checkout that is not installed.
"""

from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

from aggregator.errors import ConfigError
from aggregator.sinks.sink import Sink

GROUP = "aggregator.sinks"
PACKAGE = "market-aggregator"
OWN = {
    name: EntryPoint(name, value, GROUP)
    for name, value in (
        ("amqp", "aggregator.sinks.brokers.amqp:SINK"),
        ("arrow", "aggregator.feed.arrow:SINK"),
        ("clickhouse", "aggregator.sinks.databases.clickhouse:SINK"),
        ("csv", "aggregator.sinks.csv:SINK"),
        ("feed", "aggregator.feed.sink:SINK"),
        ("files", "aggregator.sinks.files:SINK"),
        ("http", "aggregator.sinks.http:SINK"),
        ("influx", "aggregator.sinks.databases.influx:SINK"),
        ("journal", "aggregator.sinks.journal.sink:SINK"),
        ("kafka", "aggregator.sinks.brokers.kafka:SINK"),
        ("mqtt", "aggregator.sinks.brokers.mqtt:SINK"),
        ("nats", "aggregator.sinks.brokers.nats:SINK"),
        ("parquet", "aggregator.sinks.parquet:SINK"),
        ("postgres", "aggregator.sinks.databases.postgres:SINK"),
        ("questdb", "aggregator.sinks.databases.questdb:SINK"),
        ("redis", "aggregator.sinks.brokers.redis:SINK"),
        ("s3", "aggregator.sinks.s3:SINK"),
        ("stdout", "aggregator.sinks.stdout:SINK"),
        ("zmq", "aggregator.sinks.brokers.zmq:SINK"),
    )
}


def sink_names() -> list[str]:
    """The values that `type` of `[[sinks]]` may have here."""
    return sorted({*OWN, *(entry.name for entry in entry_points(group=GROUP))})


def find_sink(name: str) -> Sink | None:
    """The sink of a name; null: there is none. Raises ConfigError where it is installed, and cannot be loaded."""
    entry = OWN.get(name) or next(iter(entry_points(group=GROUP, name=name)), None)
    if entry is None:
        return None
    place = f"the sink {name!r}, {entry.value}" + (f" of {entry.dist.name}" if entry.dist else "")
    try:
        found = entry.load()
    except ImportError as error:
        missing = f": install {error.name}" if error.name else ""
        raise ConfigError(f"{place}, cannot be loaded{missing} ({error})") from error
    except Exception as error:
        raise ConfigError(f"{place}, cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, Sink):
        raise ConfigError(f"{place}, is a {type(found).__name__}, and no Sink of aggregator.sinks.sink")
    if found.name != name:
        raise ConfigError(f"{place}, calls itself {found.name!r}: the entry point must have the same name")
    return found


def lacking(name: str, module: str | None) -> str | None:
    """A word about the client library that a sink or a source needs and that is not installed; null: all is there."""
    if module is None or find_spec(module) is not None:
        return None
    return f'{name} needs the package {module}, which is not installed: pip install "{PACKAGE}[{name}]"'
