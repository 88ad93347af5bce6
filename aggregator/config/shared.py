"""A host's configuration in which what its cluster shares stands in the place of the host's own."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aggregator.config.parts import ConfigFile
from aggregator.config.toml_lines import KeyPath
from aggregator.sinks.values import choices

SHARED = ("version", "exchanges", "cluster")  # all that may be shared
ALIKE = ("needs", "buckets")  # the keys of `[cluster]` that may be
OWN = ("credentials", "proxy")  # a host has its own of an exchange: its keys, and its way out; either may hold secrets
Place = tuple[ConfigFile, KeyPath, str]


def in_place(parts: Iterable[ConfigFile], shared: ConfigFile) -> list[ConfigFile]:
    """The files of a host with those exchanges, `needs` and `buckets` that its cluster shares, and no others.

    Of the host's own exchanges the keys and the proxies remain, at those that are shared.
    """
    own: dict[str, dict[str, Any]] = {}
    found: list[ConfigFile] = []
    alike = {name: value for name, value in _table(shared.values.get("cluster")).items() if name in ALIKE}
    for part in parts:
        values = dict(part.values)
        for table in _tables(values.pop("exchanges", None)):
            own[str(table.get("id"))] = {key: table[key] for key in OWN if key in table}
        if isinstance(values.get("cluster"), dict):
            values["cluster"] = {key: value for key, value in values["cluster"].items() if key not in ALIKE} | alike
        found.append(ConfigFile(part.path, values, part.lines))
    exchanges = shared.values.get("exchanges")
    if isinstance(exchanges, list):
        exchanges = [
            {**table, **own.get(str(table.get("id")), {})} if isinstance(table, dict) else table for table in exchanges
        ]
    there = {} if exchanges is None else {"exchanges": exchanges}
    return [*found, ConfigFile(shared.path, there, shared.lines)]


def told_by(shared: ConfigFile | None, key: KeyPath) -> tuple[ConfigFile, KeyPath] | None:
    """The place of a key of `[cluster]` in what is shared; null: it does not stand there."""
    match key:
        case ("cluster", str(name), *_) if shared is not None and name in ALIKE:
            return (shared, key) if name in _table(shared.values.get("cluster")) else None
    return None


def wrong_in_shared(shared: ConfigFile) -> Iterator[Place]:
    """Tell what must not be shared, and what is missing there."""
    for name in shared.values.keys() - SHARED:
        yield shared, (name,), f"is each host's own, and not shared{choices(name, SHARED)}"
    for key in _table(shared.values.get("cluster")).keys() - ALIKE:
        yield shared, ("cluster", key), f"is each host's own, and not shared{choices(key, ALIKE)}"
    if not shared.values.get("exchanges"):
        yield shared, ("exchanges",), "must name at least one: write [[exchanges]]"
    for index, table in enumerate(_tables(shared.values.get("exchanges"))):
        for place, said in _wrong_in_exchange(table):
            yield shared, ("exchanges", index, *place), said


def _wrong_in_exchange(table: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    for key in OWN:
        if key in table:
            yield (key,), "is each host's own, as it may hold a secret: write it into the files of the members"
    for original, here in _table(table.get("endpoints")).items():
        if isinstance(here, str) and "?" in here:
            yield ("endpoints", original), "must not be shared with a query, as that may hold a secret"


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
