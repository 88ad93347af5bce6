"""`aggregator check`."""

from pathlib import Path

import click

from aggregator.cli.run import CONFIG, read_config


@click.command(name="check")
@CONFIG
def command(path: Path) -> None:
    """Check a configuration without starting anything; every mistake is named, and the exit code is 78."""
    config = read_config(path)
    click.echo(f"{path}: {len(config.exchanges)} exchanges, {len(config.sinks)} sinks, no mistake", err=True)
