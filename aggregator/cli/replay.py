"""`aggregator replay`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click
from msgspec import structs

from aggregator.capture.line import CaptureLine
from aggregator.capture.listed import BadCapture, listed_in
from aggregator.capture.reading import read_blocks
from aggregator.capture.replay import Replay
from aggregator.catalog.catalog import aliases_of
from aggregator.catalog.registry import known_channels
from aggregator.cli import EXIT_CONFIG, EXIT_ERROR, fail
from aggregator.cli.completing import exchanges
from aggregator.cli.normalize import FRAMES, find_exchange, nothing_read, read_instruments
from aggregator.cli.pace import ReadingPace
from aggregator.cli.run import saying_mistakes
from aggregator.cli.served import KnownCapture, addresses, factor, moment, serve
from aggregator.config.config import Config, load_sinks, sinks_without_file
from aggregator.daemon.printable import printable
from aggregator.daemon.running_sinks import RunningSinks
from aggregator.errors import BadFrame, ConfigError, NotACapture
from aggregator.feed.replaying import ALONG_S, ReplayTerms
from aggregator.records import Gap, Record
from aggregator.research.captures import exchange_of

DRAIN_S = 60.0  # a replay waits so long for its sinks
JOURNAL = "journal"  # the sink that keeps the stream
TOGETHER = 128  # records published together


def known_of(path: Path, id: str | None, instruments: Path | None) -> KnownCapture:
    """The exchange of a file's frames, and its instruments."""
    try:
        found = id or exchange_of(path)
        if found is None:
            raise click.UsageError(f"{path} does not say whose frames it holds: name it with --exchange")
        exchange = find_exchange(found)
        known = (
            read_instruments(exchange, instruments)
            if instruments
            else listed_in(exchange, path, aliases_of(exchange.id))
        )
    except BadCapture as error:
        raise fail(str(error)) from error
    return path, exchange, known


def reader(path: Path, id: str | None, instruments: Path | None) -> Replay:
    """A replay of one file."""
    _, exchange, known = known_of(path, id, instruments)
    return Replay(exchange, known)


def complain(path: Path, number: int, error: Exception) -> None:
    """Name a line, or a frame in it, that cannot be read."""
    said = str(error).removeprefix(f"{path}:{number}: ") or type(error).__name__
    click.echo(f"{path}:{number}: {printable(said)}", err=True)


class Player:
    """Publishes what captures give, at their own pace divided by `speed` (0: as fast as the sinks take it)."""

    def __init__(self, outputs: RunningSinks, speed: float, pace: ReadingPace) -> None:
        """Begin with the first capture's first line."""
        self._outputs = outputs
        self._speed = speed
        self._pending: list[Record] = []
        self._pace = pace
        self._start: tuple[float, int] | None = None  # the loop's time at the first line's
        self.unread = self.records = self.gaps = 0

    async def play(self, path: Path, replay: Replay, stopped: asyncio.Event) -> bool:
        """Publish one capture, unless every sink has gone meanwhile; whether a record came of its frames."""
        is_fruitful = False
        self._start = None
        for block in read_blocks(path, self._pace.reach):
            if stopped.is_set():
                break
            at = 0
            while at < len(block.lines) and not stopped.is_set():
                records: list[Record] = []
                count = 0 if self._speed else replay.feed_run(block, at, records)
                if count:
                    self._pace.frames += count
                else:
                    records = await self._one(path, replay, block.first + at, block.lines[at])
                at += count or 1
                is_fruitful = is_fruitful or any(record.source != "derived" for record in records)
                self._pending += records
                for bad in replay.bad_frames:
                    self._complain(path, block.first + at - 1, bad.error)
                replay.bad_frames.clear()
                if len(self._pending) >= TOGETHER:
                    await self._flush()
        self._pending += replay.end()
        await self._flush()
        self._pace.end(path)
        return is_fruitful

    async def _one(self, path: Path, replay: Replay, number: int, line: CaptureLine | BadFrame) -> list[Record]:
        """The records of one line, once its time has come."""
        try:
            if isinstance(line, BadFrame):
                raise line
            self._pace.frames += line.dir in FRAMES
            if self._speed:
                self._start = self._start or (asyncio.get_running_loop().time(), line.time)
                await self._wait_until(self._start, line.time)
            return replay.feed(line)
        except (BadFrame, ValueError) as error:  # a line, an address or a time that is none
            self._complain(path, number, error)
            return []

    def _complain(self, path: Path, number: int, error: Exception) -> None:
        self.unread += 1
        complain(path, number, error)

    async def _wait_until(self, start: tuple[float, int], ts: int) -> None:
        wait = start[0] + (ts - start[1]) / 1e9 / self._speed - asyncio.get_running_loop().time()
        if wait > 0:
            await self._flush()
            await asyncio.sleep(wait)

    async def _flush(self) -> None:
        records, self._pending = self._pending, []
        self.records += len(records)
        self.gaps += sum(isinstance(record, Gap) and record.phase != "close" for record in records)
        for at in range(0, len(records), TOGETHER):
            await self._outputs.give(records[at : at + TOGETHER])


