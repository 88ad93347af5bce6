"""`aggregator symbols`."""

import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import click
import msgspec

from aggregator.capture.listed import listed_by
from aggregator.catalog.catalog import aliases_of
from aggregator.cli import EXIT_CONFIG, fail
from aggregator.cli.completing import exchanges
from aggregator.cli.table import print_rows
from aggregator.daemon.printable import printable
from aggregator.errors import SessionError
from aggregator.exchange import Exchange
from aggregator.ingest.credentials import KeyPlace, missing_keys
from aggregator.ingest.listing import Listed, fetch_listing
from aggregator.ingest.symbols import matches
from aggregator.records import Instrument, Kind

ENDPOINT = re.compile(r"(https?://\S+?)=(https?://\S+)")
COLUMNS = ("symbol", "raw", "kind", "state", "tick", "lot", "min", "contract", "ends")


def read_endpoints(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """Pairs ORIGINAL=REPLACEMENT of addresses."""
    found: dict[str, str] = {}
    for value in values:
        match = ENDPOINT.fullmatch(value)
        if match is None:
            raise click.BadParameter(f"{value!r} is not ORIGINAL=REPLACEMENT, two addresses that begin with http(s)://")
        found[match[1]] = match[2]
    return found


config_option = click.option(
    "--config",
    "-c",
    "config",
    type=click.Path(path_type=Path),
    help="A configuration whose endpoints and credentials for the exchange are used.",
)
endpoint_option = click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    callback=read_endpoints,
    metavar="ORIGINAL=REPLACEMENT",
    help="What replaces the beginning of an address; may be repeated.",
)


def access(id: str, config: Path | None, endpoints: dict[str, str]) -> tuple[dict[str, str], Mapping[str, KeyPlace]]:
    """The endpoints and credentials to reach an exchange by: those of a configuration, and the endpoints beside."""
    from aggregator.cli.run import read_config

    if config is None:
        return endpoints, {}
    for exchange in read_config(config).exchanges:
        if exchange.id == id:
            return dict(exchange.endpoints) | endpoints, exchange.credentials
    raise fail(f"{config}: there is no [[exchanges]] with id = {id!r}", EXIT_CONFIG)


def from_files(exchange: Exchange, paths: Sequence[Path]) -> Listed:
    """The instruments in answers that stand in files."""
    try:
        bodies = [path.read_bytes() for path in paths]
    except OSError as error:
        raise fail(f"{error.filename}: {error.strerror}") from None
    names = ", ".join(map(str, paths))
    try:
        found = listed_by(exchange, bodies, aliases_of(exchange.id))
    except Exception as error:  # noqa: BLE001 - a file may hold anything
        raise fail(f"{names}: not an answer of {exchange.id}'s listing: {error}") from None
    if not found.instruments:
        raise fail(f"{names}: no instrument could be read")
    return found


def from_exchange(exchange: Exchange, endpoints: dict[str, str], credentials: Mapping[str, KeyPlace]) -> Listed:
    """The instruments as the exchange lists them now; to some it shows keys."""
    import asyncio

    from aggregator.ingest.network import Internet
    from aggregator.ingest.rest import Need, Rest
    from aggregator.ingest.signing import Keyring

    if exchange.keys is not None and exchange.listing.needs_keys and not credentials:
        raise fail(f"{missing_keys(exchange.id, exchange.keys)}; --config names that configuration")

    async def ask() -> Listed:
        internet = Internet(endpoints)
        network = internet.network()
        if exchange.keys is not None and credentials:
            network = Keyring(exchange.id, exchange.keys, credentials, network).network()
        rest = Rest(network, exchange)
        try:
            return await fetch_listing(
                exchange, lambda request: rest.fetch(request, Need.LISTING), aliases_of(exchange.id), time.time_ns
            )
        finally:
            await internet.close()

    try:
        return asyncio.run(ask())
    except SessionError as error:
        raise fail(f"{exchange.id}: {str(error).removeprefix(f'{exchange.id}: ')}") from None


def _print_records(instruments: Sequence[Instrument]) -> None:
    for offset, instrument in enumerate(instruments, 1):
        instrument.offset = offset
        sys.stdout.buffer.write(msgspec.json.encode(instrument) + b"\n")
    sys.stdout.flush()


def _row(instrument: Instrument) -> tuple[str, ...]:
    i = instrument
    ends = "" if i.expiry is None else time.strftime("%Y-%m-%d", time.gmtime(i.expiry // 10**9))
    cells = (i.symbol, i.raw_symbol, i.kind, i.state, i.tick_size, i.lot_size, i.min_size, i.contract_size, ends)
    return tuple(cell or "" for cell in cells)


@click.command(name="symbols")
@click.argument("exchange", metavar="EXCHANGE", shell_complete=exchanges)
@click.option("--json", "as_json", is_flag=True, help="Instrument records, one JSON object a line.")
@click.option("--kind", type=click.Choice(get_args(Kind)), help="Of one kind only.")
@click.option("--match", "glob", metavar="PATTERN", help="Whose unified or own name fits, * being any text: '*/USDT'.")
@config_option
@endpoint_option
@click.option(
    "--body",
    "bodies",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="An answer of the listing, or of what completes it, instead of asking; one FILE for each request.",
)
def command(
    exchange: str,
    as_json: bool,
    kind: str | None,
    glob: str | None,
    config: Path | None,
    endpoints: dict[str, str],
    bodies: tuple[Path, ...],
) -> None:
    """An exchange's instruments, fetched from its listing: their names, steps, least sizes and states.

    A table, or tab-separated lines where there is no terminal. What could not be read, and names that two instruments
    would share, are named on standard error.
    """
    from aggregator.cli.normalize import find_exchange

    if bodies and (config is not None or endpoints):
        raise click.UsageError("--body asks no exchange, so --config and --endpoint are of no use with it")
    declared = find_exchange(exchange, asked=not bodies)
    found = from_files(declared, bodies) if bodies else from_exchange(declared, *access(exchange, config, endpoints))
    for warning in found.warnings:
        click.echo(printable(warning), err=True)
    wanted = [i for i in found.instruments if (not kind or i.kind == kind) and (not glob or matches(glob, i))]
    if not wanted:
        click.echo(f"none of {len(found.instruments)} instruments is wanted", err=True)
    if as_json:
        _print_records(wanted)
    elif wanted:
        print_rows(COLUMNS, map(_row, wanted))
