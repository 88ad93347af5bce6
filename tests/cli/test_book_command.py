"""`aggregator book`: a ladder that moves on a terminal, and text once a second elsewhere."""

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import click
import pytest

from aggregator.bus.bus import Bus
from aggregator.cli.book import fitting, follow, ladder, printed
from aggregator.cli.way import Way
from aggregator.client import LiveBook
from aggregator.feed.address import UnixAddress
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import BookDelta, BookSnapshot, Gap
from tests.support.views import Fixed

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0  # seconds; nothing here takes nearly as long
COLOUR = re.compile(r"\x1b\[[0-9;]*[1-9]m")
BTC = {"exchange": "alpha", "symbol": "BTC/USD", "raw_symbol": "XBTUSD"}
BIDS = [("100.0", "2"), ("99.5", "0.50"), ("99.0", "1")]
ASKS = [("100.5", "1"), ("101.0", "4"), ("1020.0", "1")]
WHOLE = BookSnapshot(**BTC, bids=BIDS, asks=ASKS)  # type: ignore[arg-type]
DELTA = BookDelta(**BTC, bids=[("100.2", "7")], asks=[])  # type: ignore[arg-type]
GAP = Gap(**BTC, gap_id="1", phase="open", channel="book", cause="checksum", ts_from=1)  # type: ignore[arg-type]


@pytest.fixture
def book() -> LiveBook:
    book = LiveBook("alpha", "BTC/USD")
    book.note(WHOLE)
    return book


def test_a_ladder(book: LiveBook) -> None:
    assert [line.rstrip("█") for line in ladder(book, 3, 80)] == [
        "alpha BTC/USD",
        "  1020.0     1  ",
        "   101.0     4  ",
        "   100.5     1  ",
        "     0.5  spread",
        "   100.0     2  ",
        "    99.5  0.50  ",
        "    99.0     1  ",
    ]
    bars = [line.count("█") for line in ladder(book, 3, 80)]
    assert bars == [0, 6, 24, 6, 0, 12, 3, 6]


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (20, 8), (10, 3), (1, 1), (200, 100)])
def test_a_ladder_fits_the_terminal(columns: int, lines: int, book: LiveBook) -> None:
    book.note(GAP)
    for books in ([book], [book, LiveBook("beta", "ETH/USD")]):
        found = fitting(books, 10, columns, lines)
        assert len(found) < max(2, lines)
        assert max(map(len, found), default=0) <= columns


def test_a_book_in_doubt_says_so(book: LiveBook) -> None:
    book.note(GAP)
    assert ladder(book, 1, 80)[0] == "alpha BTC/USD  a gap is open: checksum"
    assert next(printed(book, 1)) == "alpha BTC/USD  (a gap is open: checksum)"


def test_a_book_as_text(book: LiveBook) -> None:
    assert list(printed(book, 2)) == ["alpha BTC/USD", "     2 100.0 | 100.5 1", "  0.50  99.5 | 101.0 4"]


# --- the command itself


@asynccontextmanager
async def watching(path: Path, *, stdout: int, **variables: str) -> AsyncIterator[tuple[subprocess.Popen[bytes], Bus]]:
    """`aggregator book` beside a daemon's feed with one book."""
    bus = Bus("epoch")
    bus.views.add("alpha", Fixed([WHOLE]))
    server = FeedServer(FeedSettings(listen=(UnixAddress(path),)), bus)
    await server.start()
    bus.attach(server.publish)
    program = [sys.executable, "-m", "aggregator", "book", "--feed", str(path), "alpha:BTC/USD"]
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"} | variables
    process = subprocess.Popen(  # noqa: ASYNC220 - quick to start
        program, stdout=stdout, stderr=subprocess.PIPE, cwd=ROOT, env=environment
    )
    try:
        async with asyncio.timeout(PATIENCE):
            yield process, bus
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        assert process.stderr is not None
        process.stderr.close()
        await server.stop(0)


async def until(fd: int, is_there: Callable[[str], bool]) -> str:
    """What is written to a file, as soon as something is there."""
    said = b""
    while not is_there(said.decode(errors="replace")):
        await _readable(fd)
        with suppress(OSError):  # a terminal whose other side is closed
            said += os.read(fd, 65536)
    return said.decode()


async def _readable(fd: int) -> None:
    """Wait for something to read, in no thread: one that reads for ever would keep the test from ending."""
    loop, is_there = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, is_there.set)
    try:
        await is_there.wait()
    finally:
        loop.remove_reader(fd)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A program that is started here ends by SIGINT, though whoever runs the tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.waits
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}], ids=["colours", "no colours"])
async def test_on_a_terminal_it_moves(variables: dict[str, str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    async with watching(tmp_path / "feed.sock", stdout=theirs, **variables) as (process, bus):
        first = await until(ours, lambda said: "99.5" in said)
        assert "\x1b[?1049h" in first
        assert bool(COLOUR.search(first)) is (not variables)
        bus.publish([DELTA])
        second = await until(ours, lambda said: "100.2" in said)
        assert "\x1b[H" in second, "it is drawn over"
        process.send_signal(signal.SIGINT)
        await until(ours, lambda said: "\x1b[?1049l" in said)
        assert await asyncio.to_thread(process.wait) == 0
    os.close(ours)
    os.close(theirs)


@pytest.mark.waits
async def test_in_a_pipe_it_is_text(tmp_path: Path) -> None:
    async with watching(tmp_path / "feed.sock", stdout=subprocess.PIPE) as (process, bus):
        assert process.stdout is not None
        first = await until(process.stdout.fileno(), lambda said: said.count("\n") >= 4)
        assert [line.split() for line in first.splitlines()[:2]] == [
            ["alpha", "BTC/USD"],
            ["2", "100.0", "|", "100.5", "1"],
        ]
        bus.publish([DELTA, DELTA])
        second = await until(process.stdout.fileno(), lambda said: said.count("\n") >= 5)
        assert ["7", "100.2", "|", "100.5", "1"] in [line.split() for line in second.splitlines()]
        assert click.unstyle(second) == second
        for receive in bus._receivers:
            await receive.__self__.stop(1.0)  # type: ignore[attr-defined]
        assert await asyncio.to_thread(process.wait) == 1
        assert process.stderr is not None
        assert b"the daemon has gone: the daemon ends" in process.stderr.read()


async def test_a_book_that_nobody_follows_is_answered_with_those_that_are_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "feed.sock"
    bus = Bus("epoch")
    server = FeedServer(FeedSettings(listen=(UnixAddress(path),)), bus)
    await server.start()
    bus.attach(server.publish)
    bus.publish([WHOLE])
    for name in ("alpha:BTC/USD", "alpha:XBTUSD", "alfa:BTC/USD"):
        following = asyncio.ensure_future(follow(Way(str(path)), [name], 1))
        async with asyncio.timeout(PATIENCE):
            while not (server.status().subscribers and server.status().subscribers[0].topics):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        said = capfd.readouterr().err
        assert said == (
            "aggregator: no topic fits book:alfa:BTC/USD yet; known are book:alpha:BTC/USD\n" if "alfa" in name else ""
        )
        while server.status().subscribers:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    await server.stop(1)


def test_what_is_no_book_is_an_error(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "aggregator", "book", "--feed", str(tmp_path / "none"), "alpha:BTC/USD"]
    run = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert "is not there: does the daemon run" in run.stderr
