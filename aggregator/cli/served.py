"""Serving a recording as a feed: `aggregator replay --serve`."""

import asyncio
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from heapq import merge
from operator import itemgetter
from pathlib import Path

import click

from aggregator.capture.line import CaptureLine
from aggregator.capture.reading import read_capture
from aggregator.capture.replay import Replay
from aggregator.cli import EXIT_CONFIG, fail
from aggregator.daemon.printable import printable
from aggregator.errors import AggregatorError, BadFrame, ConfigError
from aggregator.exchange import Exchange
from aggregator.feed.address import Address, TcpAddress, parse_address
from aggregator.feed.recordings import PlayedCaptures, find_recording
from aggregator.feed.replaying import ReplayServer, ReplayTerms
from aggregator.feed.settings import FeedSettings
from aggregator.records import SECOND_NS, Instrument, Record

MOST_CLIENTS = 100  # replays at once

KnownCapture = tuple[Path, Exchange, Sequence[Instrument]]  # and the instruments that it names
FindKnown = Callable[[Path], KnownCapture]  # raises what makes the command end


def moment(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """Read a time, `2026-11-28T14:00` in UTC or only its date, or nanoseconds; as nanoseconds."""
    if text is None or re.fullmatch(r"[0-9]{10,19}", text):
        return None if text is None else int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        said = f"{text!r} is not a time; write it like 2026-11-28T14:00:00 (UTC), or as nanoseconds"
        raise click.BadParameter(said) from None
    found = found.replace(tzinfo=found.tzinfo or UTC)
    return int(found.timestamp()) * SECOND_NS + found.microsecond * 1000


def factor(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """Read a speed: 0 or more; `max` is 0, as fast as can be."""
    if text is None:
        return None
    try:
        found = 0.0 if text == "max" else float(text.removesuffix("x"))
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise click.BadParameter(f"{text!r} is not a speed; write 1, 10, 0.5, or max")
    return found


def addresses(texts: Sequence[str]) -> tuple[Address, ...]:
    """Read where to serve."""
    try:
        found = tuple(map(parse_address, texts))
    except ValueError as error:
        raise click.UsageError(f"--serve: {error}") from None
    for address in found:
        if isinstance(address, TcpAddress) and not address.is_loopback:
            raise click.UsageError(
                f"--serve: {address}: other machines could reach it; "
                f"write {address.scheme}:127.0.0.1:{address.port}, and come from elsewhere through ssh -L"
            )
    return found


def serve(paths: Sequence[Path], listen: Sequence[Address], terms: ReplayTerms, find: FindKnown) -> None:
    """Serve what some files or directories hold until stopped; `find` tells whose frames a capture holds."""

    def complain(text: str) -> None:
        click.echo(f"replay: {printable(text)}", err=True)

    try:
        recording = find_recording(paths, complain) or played([find(path) for path in paths], complain)
        settings = FeedSettings(listen=tuple(listen), max_clients=MOST_CLIENTS)
        asyncio.run(_serve(ReplayServer(settings, recording, terms, complain)))
    except ConfigError as error:
        raise fail(str(error), EXIT_CONFIG) from None
    except (AggregatorError, OSError) as error:
        raise fail(str(error)) from None


async def _serve(server: ReplayServer) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    starting, stopping = asyncio.ensure_future(server.start()), asyncio.ensure_future(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():  # it may be long until the place is found where it is to begin
        starting.cancel()
        return
    place = await starting
    try:
        said = f"replay: served at {', '.join(server.addresses)}, of epoch {place.epoch}"
        click.echo(f"{said}; it begins for each client as that subscribes", err=True)
        await stop.wait()
    finally:
        await server.stop()


# --- captures


def played(captures: Sequence[KnownCapture], complain: Callable[[str], object]) -> PlayedCaptures:
    """Captures, played through the live code together, in the order of time. Raises NotACapture, OSError."""
    begun = [ts for capture in captures for ts in [next((ts for ts, *_ in _lines(0, capture[0])), None)] if ts]
    if not begun:
        complain("no line of these captures says when it was")
    known = [instrument for _, _, instruments in captures for instrument in instruments]

    def play(complain: Callable[[str], object]) -> Iterator[Sequence[Record]]:
        replays = [Replay(exchange, instruments) for _, exchange, instruments in captures]
        lines = [_lines(at, path) for at, (path, _, _) in enumerate(captures)]
        for _, at, number, line in merge(*lines, key=itemgetter(0)):
            yield _fed(replays[at], line, f"{captures[at][0]}:{number}", complain)
        for replay in replays:
            yield replay.end()

    return PlayedCaptures(min(begun, default=0), known, play)


def _lines(at: int, path: Path) -> Iterator[tuple[int, int, int, CaptureLine | BadFrame]]:
    """The lines of a capture, each with its time: of one that cannot be read that of the line before."""
    ts = 0
    for number, line in read_capture(path):
        if isinstance(line, CaptureLine):
            with suppress(BadFrame):
                ts = line.time or ts
        yield ts, at, number, line


def _fed(
    replay: Replay, line: CaptureLine | BadFrame, place: str, complain: Callable[[str], object]
) -> Sequence[Record]:
    """The records of a line; what cannot be read is named."""
    records: Sequence[Record] = ()
    try:
        if isinstance(line, BadFrame):
            raise line
        records = replay.feed(line)
    except (BadFrame, ValueError) as error:  # a line, an address or a time that is none
        complain(f"{place}: {str(error).removeprefix(f'{place}: ') or type(error).__name__}")
    for bad in replay.bad_frames:
        complain(f"{place}: {bad.error}")
    replay.bad_frames.clear()
    return records
