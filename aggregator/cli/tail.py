"""`aggregator tail`."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from aggregator.cli import fail
from aggregator.cli.show import show
from aggregator.client import FeedError, connect

SOCKET = Path(os.environ.get("RUNTIME_DIRECTORY", "/run/aggregator")) / "feed.sock"


@click.command(name="tail")
@click.option("--socket", type=click.Path(path_type=Path), default=SOCKET, show_default=True, help="The daemon's feed.")
@click.option("--json", "as_json", is_flag=True, help="NDJSON, as it comes; the default where output is no terminal.")
@click.argument("topics", nargs=-1, required=True)
def command(socket: Path, as_json: bool, topics: tuple[str, ...]) -> None:
    """Follow TOPICS of a running daemon: channel:exchange:symbol, with * in any part (trades:*:BTC/USDT)."""
    is_plain = as_json or not sys.stdout.isatty()
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(follow(socket, topics, is_plain=is_plain))
    except FeedError as error:
        raise fail(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise fail(f"{socket}: {error.strerror or error}; is a daemon with a feed running?") from None


async def follow(socket: Path, topics: tuple[str, ...], *, is_plain: bool) -> None:
    """Print what comes until the feed ends."""
    async with connect(socket) as feed:
        await feed.subscribe(*topics)
        async for line in feed.lines():
            if is_plain:
                sys.stdout.buffer.write(line.rstrip(b"\n") + b"\n")
                sys.stdout.buffer.flush()
            else:
                click.echo(show(line))
