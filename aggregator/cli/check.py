"""`aggregator check`."""

from pathlib import Path

import click

from aggregator.catalog.registry import known_keys
from aggregator.cli import EXIT_CONFIG, counted
from aggregator.cli.run import read_config, with_config
from aggregator.errors import ConfigError
from aggregator.ingest.key_places import read_keys


@click.command(name="check")
@with_config
def command(path: Path) -> None:
    """Check a configuration without starting anything; every mistake is named, and the exit code is 78."""
    config = read_config(path)
    troubles: list[str] = []
    for exchange in config.exchanges:
        keys = known_keys(exchange.id)
        if keys is not None and exchange.credentials:
            try:
                _, warnings = read_keys(exchange.id, keys, exchange.credentials)
            except ConfigError as error:
                troubles.append(f"{path}: {error}")
            else:
                for warning in warnings:
                    click.echo(f"{path}: warning: {warning}", err=True)
    if troubles:
        click.echo("\n".join(troubles), err=True)
        raise click.exceptions.Exit(EXIT_CONFIG)
    held = f"{counted(len(config.exchanges), 'exchange')}, {counted(len(config.sinks), 'sink')}"
    click.echo(f"{path}: {held}, no mistake", err=True)
