"""`aggregator tail`."""

import asyncio
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, cast, get_args

import click

from aggregator.cli import fail
from aggregator.cli.completing import topics
from aggregator.cli.show import show
from aggregator.cli.terminal import say, screen
from aggregator.cli.way import Way, by_way
from aggregator.client import Feed, FeedError, StreamPosition, SubscriptionOptions
from aggregator.client.options import Beginning
from aggregator.daemon.printable import printable
from aggregator.feed.protocol import Policy
from aggregator.records import DURATIONS, MS_NS, duration_ns

MOST_TOPICS = 8  # so many are named where none fits
PLACE = re.compile(r"([0-9]{8}T[0-9]{6}\.[0-9]{6}Z):([0-9]+)")


def read(convert: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """An option's callback that reads its text."""

    def callback(_: click.Context, __: click.Parameter, text: str | None) -> Any:
        return None if text is None else convert(text)

    return callback


def length_ms(text: str) -> int:
    """The milliseconds of a length of time. Raises BadParameter."""
    length = duration_ns(text)
    if length is None or length % MS_NS:
        raise click.BadParameter(f"{text!r:.40} is no length of time in whole milliseconds; write {DURATIONS}")
    return length // MS_NS


def beginning(text: str) -> Beginning:
    """Where in the past to begin. Raises BadParameter."""
    if (length := duration_ns(text)) is not None:
        return time.time_ns() - length
    if found := PLACE.fullmatch(text):
        return StreamPosition(found[1], int(found[2]))
    if text.isdecimal():
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text  # a word, or a cursor
    if at.tzinfo is None:
        raise click.BadParameter(f"{text} does not say in which time zone: end it with Z for UTC, or with +02:00")
    return at


@click.command(name="tail")
@by_way
@click.option("--json", "as_json", is_flag=True, help="NDJSON, as it comes; the default where output is no terminal.")
@click.option(
    "--from",
    "start",
    metavar="PLACE",
    callback=read(beginning),
    help="Begin in the past, where the daemon keeps a journal: 10m (ago), 2026-01-02T03:04:05Z, earliest, a cursor, "
    "or EPOCH:OFFSET.",
)
@click.option(
    "--policy",
    type=click.Choice(get_args(Policy)),
    help="What becomes of records when too many wait, because the output is slow.  [default: drop_oldest]",
)
@click.option(
    "--fields",
    metavar="NAMES",
    callback=read(lambda text: [name for name in re.split("[, ]+", text) if name]),
    help="Only these fields of each record, as NDJSON: exchange,price,size.",
)
@click.option("--depth", type=click.IntRange(1), help="Of books the best so many levels a side, whole each time.")
@click.option(
    "--interval",
    "interval_ms",
    metavar="TIME",
    callback=read(length_ms),
    help="The newest of each topic, at most once in so long: 250ms, 1s, 5m.",
)
@click.argument("topics", nargs=-1, required=True, shell_complete=topics)
def command(way: Way, as_json: bool, topics: tuple[str, ...], **options: Any) -> None:
    """Follow TOPICS of a running daemon: channel:exchange:symbol, with * in any part (trades:*:BTC/USDT).

    It ends with 1 when the daemon does, unless it is to --reconnect: then it goes on where it was, and what was missed
    comes from the daemon's journal, if it keeps one. At the end of a replay it ends with 0.
    """
    is_plain = as_json or bool(options["fields"]) or not screen().is_person
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(follow(way, topics, is_plain=is_plain, options=cast("SubscriptionOptions", options)))
    except FeedError as error:
        raise fail(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise fail(f"{way.address}: {error.strerror or error}; is a daemon with a feed running?") from None


async def follow(
    way: Way, topics: tuple[str, ...], *, is_plain: bool, options: SubscriptionOptions | None = None
) -> None:
    """Print what comes until the feed ends."""
    async with way.connect() as feed:
        subscribed = await feed.subscribe(*topics, **(options or {}))
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
    if not feed.is_over:
        raise fail(f"{way.address}: the daemon has gone: {feed.goodbye}")


async def name_topics(feed: Feed, topics: Sequence[str]) -> None:
    """Say which topics there are, those of the same channels first; those that were asked for may still come."""
    channels = {topic.split(":")[0] for topic in topics}
    known = sorted(await feed.topics(), key=lambda topic: (topic.split(":")[0] not in channels, topic))
    named = " ".join(map(shlex.quote, known[:MOST_TOPICS])) or "none"
    more = f" and {len(known) - MOST_TOPICS} more" if len(known) > MOST_TOPICS else ""
    said = f"aggregator: no topic fits {' '.join(topics)} yet; known are {named}{more}"
    click.echo(printable(said), err=True)
