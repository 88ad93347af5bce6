"""`aggregator run`."""

import faulthandler
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec

import click

from aggregator.catalog.registry import known_channels, known_keys
from aggregator.cli import EXIT_CONFIG, fail
from aggregator.cluster.shared import SharedConfig
from aggregator.config.config import Config, ConfigErrors, load_config, shared_file
from aggregator.config.places import looked_at
from aggregator.errors import AggregatorError, ConfigError, in_short, is_of_the_machine

P = ParamSpec("P")


def with_config(command: Callable[Concatenate[Path, P], None]) -> Callable[P, None]:
    """Give a command its configuration, which is named by `--config FILE` or by `FILE` alone."""
    kind = click.Path(path_type=Path)

    @click.option("--config", "-c", "named", type=kind, help="The configuration, a TOML file; FILE says it as well.")
    @click.argument("file", metavar="FILE", type=kind, required=False)
    @wraps(command)
    def wrapper(*args: P.args, **others: P.kwargs) -> None:
        named, file = others.pop("named"), others.pop("file")
        if named is not None and file is not None:
            raise click.UsageError(f"one configuration, not two: {named} and {file}")
        path = named or file
        if not isinstance(path, Path):
            raise click.UsageError(
                "name the configuration: FILE, or --config FILE; `aggregator init` prints one to start from"
            )
        command(path, *args, **others)

    return wrapper


def read_config(path: Path) -> Config:
    """The configuration; or every mistake in it on standard error, and exit code 78."""
    with saying_mistakes():
        config = load_config(path, known_channels=known_channels, known_keys=known_keys)
    for warning in config.warnings:
        click.echo(str(warning), err=True)
    return config


@contextmanager
def saying_mistakes() -> Iterator[None]:
    """Name every mistake of a configuration on standard error, and leave with 78."""
    try:
        yield
    except ConfigErrors as errors:
        click.echo(str(errors), err=True)
        raise click.exceptions.Exit(EXIT_CONFIG) from None


def reread(path: Path, shared: SharedConfig | None) -> Config:
    """The configuration as it stands now, for a daemon that runs. Raises ConfigError with all that `check` names.

    shared: what the cluster shares, in the place of the same in the file
    """
    held = None if shared is None else shared_file(shared)
    config = load_config(path, known_channels=known_channels, known_keys=known_keys, shared=held)
    troubles, _ = looked_at(config)
    if troubles:
        raise ConfigError("\n".join(f"{path}: {trouble}" for trouble in troubles))
    return config


def start(path: Path, *, capture: Path | None = None) -> None:
    """Run the daemon of a configuration until it is stopped."""
    config = read_config(path)
    if capture is not None:
        make_directory(capture)
    from aggregator.daemon.daemon import Daemon, run
    from aggregator.daemon.logs import set_up
    from aggregator.daemon.signals import after_the_loop, heed

    set_up(config.log_level, config.log_format)
    faulthandler.enable(2)  # the service manager ends a daemon that hangs by SIGABRT, and its log then says where

    async def serve() -> None:
        daemon = Daemon(config, capture=capture, owns_process=True, reread=partial(reread, path))
        heed(daemon)
        await daemon.run()

    try:
        run(serve)
    except ConfigError as error:
        raise fail(str(error), EXIT_CONFIG) from None
    except AggregatorError as error:
        raise fail(str(error)) from None
    except Exception as error:
        if not is_of_the_machine(error):
            raise
        raise fail(in_short(error)) from None
    finally:
        after_the_loop()


def make_directory(path: Path) -> None:
    """Make a directory that is to be written to, or leave."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise fail(f"{path}: {error.strerror}") from None


@click.command(name="run")
@with_config
def command(path: Path) -> None:
    """Gather from the exchanges of a configuration until stopped.

    SIGTERM drains, a second one leaves at once; SIGHUP has the configuration read again and applies what is different,
    SIGUSR1 closes the files and begins new ones, SIGUSR2 writes what every task is at to standard error.
    """
    start(path)
