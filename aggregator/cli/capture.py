"""`aggregator capture`."""

from pathlib import Path

import click

from aggregator.cli.run import start, with_config


@click.command(name="capture")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where the captures go.")
@with_config
def command(path: Path, out: Path) -> None:
    """Gather as `run` does, and keep the raw frames of each exchange in OUT/EXCHANGE-START.jsonl.zst."""
    start(path, capture=out)
