"""docs/configuration.md, and the sources and sinks of config/full.toml: from the settings struct of each."""

import json
import textwrap
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Struct, structs

from aggregator.cluster.settings import ClusterKeys
from aggregator.docgen.markdown import code, notice, table
from aggregator.docgen.records import describe
from aggregator.sinks.registry import OWN, find_sink
from aggregator.sinks.sink import NETWORK, Delivery, Sink
from aggregator.sinks.values import Word
from aggregator.sources.registry import OWN as OWN_SOURCES
from aggregator.sources.registry import find_source
from aggregator.sources.source import Reception, Source

WORDS: dict[object, str] = {str: "text", int: "count", float: "number", bool: "bool"}
COLUMNS = ("key", "type", "default", "meaning")
WIDTH = 120
FIRST = (
    "files",
    "journal",
    "feed",
    "stdout",
)  # the order in the example; stdout is commented out, as it would fill a journal


class Key(Struct, frozen=True):
    """A key of a sink's table; `default` is as a configuration file would say it, null where there is none to write."""

    name: str
    type: str
    default: str | None
    is_required: bool
    meaning: str


def own_sinks() -> list[Sink]:
    """The sinks of this package."""
    return [sink for name in sorted(OWN) if (sink := find_sink(name)) is not None]


def own_sources() -> list[Source]:
    """The sources of this package."""
    return [source for name in sorted(OWN_SOURCES) if (source := find_source(name)) is not None]


def keys_of(owner: type[Struct], defaults: Struct | None = None) -> list[Key]:
    """The keys that a struct gives to a configuration file: those first that have to be given."""
    hints = get_type_hints(owner, include_extras=True)
    meanings: dict[str, str] = {}
    for kind in reversed(owner.__mro__):  # a struct has the keys of those that it is made of
        meanings |= describe(kind).meanings if issubclass(kind, Struct) and kind is not Struct else {}
    keys = []
    for field in structs.fields(owner):
        word = word_of(hints[field.name])
        value = getattr(defaults, field.name) if defaults is not None else field.default
        is_required = defaults is None and field.required
        default = None if is_required or value is None else word.write(value)
        keys.append(Key(field.name, word.name, default, is_required, meanings.get(field.name, "")))
    return sorted(keys, key=lambda key: not key.is_required)


def word_of(hint: Any) -> Word:
    """How a type is called and written; of an optional one, what it is where it is not null."""
    if get_origin(hint) is Annotated:
        kind, *marks = get_args(hint)
        return next((mark for mark in marks if isinstance(mark, Word)), None) or word_of(kind)
    if get_origin(hint) is Literal:
        return Word("text")
    for part in get_args(hint):
        if part is not type(None):
            return word_of(part)
    return Word(WORDS.get(hint, "text"))


def undocumented() -> Iterator[str]:
    """Keys of which no docstring says what they mean, in words."""
    owners: list[type[Struct]] = [Delivery, *(sink.settings for sink in own_sinks())]
    owners += [ClusterKeys, Reception, *(source.settings for source in own_sources())]
    for owner in owners:
        for key in keys_of(owner):
            if not key.meaning:
                yield f"{owner.__module__}.{owner.__name__}: the docstring says nothing of {key.name!r}"


def configuration_page() -> str:
    """The page: what is written by hand, with a table for each sink."""
    text = (resources.files("aggregator") / "docgen/configuration.md").read_text("utf-8")
    text = text.replace("CLUSTER\n", _table(keys_of(ClusterKeys)))
    source = "`aggregator/docgen/configuration.md` and the settings of the sources and sinks"
    return (
        notice(source)
        + "\n"
        + text.replace("SOURCES\n", sources_section())
        .replace("SINKS\n", sinks_section())
        .replace("CLUSTER\n", _table(keys_of(ClusterKeys)))
    )


def sources_section() -> str:
    """The tables of all sources."""
    parts = []
    for source in own_sources():
        said = f"{describe(source.settings).summary} Two of them must not share a {code(source.unique)}."
        parts.append(f'#### `type = "{source.name}"`, a source\n\n{said}\n\n{_table(keys_of(source.settings))}')
    parts.append(f"#### Keys of every source\n\n{_table(keys_of(Reception, Reception()))}")
    return "\n".join(parts)


