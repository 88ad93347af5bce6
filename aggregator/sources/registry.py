"""The sources that there are: each is an entry point of the group `aggregator.sources`, in whatever package it comes.

Those of this package are named here in the same way, as sinks are.
"""

from importlib.metadata import EntryPoint, entry_points

from aggregator.errors import ConfigError
from aggregator.sources.source import Source

GROUP = "aggregator.sources"
OWN = {
    "feed": EntryPoint("feed", "aggregator.sources.feed:SOURCE", GROUP),
    "nats": EntryPoint("nats", "aggregator.sources.nats:SOURCE", GROUP),
}


def source_names() -> list[str]:
    """The values that `type` of `[[sources]]` may have here."""
    return sorted({*OWN, *(entry.name for entry in entry_points(group=GROUP))})


def find_source(name: str) -> Source | None:
    """The source of a name; null: there is none. Raises ConfigError where it is installed, and cannot be loaded."""
    entry = OWN.get(name) or next(iter(entry_points(group=GROUP, name=name)), None)
    if entry is None:
        return None
    place = f"the source {name!r}, {entry.value}" + (f" of {entry.dist.name}" if entry.dist else "")
    try:
        found = entry.load()
    except Exception as error:
        raise ConfigError(f"{place}, cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, Source) or found.name != name:
        raise ConfigError(f"{place}, is no Source of aggregator.sources.source with this name")
    return found
