"""`aggregator exchanges`."""

from collections.abc import Sequence
from typing import Literal, get_args

import click
from msgspec import Struct, json

from aggregator.catalog.catalog import (
    CatalogEntry,
    OldFormat,
    Status,
    Transport,
    country_code,
    load_catalog,
    load_countries,
)
from aggregator.catalog.registry import archived_ids, connector_ids, installed_ids
from aggregator.cli.table import print_rows
from aggregator.docgen.known import KnownExchange, captures, ended, load_known, other, other_ids
from aggregator.errors import nearest
from aggregator.records import Channel

STATUSES: tuple[Status, ...] = get_args(Status)
COLUMNS = ("id", "name", "country", "status", "ended", "transport", "built")
ARCHIVE_COLUMNS = ("id", "name", "status", "captures are read")
WIDEST = {"name": 16, "country": 7, "ended": 16}  # makes 100 characters, all in all
SPARED = ("transport", "name", "ended", "country")


class ShownExchange(Struct, frozen=True):
    """One object of `--json`."""

    id: str
    name: str
    status: Status
    closed: str | None
    successor: str | None
    countries: tuple[str, ...]
    transport: Transport | None
    connector: bool
    keys: Literal["all", "some"] | None
    channels: tuple[Channel, ...]
    archives: tuple[OldFormat, ...]
    read_as: str | None


def _country(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """A country's code, from its code or one of its names."""
    if value is None:
        return None
    code = country_code(value)
    if code is None:
        countries = load_countries()
        names = {name.casefold(): name for c in countries.values() for name in (c.en, c.zh, *c.also)}
        near = nearest(value, names)
        hint = f"did you mean {names[near]!r}?" if near else f"known are the codes {', '.join(countries)}"
        raise click.BadParameter(f"no exchange of the catalogue is from {value!r}; {hint}")
    return code


def _status(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """One of the catalogue's words."""
    if value is None or value in STATUSES:
        return value
    near = nearest(value, STATUSES)
    hint = f"; did you mean {near!r}?" if near else ""
    raise click.BadParameter(f"{value!r} is none of {', '.join(STATUSES)}{hint}")


def _is_wanted(entry: CatalogEntry, country: str | None, status: str | None) -> bool:
    return (country is None or country in entry.countries) and (status is None or entry.status == status)


def listed(one: KnownExchange) -> ShownExchange:
    """The object that `--json` gives for one exchange."""
    entry, exchange = one.entry, one.exchange
    return ShownExchange(
        id=entry.id,
        name=entry.name,
        status=entry.status,
        closed=entry.closed,
        successor=entry.successor,
        countries=entry.countries,
        transport=entry.transport,
        connector=exchange is not None,
        keys=exchange.with_keys if exchange is not None else None,
        channels=exchange.channels if exchange is not None else (),
        archives=entry.archives,
        read_as=entry.read_as,
    )


def _print_json(known: Sequence[KnownExchange]) -> None:
    lines = ",\n".join(json.encode(listed(one)).decode() for one in known)
    click.echo(f"[\n{lines}\n]" if lines else "[]")


def _print_table(entries: Sequence[CatalogEntry]) -> None:
    """Without loading a single connector: their names are enough."""
    connected, over = {*connector_ids(), *installed_ids()}, set(archived_ids())
    rows = [
        (
            entry.id,
            entry.name,
            " ".join(entry.countries),
            entry.status,
            ended(entry),
            entry.transport or "",
            ("keys" if entry.keys == "all" else "yes") if entry.id in connected else "old" * (entry.id in over),
        )
        for entry in entries
    ]
    print_rows(COLUMNS, rows, WIDEST, SPARED)


def _page(known: Sequence[KnownExchange], *, by_country: bool, lang: str | None) -> str:
    from aggregator.docgen.by_country import country_page
    from aggregator.docgen.exchanges import exchanges_page

    if by_country:
        return country_page(known, "zh" if lang == "zh" else "en")
    return exchanges_page(known)


@click.command(name="exchanges")
@click.option("--country", callback=_country, metavar="COUNTRY", help="Of one country: JP, Japan or 日本.")
@click.option("--status", callback=_status, metavar="STATUS", help=f"Of one status: {', '.join(STATUSES)}.")
@click.option("--json", "as_json", is_flag=True, help="A list of objects, with the connectors' channels.")
@click.option("--archives", is_flag=True, help="Which older formats can be read in captures, and until when.")
@click.option("--markdown", is_flag=True, help="The page docs/exchanges.md, with books, checksums and limits.")
@click.option("--by-country", is_flag=True, help="The page docs/exchanges-by-country.md.")
@click.option("--lang", type=click.Choice(["en", "zh"]), help="The language of --by-country; en if not given.")
def command(
    *,
    country: str | None,
    status: str | None,
    archives: bool,
    as_json: bool,
    markdown: bool,
    by_country: bool,
    lang: str | None,
) -> None:
    """Every exchange that is known, and what became of it.

    A table, of fewer columns where the terminal is narrow; or tab-separated lines where there is none. "ended" holds a
    date and a successor, "built" says that there is a connector: "keys" if it gives nothing without keys of an account;
    "old" says that the exchange is over, and that its captures can be read.
    """
    if archives and (as_json or markdown or by_country):
        raise click.UsageError("--archives is a table of its own; --json has the archives of each exchange as well")
    if as_json and (markdown or by_country):
        raise click.UsageError("--json and a page of Markdown exclude each other")
    if lang is not None and not by_country:
        raise click.UsageError("--lang is the language of --by-country; name both")
    if archives:
        read = [(entry, captures(entry)) for entry in load_catalog().values() if _is_wanted(entry, country, status)]
        print_rows(ARCHIVE_COLUMNS, [(one.id, one.name, one.status, said) for one, said in read if said], WIDEST)
        return
    if not (as_json or markdown or by_country):
        entries = [*load_catalog().values(), *map(other, other_ids())]
        _print_table([entry for entry in entries if _is_wanted(entry, country, status)])
        return
    everything, complaints = load_known(everything=as_json)
    for complaint in complaints:
        click.echo(complaint, err=True)
    known = [one for one in everything if _is_wanted(one.entry, country, status)]
    if as_json:
        _print_json(known)
    else:
        click.echo(_page(known, by_country=by_country, lang=lang), nl=False)
