"""What the program costs, part by part, in one run; docs/performance.md says how to read it."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from bench import books, captures, daemon, frames, hot, scale, start
from bench.frames import Capture
from bench.measure import conditions, settle, show_conditions, write

EXCHANGES = ("binance", "coinbaseexchange", "kraken", "okx")  # whose frames are made where no captures are


class Extent(Struct, frozen=True):
    """How much is measured: at most so many frames of a capture, in so many rounds, seconds of every load.

    share: of the topics, frames and books of whole markets
    """

    frames: int
    rounds: int
    seconds: float
    minutes: float
    share: float


FULL = Extent(frames=3000, rounds=11, seconds=10, minutes=1, share=0.2)
QUICK = Extent(frames=1000, rounds=3, seconds=1, minutes=0.1, share=0.02)
IN_QUICK = {"hot", "start"}


def gathered(directory: Path | None, count: int, *, quick: bool) -> Iterator[Capture]:
    """Captures of a directory, or of the generator beside the checkout, or made on the spot; a few when `quick`."""
    directory = directory or captures.generated(count)
    for capture in captures.read(directory, count) if directory is not None else made(count):
        is_few = capture.exchange == EXCHANGES[0] or (capture.exchange in EXCHANGES and capture.kind == "mixed")
        if is_few or not quick:
            yield capture


def made(count: int) -> Iterator[Capture]:
    """Every kind of capture that this package can make."""
    for exchange in EXCHANGES:
        for kind in frames.kinds(exchange):
            yield frames.make(exchange, kind, count)


def parts(options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """What can be measured: each prints its table, and gives what stands in the report."""
    extent = QUICK if options.quick else FULL

    def measure_hot() -> object:
        return hot.report(gathered(options.captures, extent.frames, quick=options.quick), extent.rounds)

    def measure_books() -> object:
        deltas = [frames.make("binance", kind, extent.frames) for kind in ("book", *frames.LEVELS)]
        return books.report(deltas, extent.rounds)

    return {
        "hot": measure_hot,
        "start": lambda: start.report(extent.rounds),
        "books": measure_books,
        "daemon": lambda: daemon.report(daemon.loads(extent.seconds)),
        "memory": lambda: daemon.report([daemon.memory((options.minutes or extent.minutes) * 60)]),
        "scale": lambda: scale.report(options.share or extent.share),
    }


def arguments() -> argparse.Namespace:
    """What is asked."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the hot path and the start alone, in under 20 seconds")
    parser.add_argument("--only", choices=["hot", "start", "books", "daemon", "memory", "scale"], help="one part")
    parser.add_argument("--captures", type=Path, metavar="DIR", help="where frames stand: see docs/performance.md")
    parser.add_argument("--minutes", type=float, help="for which memory is watched")
    parser.add_argument("--share", type=float, help="of whole markets, in the part scale; 1: all of 100,000 topics")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the report is left")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and leave the report where it was asked for."""
    options = arguments()
    found: dict[str, object] = {"conditions": conditions()}
    show_conditions()
    settle()
    for name, measure in parts(options).items():
        if name == options.only or (options.only is None and (name in IN_QUICK or not options.quick)):
            found[name] = measure()
    write(options.json, found)


if __name__ == "__main__":
    main()
