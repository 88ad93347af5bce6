"""Order books at scale: `python -m bench.scale`, and with `--against COMMIT` that commit's `aggregator/book.py` beside.

Both stand in one process. Memory is what thousands of books of a thousand levels a side take after deltas that move
them as `bench/market.py` does: each time in a process of its own, by its resident pages. Time is that of the processor
per delta, over many books in turn, so that none stays in the caches; the texts are decoded anew before every turn.
"""

import argparse
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import module_from_spec, spec_from_loader
from multiprocessing import get_context
from pathlib import Path
from random import Random
from time import process_time
from typing import Protocol

from msgspec import Struct, json

from aggregator.book import OrderBook
from aggregator.records import Levels
from bench.market import PAIRS, Change, Ladder, Pair
from bench.measure import pinned, processors, show_conditions, table
from connectors.families.kraken import whole

ROOT = Path(__file__).parents[1]
DEEP = 1000  # levels a side
KINDS = {"about 5": 0, "10": 10, "100": 100, "1000": 1000}  # levels in a delta
STEPS = {"about 5": 600, "10": 400, "100": 200, "1000": 100}  # deltas of each book
WARM = 0.3  # of them come first and are not timed, for books are packed then; `whole book, first deltas` shows that
AT_ONCE = 20  # deltas of each book that are decoded at once
PAGE_BYTES = 4096
CHECKED = 10  # levels a side under Kraken's checksum
NANO = 1e9

Delta = tuple[Levels, Levels]
decode: Callable[[bytes], Delta] = json.Decoder(Delta).decode


class Book(Protocol):
    """A book of some commit."""

    def apply(self, bids: Levels, asks: Levels) -> bool:
        """Set sizes; whether it is crossed now."""

    def bids(self, count: int | None = None) -> Levels:
        """The best bids, best first."""

    def spelled(
        self, count: int, bid: Callable[[str, str], str], ask: Callable[[str, str], str]
    ) -> tuple[list[str], list[str]]:
        """What a checksum is computed of."""


Make = Callable[..., Book]


class Script(Struct, frozen=True):
    """The whole book of a market and the deltas that follow, as JSON, so that every reading makes texts of its own."""

    whole: bytes
    deltas: list[bytes]


def script(pair: Pair, kind: str, steps: int, *, depth: int = DEEP, cut: bool = False) -> Script:
    """What happens to one market."""
    random = Random(f"{pair.base} {kind}")
    ladder = Ladder(pair, random, depth, cut=cut)
    opening = told(pair, ladder.whole())
    deltas = []
    for _ in range(steps):
        levels = KINDS.get(kind) or 1 + min(int(random.expovariate(1 / 4.5)), 40)
        deltas.append(told(pair, ladder.change(2 if kind == "2" else levels)))
    return Script(opening, deltas)


def told(pair: Pair, sides: tuple[Change, Change]) -> bytes:
    """Levels as the session gets them, once they are decoded."""
    return json.encode([[(pair.price(at), pair.size(size) if size else "0") for at, size in side] for side in sides])