def sinks_section() -> str:
    """The tables of all sinks."""
    parts = [_section(sink) for sink in own_sinks()]
    rows = map(_row, keys_of(Delivery, Delivery()))
    parts.append(f"#### Keys of every sink but `feed`, `journal` and `s3`\n\n{table(COLUMNS, rows)}")
    others = "".join(f"\n- {line}" for line in _other_defaults())
    network = f"of a sink that speaks to a server, unless its page says otherwise: {_different(NETWORK)}"
    parts.append(f"Other defaults:\n{others}\n- {network}\n")
    return "\n".join(parts)


def _section(sink: Sink) -> str:
    only = " At most one." if sink.unique == "type" else ""
    if sink.unique not in {None, "type"}:
        only = f" Two of them must not share a {code(str(sink.unique))}."
    said = f"{describe(sink.settings).summary}{only}"
    title = f"[{sink.name}]" if sink.is_table else f'type = "{sink.name}"'
    return f"#### `{title}`\n\n{said}\n\n{_table(keys_of(sink.settings))}"


def _table(keys: Iterable[Key]) -> str:
    return table(COLUMNS, map(_row, keys))


def _row(key: Key) -> tuple[str, str, str, str]:
    default = "required" if key.is_required else "see there" if key.default is None else code(key.default)
    return code(key.name), key.type, default, key.meaning


def _other_defaults() -> Iterator[str]:
    for sink in own_sinks():
        if sink.has_queue and sink.defaults != Delivery():
            yield f"of {code(sink.name)}: {_different(sink.defaults)}"


def _different(defaults: Delivery) -> str:
    plain = {key.name: key.default for key in keys_of(Delivery, Delivery())}
    keys = keys_of(Delivery, defaults)
    return ", ".join(f"{code(key.name)} {code(key.default or '')}" for key in keys if key.default != plain[key.name])


def sinks_example() -> str:
    """The sinks of the configuration that shows every key."""
    by_name = {sink.name: sink for sink in own_sinks()}
    return "\n\n".join(_example(by_name[name], is_on=name != "stdout") for name in FIRST)


def sources_example() -> str:
    """The sources of that configuration that need no client library, commented out: few daemons have any."""
    return "\n\n".join(
        _keys(
            f'{_comment(describe(source.settings).summary)}#[[sources]]\n#type = "{source.name}"\n',
            keys_of(source.settings) + keys_of(Reception, Reception()),
            source,
            "#",
        )
        for source in own_sources()
        if source.module is None
    )


def _example(sink: Sink, *, is_on: bool) -> str:
    mark = "" if is_on else "#"
    keys = keys_of(sink.settings) + (keys_of(Delivery, sink.defaults) if sink.has_queue else [])
    return _keys(_comment(describe(sink.settings).summary) + _head(sink, mark), keys, sink, mark)


def _keys(head: str, keys: Iterable[Key], of: Sink | Source, mark: str) -> str:
    """A table with a comment for each key; `mark` is before what must be said."""
    parts = [head]
    for key in keys:
        value = of.example.get(key.name)
        written = key.default if value is None else json.dumps(value)
        if written is None:
            name = of.name
            written = json.dumps(name if key.name == "name" else f"/var/lib/aggregator/dead/{name}.ndjson")
        required = "Required: " if key.is_required else ""
        said = _comment(f"{required}{key.meaning}.") + f"{mark if key.is_required else '#'}{key.name} = {written}\n"
        parts.append(said)
    return "\n".join(parts)


def _head(sink: Sink, mark: str) -> str:
    """The beginning of its table; the feed and the journal have one of their own."""
    return f"[{sink.name}]\n" if sink.is_table else f'{mark}[[sinks]]\n{mark}type = "{sink.name}"\n'


def _comment(text: str) -> str:
    text = text[0].upper() + text[1:]
    return "".join(f"# {line}\n" for line in textwrap.wrap(text.replace("`", ""), WIDTH - 2))
