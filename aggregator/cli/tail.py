"""`aggregator tail`."""

import asyncio
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from aggregator.cli import fail
from aggregator.cli.show import show
from aggregator.cli.terminal import say, screen
from aggregator.cli.way import Way, by_way
from aggregator.client import Feed, FeedError
from aggregator.daemon.printable import printable

MOST_TOPICS = 8  # so many are named where none fits


@click.command(name="tail")
@by_way
@click.option("--json", "as_json", is_flag=True, help="NDJSON, as it comes; the default where output is no terminal.")
@click.argument("topics", nargs=-1, required=True)
def command(way: Way, as_json: bool, topics: tuple[str, ...]) -> None:
    """Follow TOPICS of a running daemon: channel:exchange:symbol, with * in any part (trades:*:BTC/USDT).

    It ends with 1 when the daemon does, unless it is to --reconnect.
    """
    is_plain = as_json or not screen().is_person
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(follow(way, topics, is_plain=is_plain))
    except FeedError as error:
        raise fail(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise fail(f"{way.address}: {error.strerror or error}; is a daemon with a feed running?") from None


async def follow(way: Way, topics: tuple[str, ...], *, is_plain: bool) -> None:
    """Print what comes until the feed ends."""
    async with way.connect() as feed:
        subscribed = await feed.subscribe(*topics)
        for unmet in subscribed.absent or ():
            hint = f"; did you mean {' or '.join(unmet.nearest)}?" if unmet.nearest else ""
            click.echo(printable(f"aggregator: {unmet.topic}: {unmet.reason}{hint}"), err=True)
        if not subscribed.matched and not subscribed.absent:
            await name_topics(feed, topics)
        async for line in feed.lines():
            if is_plain:
                sys.stdout.buffer.write(line.rstrip(b"\n") + b"\n")
                sys.stdout.buffer.flush()
            else:
                say(show(line))
    raise fail(f"{way.address}: the daemon has gone: {feed.goodbye}")


async def name_topics(feed: Feed, topics: Sequence[str]) -> None:
    """Say which topics there are, those of the same channels first; those that were asked for may still come."""
    channels = {topic.split(":")[0] for topic in topics}
    known = sorted(await feed.topics(), key=lambda topic: (topic.split(":")[0] not in channels, topic))
    named = " ".join(map(shlex.quote, known[:MOST_TOPICS])) or "none"
    more = f" and {len(known) - MOST_TOPICS} more" if len(known) > MOST_TOPICS else ""
    said = f"aggregator: no topic fits {' '.join(topics)} yet; known are {named}{more}"
    click.echo(printable(said), err=True)
