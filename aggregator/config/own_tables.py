"""The tables `[journal]` and `[feed]`: each is read as the sink that it is, as is an older form."""

from collections.abc import Mapping

from msgspec import Struct

from aggregator.config.toml_lines import KeyPath

FEED, SINKS = "feed", "sinks"
OWN_TABLES = ("journal", FEED)  # in the order in which they start: whoever comes by the feed may ask the journal


class Moved(Struct, frozen=True):
    """A document whose own tables stand among the sinks.

    values: the document
    tables: the place among the sinks of each such table, and its name
    old: sinks that have the form of before, and the address that they name
    """

    values: dict[str, object]
    tables: Mapping[int, str]
    old: Mapping[int, str]

    def place(self, key: KeyPath) -> KeyPath:
        """The place in the file of a key of the document."""
        match key:
            case ("sinks", int(index), *rest) if index in self.tables:
                return (self.tables[index], *rest)
            case ("sinks", int(index), "listen", *_) if index in self.old:
                return (SINKS, index, "path")
        return key

    def warnings(self) -> list[tuple[KeyPath, str]]:
        """A word about each sink that has the form of before."""
        return [
            (
                (SINKS, index, "type"),
                f'warning: the feed has a table of its own now; write [feed] with listen = ["{address}"]',
            )
            for index, address in self.old.items()
        ]


def with_own_tables(values: Mapping[str, object]) -> Moved:
    """Put `[journal]` and `[feed]` among the sinks, and give sinks of type `feed` that name a `path` an address."""
    values = dict(values)
    given = values.get(SINKS, [])
    if not isinstance(given, list):
        return Moved(values, {}, {})
    sinks, old, tables = list(given), dict[int, str](), dict[int, str]()
    for index, sink in enumerate(sinks):
        if isinstance(sink, dict) and sink.get("type") == FEED and isinstance(sink.get("path"), str):
            old[index] = f"unix:{sink['path']}"
            sinks[index] = {**{key: value for key, value in sink.items() if key != "path"}, "listen": [old[index]]}
    for name in OWN_TABLES:
        table = values.get(name)
        if isinstance(table, dict):
            del values[name]
            tables[len(sinks)] = name
            sinks.append({**table, "type": name})
    if sinks:
        values[SINKS] = sinks
    return Moved(values, tables, old)
