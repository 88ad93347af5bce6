"""`aggregator capture`."""

from pathlib import Path

import click

from aggregator.cli import fail
from aggregator.cli.run import CONFIG, read_config, start


@click.command(name="capture")
@CONFIG
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where the captures go.")
def command(path: Path, out: Path) -> None:
    """Gather as `run` does, and keep the raw frames of each exchange in OUT/EXCHANGE-START.jsonl.zst."""
    config = read_config(path)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise fail(f"{out}: {error.strerror}") from None
    start(config, capture=out)
