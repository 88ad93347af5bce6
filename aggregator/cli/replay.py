"""`aggregator replay`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from aggregator.bus import Bus
from aggregator.capture import read_capture
from aggregator.catalog import aliases_of
from aggregator.cli import fail
from aggregator.cli.normalize import find_exchange, read_instruments
from aggregator.cli.run import read_config
from aggregator.cli.table import printable
from aggregator.errors import BadFrame
from aggregator.exchange import Exchange
from aggregator.instruments import read_listing
from aggregator.outputs import Outputs
from aggregator.records import Instrument, Record
from aggregator.registry import load_exchange
from aggregator.replay import CaptureLine, Replay
from aggregator.sinks.settings import SinkSettings, StdoutSettings

DRAIN = 60.0  # seconds: a replay waits for its sinks
FLUSH = 128  # records published together


def exchange_of(path: Path) -> str | None:
    """Whose frames a capture holds: by its own lines, by its name, or by its folder's name."""
    _, first = next(read_capture(path), (0, None))
    if isinstance(first, CaptureLine) and first.exchange:
        return first.exchange
    return next((id for id in (path.name.split("-")[0], path.parent.name) if load_exchange(id) is not None), None)


def listed_in(exchange: Exchange, path: Path) -> list[Instrument]:
    """The instruments of the listing that a capture itself holds."""
    lines = (line for _, line in read_capture(path) if isinstance(line, CaptureLine) and line.dir == "rest")
    bodies = {line.address: line.payload for line in lines}
    parts: dict[int, list[bytes]] = {}
    try:
        for part, request in enumerate(exchange.listing.requests):
            waiting = [request]
            while waiting:
                asked = waiting.pop(0)
                body = bodies.pop(asked.url, None)
                if body is not None:
                    parts.setdefault(part, []).append(body)
                    waiting += exchange.listing.more(asked, body)
        return list(read_listing(exchange, parts, aliases_of(exchange.id), 0).instruments)
    except Exception as error:
        raise fail(f"{path}: its listing cannot be read: {error}") from error


def reader(path: Path, id: str | None, instruments: Path | None) -> Replay:
    """A replay of one file."""
    found = id or exchange_of(path)
    if found is None:
        raise click.UsageError(f"{path} does not say whose frames it holds: name it with --exchange")
    exchange = find_exchange(found)
    known = read_instruments(exchange, instruments) if instruments else listed_in(exchange, path)
    return Replay(exchange, known)


def complain(path: Path, number: int, error: Exception) -> None:
    """Name a line, or a frame in it, that cannot be read."""
    said = str(error).removeprefix(f"{path}:{number}: ") or type(error).__name__
    click.echo(f"{path}:{number}: {printable(said)}", err=True)


class Player:
    """Publishes what captures give, at their own pace divided by `speed` (0: as fast as the sinks take it)."""

    def __init__(self, bus: Bus, outputs: Outputs, speed: float) -> None:
        """Begin with the first capture's first line."""
        self._bus = bus
        self._outputs = outputs
        self._speed = speed
        self._pending: list[Record] = []

    async def play(self, path: Path, replay: Replay, stopped: asyncio.Event) -> None:
        """Publish one capture, unless every sink has gone meanwhile."""
        start: tuple[float, int] | None = None
        for number, line in read_capture(path):
            if stopped.is_set():
                return
            try:
                if isinstance(line, BadFrame):
                    raise line
                start = start or (asyncio.get_running_loop().time(), line.time)
                await self._wait_until(start, line.time)
                self._pending += replay.feed(line)
            except (BadFrame, ValueError) as error:  # a line, an address or a time that is none
                complain(path, number, error)
            for bad, _ in replay.bad_frames:
                complain(path, number, bad)
            replay.bad_frames.clear()
            if len(self._pending) >= FLUSH:
                await self._flush()
        self._pending += replay.end()
        await self._flush()

    async def _wait_until(self, start: tuple[float, int], ts: int) -> None:
        if not self._speed:
            return
        wait = start[0] + (ts - start[1]) / 1e9 / self._speed - asyncio.get_running_loop().time()
        if wait > 0:
            await self._flush()
            await asyncio.sleep(wait)

    async def _flush(self) -> None:
        records, self._pending = self._pending, []
        self._bus.publish(records)
        await self._outputs.room()


async def replay_all(captures: Sequence[tuple[Path, Replay]], sinks: Sequence[SinkSettings], speed: float) -> None:
    """Replay one capture after the other to the same sinks."""
    bus = Bus("replay")
    stopped = asyncio.Event()
    outputs = Outputs(bus, on_idle=stopped.set)
    await outputs.start(sinks)
    player = Player(bus, outputs, speed)
    try:
        for path, replay in captures:
            await player.play(path, replay, stopped)
    finally:
        await outputs.stop(DRAIN)


@click.command(name="replay")
@click.option("--exchange", "id", metavar="ID", help="Whose frames they are, where the capture does not say.")
@click.option(
    "--instruments",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="An answer of its listing endpoint, where the capture holds none.",
)
@click.option("--config", "-c", "config", type=click.Path(path_type=Path), help="Use its sinks; else standard output.")
@click.option("--speed", type=click.FloatRange(min=0), default=0.0, help="1 is as recorded; 0 as fast as can be.")
@click.argument("files", type=click.Path(path_type=Path, exists=True, dir_okay=False), nargs=-1, required=True)
def command(
    id: str | None, instruments: Path | None, config: Path | None, speed: float, files: tuple[Path, ...]
) -> None:
    """A capture through the live code, to any sink; the same capture gives the same records every time."""
    sinks: Sequence[SinkSettings] = read_config(config).sinks if config is not None else (StdoutSettings(),)
    try:
        captures = [(path, reader(path, id, instruments)) for path in files]
        asyncio.run(replay_all(captures, sinks, speed))
    except OSError as error:
        raise fail(str(error)) from None