def older(commit: str) -> Make:
    """The book of a commit."""
    text = subprocess.run(  # noqa: S603
        ["git", "show", f"{commit}:aggregator/book.py"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    spec = spec_from_loader("older_book", None)
    if spec is None:
        raise ImportError(commit)
    module = module_from_spec(spec)
    sys.modules["older_book"] = module
    exec(compile(text, f"{commit}:aggregator/book.py", "exec"), module.__dict__)  # noqa: S102 - our own, of a commit
    make: Make = module.OrderBook
    return make


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def grown(make: Make, scripts: list[Script], count: int) -> tuple[float, float]:
    """Bytes per level of `count` books: as they have come, with one delta each, and after all deltas."""
    gc.collect()
    before = resident()
    books, found = [], []
    for at in range(count):
        books.append(make(*decode(scripts[at % len(scripts)].whole)))
        books[-1].apply(*decode(scripts[at % len(scripts)].deltas[0]))
    found.append(resident() - before)
    for at, book in enumerate(books):
        for delta in scripts[at % len(scripts)].deltas[1:]:
            book.apply(*decode(delta))
    found.append(resident() - before)
    levels = sum(len(side) for book in books[: len(scripts)] for side in (book.bids(), book.bids()))
    per = levels * count / len(scripts)
    return found[0] / per, found[1] / per


def memory(make: Make, kind: str, count: int) -> tuple[float, float]:
    """The same, measured in a process of its own."""
    scripts = [script(pair, kind, STEPS[kind]) for pair in PAIRS]
    context = get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=lambda: theirs.send(grown(make, scripts, count)))
    child.start()
    found: tuple[float, float] = ours.recv()
    child.join()
    return found


def applied(make: Make, scripts: list[Script], copies: int) -> list[float]:
    """Seconds that each slice of the deltas of so many copies of each market takes."""
    books = [(make(*decode(one.whole)), one.deltas) for one in scripts for _ in range(copies)]
    gc.collect()
    spent = []
    for at in range(0, len(scripts[0].deltas), AT_ONCE):
        work = [(book.apply, [decode(delta) for delta in deltas[at : at + AT_ONCE]]) for book, deltas in books]
        turns = [(apply, *deltas[step]) for step in range(AT_ONCE) for apply, deltas in work]
        start = process_time()
        for apply, bids, asks in turns:
            apply(bids, asks)
        spent.append(process_time() - start)
    return spent[int(WARM * len(spent)) :]


def built(make: Make, scripts: list[Script], copies: int) -> list[float]:
    """Seconds that so many copies of each whole book and its first deltas take, each."""
    wholes = [
        (decode(one.whole), [decode(delta) for delta in one.deltas[:AT_ONCE]]) for one in scripts for _ in range(copies)
    ]
    gc.collect()
    start = process_time()
    for levels, deltas in wholes:
        book = make(*levels)
        for delta in deltas:
            book.apply(*delta)
    return [process_time() - start]


def read(make: Make, scripts: list[Script], copies: int) -> list[float]:
    """Seconds that it takes to read the bids of so many copies of each whole book."""
    books = [make(*decode(one.whole)) for one in scripts for _ in range(copies)]
    for book, one in zip(books, (one for one in scripts for _ in range(copies)), strict=True):
        for delta in one.deltas[:100]:
            book.apply(*decode(delta))
    start = process_time()
    for book in books:
        book.bids()
    return [process_time() - start]


def digits(price: str, size: str) -> str:
    """A level as Kraken's checksum has it."""
    return whole(price, 5) + whole(size, 8)


def verified(make: Make, scripts: list[Script], copies: int) -> list[float]:
    """Seconds that the deltas take with the text of Kraken's checksum made after each."""
    books = [(make(*decode(one.whole), CHECKED), one.deltas) for one in scripts for _ in range(copies)]
    for book, _ in books:
        book.spelled(CHECKED, digits, digits)
    work = [(book, [decode(delta) for delta in deltas]) for book, deltas in books]
    start = process_time()
    for book, deltas in work:
        for bids, asks in deltas:
            book.apply(bids, asks)
            sides = book.spelled(CHECKED, digits, digits)
            "".join(sides[1] + sides[0])
    return [process_time() - start]


def figures(copies: int) -> Iterator[tuple[str, Callable[[Make], list[float]], float]]:
    """What is timed: its name, what it takes in seconds, and how many deltas, or books, that is."""
    for kind, steps in STEPS.items():
        scripts = [script(pair, kind, steps) for pair in PAIRS]
        count = copies * len(PAIRS)
        yield f"delta of {kind}", partial(applied, scripts=scripts, copies=copies), count * steps * (1 - WARM)
    scripts = [script(pair, "about 5", 100) for pair in PAIRS]
    yield "whole book, first deltas", partial(built, scripts=scripts, copies=copies), count
    yield "side read", partial(read, scripts=scripts, copies=copies), count
    scripts = [script(pair, "2", 2000, depth=CHECKED, cut=True) for pair in PAIRS]
    yield "delta of 2, spelled", partial(verified, scripts=scripts, copies=1), len(PAIRS) * 2000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--against", metavar="COMMIT", help="whose book stands beside ours")
    parser.add_argument(
        "--books", type=int, default=2000, help="whose memory is measured (2000); deltas of 100 and more: a tenth"
    )
    parser.add_argument("--copies", type=int, default=25, help="books of each of four markets that are timed (25)")
    parser.add_argument("--rounds", type=int, default=5, help="in which both take turns (5)")
    parser.add_argument("--only", choices=["memory", "time"])
    options = parser.parse_args()
    show_conditions()
    makers: dict[str, Make] = {"ours": OrderBook}
    if options.against:
        makers["theirs"] = older(options.against)
    if options.only != "time":
        rows = []
        for kind, many in KINDS.items():
            count = options.books if many < 100 else options.books // 10
            found = {name: memory(make, kind, count) for name, make in makers.items()}
            for at, when in enumerate(("when it has come", "after its deltas")):
                values = [of[at] for of in found.values()]
                rows.append([f"deltas of {kind}, {when}", *values, values[0] / values[-1]])
        table("bytes a level", ("books", *makers, "ratio"), rows)
    if options.only != "memory":
        gc.disable()
        rows = []
        with pinned(processors()[0]):
            for name, measure, count in figures(options.copies):
                least: dict[str, list[float]] = {}
                for turn in range(options.rounds):
                    for maker in list(makers)[:: -1 if turn % 2 else 1]:
                        times = measure(makers[maker])
                        least[maker] = [*map(min, times, least.get(maker, times))]
                values = [sum(least[maker]) / count * NANO for maker in makers]
                rows.append([name, *values, values[0] / values[-1]])
        table("ns of processor time", ("figure", *makers, "ratio"), rows)


if __name__ == "__main__":
    main()
