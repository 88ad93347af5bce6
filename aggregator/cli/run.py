"""`aggregator run`."""

from pathlib import Path

import click

from aggregator.cli import EXIT_CONFIG, fail
from aggregator.config import Config, ConfigErrors, load_config
from aggregator.errors import AggregatorError, ConfigError
from aggregator.registry import known_channels

CONFIG = click.option(
    "--config", "-c", "path", type=click.Path(path_type=Path), required=True, help="The configuration, a TOML file."
)


def read_config(path: Path) -> Config:
    """The configuration; or every mistake in it on standard error, and exit code 78."""
    try:
        return load_config(path, known_channels=known_channels)
    except ConfigErrors as errors:
        click.echo(str(errors), err=True)
        raise click.exceptions.Exit(EXIT_CONFIG) from None


def start(config: Config, *, capture: Path | None = None) -> None:
    """Run a daemon until it is stopped."""
    from aggregator.daemon import Daemon, run
    from aggregator.logs import set_up

    set_up(config.log_level)

    async def serve() -> None:
        await Daemon(config, capture=capture).run()

    try:
        run(serve)
    except ConfigError as error:
        raise fail(str(error), EXIT_CONFIG) from None
    except (AggregatorError, OSError) as error:
        raise fail(str(error)) from None


@click.command(name="run")
@CONFIG
def command(path: Path) -> None:
    """Gather from the exchanges of a configuration until stopped (SIGTERM drains; a second one leaves at once)."""
    start(read_config(path))
