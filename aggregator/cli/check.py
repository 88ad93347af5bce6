"""`aggregator check`."""

from pathlib import Path

import click

from aggregator.catalog.registry import load_exchange
from aggregator.cli import EXIT_CONFIG, counted
from aggregator.cli.run import read_config, with_config
from aggregator.config.config import ExchangeConfig
from aggregator.errors import ConfigError
from aggregator.ingest.credentials import lacking, read_keys


@click.command(name="check")
@with_config
def command(path: Path) -> None:
    """Check a configuration without starting anything; every mistake is named, and the exit code is 78."""
    config = read_config(path)
    troubles: list[str] = []
    for wanted in config.exchanges:
        try:
            for warning in _warnings(wanted):
                click.echo(f"{path}: warning: {warning}", err=True)
        except ConfigError as error:
            troubles.append(f"{path}: {error}")
    for source in config.sources:
        wrong = None if source.source.check is None else source.source.check(source.settings)
        if wrong is not None:
            troubles.append(f"{path}: source {source.name}: {wrong}")
    if troubles:
        click.echo("\n".join(troubles), err=True)
        raise click.exceptions.Exit(EXIT_CONFIG)
    held = f"{counted(len(config.exchanges), 'exchange')}, {counted(len(config.sinks), 'sink')}"
    if config.sources:
        held = f"{counted(len(config.sources), 'source')}, {held}"
    click.echo(f"{path}: {held}, no mistake", err=True)


def _warnings(wanted: ExchangeConfig) -> list[str]:
    """A word about keys that are not there, or that others can read. Raises ConfigError where one cannot be had."""
    exchange = load_exchange(wanted.id)
    if exchange is None or exchange.keys is None:
        return []
    if not wanted.credentials:
        said = lacking(exchange, wanted.channels)
        return [] if said is None else [said]
    return read_keys(exchange.id, exchange.keys, wanted.credentials)[1]
