"""The table `[feed]`: it is read as the sink that it is, and so is the form that it had before, with a warning."""

from collections.abc import Mapping

from msgspec import Struct

from aggregator.config.toml_lines import KeyPath

FEED, SINKS = "feed", "sinks"


class Moved(Struct, frozen=True):
    """A document whose `[feed]` stands among the sinks.

    values: the document
    index: the place of `[feed]` among the sinks; null: there is none
    old: sinks that have the form of before, and the address that they name
    """

    values: dict[str, object]
    index: int | None
    old: Mapping[int, str]

    def place(self, key: KeyPath) -> KeyPath:
        """The place in the file of a key of the document."""
        match key:
            case ("sinks", index, *rest) if index == self.index:
                return (FEED, *rest)
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


def with_feed(values: Mapping[str, object]) -> Moved:
    """Put `[feed]` among the sinks, and give sinks of type `feed` that name a `path` an address."""
    values = dict(values)
    given = values.get(SINKS, [])
    if not isinstance(given, list):
        return Moved(values, None, {})
    sinks, old = list(given), dict[int, str]()
    for index, sink in enumerate(sinks):
        if isinstance(sink, dict) and sink.get("type") == FEED and isinstance(sink.get("path"), str):
            old[index] = f"unix:{sink['path']}"
            sinks[index] = {**{key: value for key, value in sink.items() if key != "path"}, "listen": [old[index]]}
    feed = values.get(FEED)
    if isinstance(feed, dict):
        del values[FEED]
        sinks.append({**feed, "type": FEED})
    if sinks:
        values[SINKS] = sinks
    return Moved(values, len(sinks) - 1 if isinstance(feed, dict) else None, old)
