"""`aggregator check`."""

from pathlib import Path

import click

from aggregator.cli import EXIT_CONFIG, counted
from aggregator.cli.run import read_config, with_config
from aggregator.config.places import looked_at


@click.command(name="check")
@with_config
def command(path: Path) -> None:
    """Check a configuration without starting anything; every mistake is named, and the exit code is 78."""
    config = read_config(path)
    troubles, warnings = looked_at(config)
    for warning in warnings:
        click.echo(f"{path}: warning: {warning}", err=True)
    if troubles:
        click.echo("\n".join(f"{path}: {trouble}" for trouble in troubles), err=True)
        raise click.exceptions.Exit(EXIT_CONFIG)
    held = f"{counted(len(config.exchanges), 'exchange')}, {counted(len(config.sinks), 'sink')}"
    if config.sources:
        held = f"{counted(len(config.sources), 'source')}, {held}"
    click.echo(f"{path}: {held}, no mistake", err=True)