async def replay_all(captures: Sequence[tuple[Path, Replay]], config: Config, speed: float) -> bool:
    """Replay one capture after the other to the same sinks, and say what came of it; whether something did of each."""
    stopped = asyncio.Event()
    outputs = RunningSinks.alone("replay", on_idle=stopped.set)
    pace = ReadingPace([path for path, _ in captures])
    player = Player(outputs, speed, pace)
    is_good = True
    try:
        await outputs.start(config.sinks)
        with pace:
            for path, replay in captures:
                frames, unread = pace.frames, player.unread
                if not await player.play(path, replay, stopped) and not stopped.is_set():
                    nothing_read(path, pace.frames - frames, player.unread - unread, replay.exchange.id)
                    is_good = False
    finally:
        await outputs.stop(DRAIN_S)
    click.echo(pace.summed_up("replay", len(captures), player.unread, player.records, player.gaps), err=True)
    return is_good


def configured(config: Path | None, out: Path | None) -> Config:
    """Where the records go."""
    if config is not None and out is not None:
        raise click.UsageError("--config and --out both say where the records go; name one")
    if config is not None:
        with saying_mistakes():
            found = load_sinks(config, known_channels=known_channels)
    else:
        found = sinks_without_file(out)
    live = tuple(
        sink for sink in found.sinks if sink.sink.name != JOURNAL
    )  # a journal holds what was live, and no more
    found = structs.replace(found, sinks=live)
    for sink in found.sinks:
        path = getattr(sink.settings, "path", None)
        if isinstance(path, Path) and path.is_dir() and any(path.iterdir()):
            if out is not None:
                raise fail(f"{out} is not empty: what stands there already would stand there twice")
            click.echo(f"replay: {path} is not empty: the records come beside what stands there", err=True)
    return found


@click.command(name="replay")
@click.option(
    "--exchange",
    "id",
    metavar="ID",
    shell_complete=exchanges,
    help="Whose frames they are, where the capture does not say.",
)
@click.option(
    "--instruments",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="An answer of its listing endpoint, where the capture holds none.",
)
@click.option(
    "--config",
    "-c",
    "config",
    type=click.Path(path_type=Path),
    help="Use its sinks, and nothing else of it; else standard output.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Files in a new or empty directory.")
@click.option(
    "--serve", "listen", metavar="ADDRESS", multiple=True, help="Serve a feed there: unix:PATH, tcp:… or http:…."
)
@click.option(
    "--speed",
    metavar="FACTOR",
    callback=factor,
    help="1 is as recorded (with --serve the default), max as fast as can be.",
)
@click.option("--start", metavar="TIME", callback=moment, help="With --serve: the time at which replays begin, of UTC.")
@click.option("--end", metavar="TIME", callback=moment, help="With --serve: the time at which they end.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help=f"With --serve: from a client's first subscription to the beginning, {ALONG_S:g} unless said.",
)
@click.argument("files", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True, metavar="FILE…")
def command(
    id: str | None,
    instruments: Path | None,
    config: Path | None,
    out: Path | None,
    listen: tuple[str, ...],
    speed: float | None,
    start: int | None,
    end: int | None,
    wait: float | None,
    files: tuple[Path, ...],
) -> None:
    """A capture through the live code, to any sink; the same capture gives the same records every time.

    Standard error ends with the counts. A capture of which nothing came makes the exit code 1.

    With --serve it is a feed, as a daemon's: of captures, of files that the sink `files` wrote (or their directory),
    or of a journal's directory. Each client has a replay to itself, which waits for it.
    """
    if listen:
        if config is not None or out is not None:
            raise click.UsageError("--serve is where the records go: leave --config and --out out")
        terms = ReplayTerms(
            speed=1.0 if speed is None else speed,
            ts=start,
            end=end,
            along_s=ALONG_S if wait is None else wait,
        )
        serve(files, addresses(listen), terms, lambda path: known_of(path, id, instruments))
        return
    if (start, end, wait) != (None, None, None):
        raise click.UsageError("--start, --end and --wait are for --serve")
    for path in files:
        if path.is_dir():
            raise click.UsageError(f"{path} is a directory: only --serve reads those")
    chosen = configured(config, out)
    try:
        captures = [(path, reader(path, id, instruments)) for path in files]
        is_good = asyncio.run(replay_all(captures, chosen, speed or 0.0))
    except ConfigError as error:
        raise fail(str(error), EXIT_CONFIG) from None
    except (NotACapture, OSError) as error:
        raise fail(str(error)) from None
    if not is_good:
        raise click.exceptions.Exit(EXIT_ERROR)
