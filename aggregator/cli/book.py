"""`aggregator book`."""

import asyncio
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import zip_longest

import click

from aggregator.cli import fail
from aggregator.cli.completing import markets
from aggregator.cli.tail import name_topics
from aggregator.cli.terminal import screen
from aggregator.cli.way import Way, by_way
from aggregator.client import Feed, FeedError, LiveBook
from aggregator.daemon.printable import printable

REDRAW_S = 0.1
PRINT_S = 1.0  # where nothing can be drawn over, books are printed so often
LEVELS = 10
WIDEST_BAR = 24  # characters
ROOM = 1  # lines of the terminal that stay free
HEAD = 2  # lines of a ladder that are no levels: its name, and the spread
DRAW, END = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # another screen without a cursor, and back
HOME, REST_OF_LINE, REST = "\x1b[H", "\x1b[K", "\x1b[J"  # the last two clear what is behind


@click.command(name="book")
@by_way
@click.option("--levels", default=LEVELS, show_default=True, type=click.IntRange(1), help="Levels a side, at most.")
@click.argument("books", metavar="EXCHANGE:SYMBOL...", nargs=-1, required=True, shell_complete=markets)
def command(way: Way, levels: int, books: tuple[str, ...]) -> None:
    """Watch order books of a running daemon, as ladders that move, until Ctrl-C.

    A terminal is drawn over; elsewhere a book is printed once a second, if it has changed. It ends with 1 when the
    daemon does, unless it is to --reconnect.
    """
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(follow(way, books, levels))
    except FeedError as error:
        raise fail(f"{way.address}: {error}") from None


async def follow(way: Way, names: Sequence[str], levels: int) -> None:
    """Show the books until the feed ends."""
    async with way.connect(resume=False) as feed:  # a book as it is now, and not how it came about
        books = [await feed.book(name) for name in dict.fromkeys(names)]
        wanted = [f"book:{name}" for name in names]
        if unknown := [topic for topic in wanted if not await feed.topics([topic])]:
            await name_topics(feed, unknown)
        changed = set(books)
        show = _draw if screen().can_redraw else _print
        showing = asyncio.ensure_future(show(books, changed, levels))
        reading = asyncio.ensure_future(_read(feed, changed))
        try:
            await asyncio.wait((showing, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            showing.cancel()
            reading.cancel()
            ended = await asyncio.gather(showing, reading, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
    if not feed.is_over:
        raise fail(f"{way.address}: the daemon has gone: {feed.goodbye}")


async def _read(feed: Feed, changed: set[LiveBook]) -> None:
    async for book in feed.changes():
        changed.add(book)


async def _draw(books: Sequence[LiveBook], changed: set[LiveBook], levels: int) -> None:
    """Draw the ladders over and over, on a screen of their own."""
    size = shutil.get_terminal_size()
    _write(DRAW)
    try:
        while True:
            if changed or size != shutil.get_terminal_size():
                changed.clear()
                size = shutil.get_terminal_size()
                lines = fitting(books, levels, size.columns, size.lines)
                _write(HOME + f"{REST_OF_LINE}\n".join(lines) + REST_OF_LINE + REST)
            await asyncio.sleep(REDRAW_S)
    finally:
        _write(END)


async def _print(books: Sequence[LiveBook], changed: set[LiveBook], levels: int) -> None:
    """Print each book that has changed, once a second; what has not come yet is not printed."""
    while True:
        for book in books:
            if book in changed and book.snapshot is not None:
                _write("\n".join(printed(book, levels)) + "\n")
        changed.clear()
        await asyncio.sleep(PRINT_S)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def printed(book: LiveBook, levels: int) -> Iterator[str]:
    """A book as lines of text: its name, and a bid and an ask a line, `size price | price size`."""
    yield _name(book) + (f"  ({printable(book.doubt)})" if book.doubt else "")
    bids, asks = book.bids(levels), book.asks(levels)
    widths = [max((len(level[at]) for level in side), default=1) for side in (bids, asks) for at in (0, 1)]
    for bid, ask in zip_longest(bids, asks, fillvalue=("", "")):
        left = f"{bid[1]:>{widths[1]}} {bid[0]:>{widths[0]}}"
        yield printable(f"  {left} | {ask[0]:<{widths[2]}} {ask[1]}").rstrip()


def fitting(books: Sequence[LiveBook], levels: int, columns: int, lines: int) -> list[str]:
    """The ladders one below the other, as many levels of each as the terminal has room for."""
    room = (lines - ROOM - (len(books) - 1)) // len(books) - HEAD
    shown = max(1, min(levels, room // 2))
    found: list[str] = []
    for book in books:
        found += [""] * bool(found)
        found += ladder(book, shown, columns)
    return found[: lines - ROOM]


def ladder(book: LiveBook, levels: int, columns: int) -> list[str]:
    """A book as a ladder: asks above the spread, bids below it, each with a bar as long as its size."""
    asks, bids = book.asks(levels)[::-1], book.bids(levels)
    sizes = [float(size) for _, size in (*asks, *bids)]
    most = max(sizes, default=0.0) or 1.0
    price_width, size_width = (max((len(level[at]) for level in (*asks, *bids)), default=1) for at in (0, 1))
    bar_width = max(0, min(WIDEST_BAR, columns - price_width - size_width - 6))
    doubt = f"  {book.doubt}" if book.doubt else ""
    name = _name(book)
    head = _styled(name[:columns], bold=True) + _styled(printable(doubt)[: max(0, columns - len(name))], fg="yellow")

    def rung(level: tuple[str, str], colour: str) -> str:
        price, size = map(printable, level)
        bar = "█" * round(bar_width * float(level[1]) / most)
        text = f"  {price:>{price_width}}  {size:>{size_width}}  "[:columns]
        return _styled(text, fg=colour, dim=bool(book.doubt)) + _styled(bar, fg=colour, dim=True)

    gap = [""] * (levels - len(asks))
    middle = _styled(f"  {_spread(book):>{price_width}}  spread"[:columns], dim=True)
    return [head, *gap, *(rung(level, "red") for level in asks), middle, *(rung(level, "green") for level in bids)]


def _name(book: LiveBook) -> str:
    return printable(f"{book.exchange} {book.symbol}")


def _spread(book: LiveBook) -> str:
    bids, asks = book.bids(1), book.asks(1)
    return f"{Decimal(asks[0][0]) - Decimal(bids[0][0]):f}" if bids and asks else "-"


def _styled(text: str, *, fg: str | None = None, bold: bool | None = None, dim: bool | None = None) -> str:
    """The text in its colours, where they are wanted."""
    return click.style(text, fg=fg, bold=bold, dim=dim or None) if text and screen().has_colour else text
