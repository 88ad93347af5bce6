"""docs/exchanges-by-country.md, and the same in Chinese."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Literal, get_args

from msgspec import Struct, json

from aggregator.catalog.catalog import CatalogEntry, Status, Transport, load_countries
from aggregator.docgen.known import KnownExchange, ended, has_no_captures, live_first
from aggregator.docgen.markdown import cell, code, link, notice, table

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


class PageWords(Struct, frozen=True, forbid_unknown_fields=True):
    """The words of a page in one language, without names. `intro` and `count` hold places for numbers."""

    title: str
    intro: str
    count: str
    columns: tuple[str, ...]
    nowhere: str  # the title of the section of those that are of no country
    connector: str  # stands in the column of that name, where there is a connector
    connector_with_keys: str  # stands there where it gives nothing without keys of an account
    captures: str  # stands in the last column where a format of unknown end is read in captures
    no_captures: str  # stands there where an exchange is over, and no message of it was found
    statuses: Mapping[Status, str]
    transports: Mapping[Transport, str]


@cache
def load_words() -> Mapping[Language, PageWords]:
    """The words of each language; read-only."""
    text = (resources.files("aggregator") / "docgen" / "words.json").read_bytes()
    return MappingProxyType(json.decode(text, type=dict[Language, PageWords]))


def country_page(known: Sequence[KnownExchange], language: Language) -> str:
    """A section per country or region with its exchanges, the live ones first; one of several stands in each."""
    words = load_words()[language]
    live = sum(one.entry.status == "live" for one in known)
    parts = [
        notice("`aggregator/data/*.json`, `aggregator/docgen/words.json` and the connectors"),
        f"# {words.title}\n",
    ]
    parts.append(words.intro.format(total=len(known), live=live, all=link("exchanges.md", "exchanges.md")) + "\n")
    for code_of, country in sorted(load_countries().items(), key=lambda item: item[1].en):
        name = f"{cell(country.en if language == 'en' else country.zh)} ({code_of})"
        parts += _section(name, [one for one in known if code_of in one.entry.countries], words, language)
    parts += _section(words.nowhere, [one for one in known if not one.entry.countries], words, language)
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _section(name: str, known: Sequence[KnownExchange], words: PageWords, language: Language) -> list[str]:
    """The section of some exchanges; nothing where there are none."""
    if not known:
        return []
    live = sum(one.entry.status == "live" for one in known)
    return [
        f"## {name}\n",
        words.count.format(total=len(known), live=live) + "\n",
        table(words.columns, (_row(one, words, language) for one in live_first(known))),
    ]


def _row(one: KnownExchange, words: PageWords, language: Language) -> tuple[str, ...]:
    entry = one.entry
    name = f"{entry.zh_name} {entry.name}" if language == "zh" and entry.zh_name else entry.name
    transport = words.transports[entry.transport] if entry.transport else ""
    connector = ""
    if one.exchange is not None:
        connector = words.connector_with_keys if one.exchange.with_keys == "all" else words.connector
    facts = (code(entry.id), link(name, entry.home), words.statuses[entry.status], ended(entry), transport, connector)
    return (*facts, _captures(entry, words))


def _captures(entry: CatalogEntry, words: PageWords) -> str:
    """Until when the formats were spoken of which captures are read, or whose captures are read as these."""
    if entry.read_as is not None:
        return f"→ {entry.read_as}"
    until = ", ".join(old.until or words.captures for old in entry.archives)
    return until or (words.no_captures if has_no_captures(entry) else "")
