"""`aggregator check`."""

from pathlib import Path

import click

from aggregator.cli import counted
from aggregator.cli.run import read_config, with_config


@click.command(name="check")
@with_config
def command(path: Path) -> None:
    """Check a configuration without starting anything; every mistake is named, and the exit code is 78."""
    config = read_config(path)
    held = f"{counted(len(config.exchanges), 'exchange')}, {counted(len(config.sinks), 'sink')}"
    click.echo(f"{path}: {held}, no mistake", err=True)
