"""docs/exchanges.md: every exchange, from the catalogue and the connectors' own declarations."""

from collections.abc import Iterator, Sequence

from aggregator.catalog.catalog import CatalogEntry, load_countries
from aggregator.docgen.declared import book_mode, checksum, limits, past
from aggregator.docgen.known import KnownExchange, captures, ended, old_formats
from aggregator.docgen.markdown import code, link, notice, table
from aggregator.exchange import Exchange

LEGEND = """
- *transport*: `ws` a public WebSocket, `ws-auth` one that needs a login, `rest-poll` answers that are asked for again
  and again.
- *keys*: how much of it is given only to who shows [keys of an account](configuration.md#keys-of-an-account).
- *channels*, *book*, *checksum*, *limits*: as the connector declares them; empty where there is none yet.
- *book*: how the whole book is had; how many levels a side the stream keeps; how its updates are numbered: `contiguous`
  without a hole, `linked` each naming the one before, `ordered` growing by no known step (a hole does not show in the
  numbers), `unnumbered` not at all.
- *checksum*: whether the book is compared with the exchange's own sum.
- *past*: what [`aggregator backfill`](research.md#what-nobody-recorded) can ask for; empty where no way is declared.
- *limits*: how many topics are put on one connection, and what the exchange allows.
"""
COLUMNS = (
    "id",
    "name",
    "country",
    "status",
    "transport",
    "keys",
    "channels",
    "book",
    "checksum",
    "past",
    "limits",
    "documentation",
)
ENDED_COLUMNS = ("id", "name", "country", "status", "date", "successor", "what happened", "archive", "documentation")
ENDED_LEGEND = """
- *archive*: the channels that are read in [captures](sandbox.md#the-lines-of-a-capture) of an exchange that is over,
  and until when it spoke that format; or that no message of it was found in public, so that none can be read.
"""


def exchanges_page(known: Sequence[KnownExchange]) -> str:
    """The page: those that live or have a connector, what to know of each, then those that ended."""
    usable = [one for one in known if one.exchange is not None or one.entry.status == "live"]
    over = [one for one in known if one not in usable]
    usable.sort(key=lambda one: one.entry.status != "live")
    connected = sum(one.exchange is not None for one in known)
    pages = f"{link('English', 'exchanges-by-country.md')}, {link('中文', 'exchanges-by-country.zh.md')}"
    count = (
        f"{len(known)} ids: {len(usable)} that can be had, {connected} of them by a connector of this project; "
        f"{len(over)} that closed, were renamed or dropped out of use. "
        f"By country: {pages}.\n"
    )
    parts = [
        notice("`aggregator/data/exchanges.json` and the connectors"),
        "# Exchanges\n",
        count,
        "## Live\n",
        table(COLUMNS, map(_row, usable)),
        LEGEND.lstrip("\n"),
        *_notes(usable),
        "## Closed, renamed, dropped\n",
        table(ENDED_COLUMNS, map(_ended_row, over)),
        ENDED_LEGEND.lstrip("\n"),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _row(one: KnownExchange) -> tuple[str, ...]:
    entry, exchange = one.entry, one.exchange
    status = f"{entry.status} {ended(entry)}".strip()
    facts = (code(entry.id), _home(entry), countries(entry), status, entry.transport or "")
    if exchange is None:
        return (*facts, "", "", "", "", "", "", _docs(entry.docs[0]))
    channels = ", ".join(exchange.channels)
    return (
        *facts,
        exchange.with_keys or "",
        channels,
        book_mode(exchange),
        checksum(exchange),
        past(exchange),
        limits(exchange),
        _docs(exchange.docs),
    )


def _notes(known: Sequence[KnownExchange]) -> list[str]:
    """The notes that a user must know of single exchanges, in the connectors' own words."""
    sections = [_section(one.exchange) for one in known if one.exchange is not None]
    return ["## What to know of single exchanges\n", *filter(None, sections)] if any(sections) else []


def _section(exchange: Exchange) -> str:
    """One exchange: what it has announced, how its fields differ, and when its wire was last looked at."""
    said = [*_keys(exchange), *(f"Announced: {announced}" for announced in exchange.announced), *exchange.notes]
    if past := {channel for stream in exchange.streams for channel in stream.tells_past}:
        said.append(f"What was last before a subscription comes first, with the flag `snapshot`: {', '.join(past)}.")
    for old in old_formats(exchange):
        before = f"of before {old.until} are read in the format of then" if old.until else "of an older format are read"
        said.append(f"Captures {before}: {', '.join(old.channels)}.")
    if exchange.checked:
        said.append(f"Its wire was last held against: {exchange.checked}.")
    if not said:
        return ""
    return f"### `{exchange.id}`\n\n" + "".join(f"- {' '.join(line.split())}\n" for line in said)


def _keys(exchange: Exchange) -> Iterator[str]:
    """The keys that it wants to see, as a configuration names them, and for which channels."""
    if exchange.keys is None:
        return
    fields = ", ".join(f"{code(field)} ({words})" for field, words in exchange.keys.fields.items())
    yield f"{_wanted_for(exchange)}: {fields}, from <{exchange.keys.page}>."


def _wanted_for(exchange: Exchange) -> str:
    if exchange.with_keys == "all":
        return "It gives nothing without keys"
    signed, others = (
        {c for f in exchange.feeds if f.needs_keys is needs for c in f.channels} for needs in (True, False)
    )
    named = ", ".join(channel for channel in exchange.channels if channel in (signed - others or signed))
    return f"{'It wants to see keys for' if signed - others else 'With keys another feed is used for'} {named}"


def _ended_row(one: KnownExchange) -> tuple[str, ...]:
    entry = one.entry
    what = entry.reason or ""
    if entry.status == "delisted" and entry.operating == "yes":
        what = f"{what}; it still trades"
    successor = code(entry.successor) if entry.successor else ""
    facts = (code(entry.id), entry.name, countries(entry), entry.status, entry.closed or "")
    return (*facts, successor, what, captures(entry), _docs(entry.docs[0]))


def countries(entry: CatalogEntry) -> str:
    """The English names of an exchange's countries."""
    names = load_countries()
    return ", ".join(names[country].en for country in entry.countries)


def _home(entry: CatalogEntry) -> str:
    return link(entry.name, entry.home)


def _docs(address: str) -> str:
    return link("docs", address)
