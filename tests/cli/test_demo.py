"""`aggregator demo` as a newcomer meets it: records on the screen within seconds, and a clean end."""

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import msgspec
import pytest
import zstandard
from click.testing import CliRunner
from rich.console import Console

from aggregator.catalog.registry import simulated_ids
from aggregator.cli.board import Board
from aggregator.cli.demo import command
from aggregator.records import SECOND_NS, Bbo, Gap, Health, Trade

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "aggregator"]
PATIENCE = 30.0  # seconds; nothing here takes nearly as long
DEAL = re.compile(r" trade +.*\b(buy|sell)\b")
COLOUR = re.compile(rb"\x1b\[[0-9;]*[1-9]m")
TOLD = re.compile(r"aggregator tail --socket (\S+) ")


@contextmanager
def demo(directory: Path, *options: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    """A demonstration under way, which leaves no temporary file behind. The path of its socket must be short."""
    temporary = Path(tempfile.mkdtemp(prefix="demo-"))
    environment = os.environ | {"TMPDIR": str(temporary)}
    with (directory / "stderr").open("wb") as said:
        program = [*PROGRAM, "demo", *options]
        process = subprocess.Popen(program, stdout=stdout, stderr=said, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)
        if process.stdout is not None:
            process.stdout.close()
        left = list(temporary.iterdir())
        shutil.rmtree(temporary)
    assert left == [], "nothing is left behind"


def interrupt(process: subprocess.Popen[bytes], directory: Path) -> str:
    """Press Ctrl-C; what it said on standard error."""
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    said = (directory / "stderr").read_text()
    assert said.endswith("demo: stopped\n")
    assert "Traceback" not in said
    return said


def test_every_exchange_is_on_the_screen(tmp_path: Path) -> None:
    ids, end = set(simulated_ids()), time.monotonic() + PATIENCE
    assert len(ids) >= 4
    found: set[tuple[str, str]] = set()
    with demo(tmp_path) as process:
        assert process.stdout is not None
        while not {(id, kind) for id in ids for kind in ("trade", "book_snapshot")} <= found:
            record = json.loads(process.stdout.readline())
            found.add((record["exchange"], record["type"]))
            assert time.monotonic() < end, f"only {sorted(found)}"
        said = interrupt(process, tmp_path)
    assert all(id in said for id in ids)
    assert "Ctrl-C stops" in said


def test_what_it_shows_is_recorded_where_that_is_wanted(tmp_path: Path) -> None:
    with demo(tmp_path, "--record", str(tmp_path / 'the "data"')) as process:
        assert process.stdout is not None
        while b'"type":"trade"' not in process.stdout.readline():
            pass
        said = interrupt(process, tmp_path)
    assert "files are in" in said
    unpacked = zstandard.ZstdDecompressor()
    files = [
        unpacked.stream_reader(path.read_bytes(), read_across_frames=True).read()
        for path in tmp_path.rglob("*.ndjson.zst")
    ]
    lines = b"".join(files).splitlines()
    found = {json.loads(line)["type"] for line in lines}
    assert {"header", "trade", "footer"} <= found


def test_tail_follows_beside_it(tmp_path: Path) -> None:
    with demo(tmp_path, "--json", "--rate", "200", stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + PATIENCE
        while (told := TOLD.search((tmp_path / "stderr").read_text())) is None or not is_served(told[1]):
            assert time.monotonic() < end, "it does not say where its feed is"
            time.sleep(0.05)
        program = [*PROGRAM, "tail", "--socket", told[1], "trades:*:*"]
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as tail:
            assert tail.stdout is not None
            while b'"type":"trade"' not in (line := tail.stdout.readline()):
                assert line, tail.communicate()
            interrupt(process, tmp_path)
            _, complaint = tail.communicate(timeout=PATIENCE)
    assert b"Traceback" not in complaint


def is_served(path: str) -> bool:
    """Whether somebody listens at a socket: it exists a moment before that."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


@pytest.mark.parametrize("colour", [True, False])
def test_on_a_terminal_it_is_a_table_of_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "" if colour else "1")
    rows = {id: rf"{id} +[A-Z]+/[A-Z]+ +[0-9.]+ +[0-9.]+ +[0-9.]+ +0\.[0-9]+ " for id in simulated_ids()}
    text = seen_on_a_terminal(tmp_path, re.compile("".join(f"(?=.*{row})" for row in rows.values()), re.DOTALL))
    assert (COLOUR.search(text) is not None) is colour
    shown = plain(re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", text))
    assert re.search(r"exchange +symbol +last +bid +ask +spread +rec/s +state", shown)
    assert all(re.search(f"^{row}", shown, re.MULTILINE) for row in rows.values())


def test_on_a_terminal_that_cannot_be_drawn_over_a_line_is_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    text = seen_on_a_terminal(tmp_path, DEAL)
    assert b"\x1b" not in text
    lines = plain(text).splitlines()[:-1]
    assert lines
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3} \S+ ", line) for line in lines), lines[:5]
    assert not re.search(r" instrument |\d{16}", plain(text)), "no list of instruments, no time in nanoseconds"


def seen_on_a_terminal(directory: Path, wanted: re.Pattern[str]) -> bytes:
    """What a terminal is sent until it shows this, and then a little more."""
    ours, theirs = pty.openpty()
    with demo(directory, "--rate", "200", stdout=theirs) as process:
        os.close(theirs)
        text, end = b"", time.monotonic() + PATIENCE
        while not wanted.search(plain(text)):
            text += os.read(ours, 1 << 16)
            assert time.monotonic() < end, text.decode()
        drain(ours, process)
        assert process.wait(PATIENCE) == 0
    os.close(ours)
    warned = [line for line in (directory / "stderr").read_text().splitlines() if "W " in line]
    assert all("the disk does not answer" in line for line in warned), f"no warning of its own making: {warned}"
    return text


def plain(text: bytes) -> str:
    """What is left without colours."""
    return re.sub(r"\x1b\[[0-9;]*m|\r", "", text.decode(errors="replace"))


def drain(terminal: int, process: subprocess.Popen[bytes]) -> None:
    """Press Ctrl-C and read on, so that nothing waits for room on the terminal."""
    process.send_signal(signal.SIGINT)
    try:
        while os.read(terminal, 1 << 16):
            pass
    except OSError:
        return  # the other end is closed


def test_one_instrument_is_not_counted_for_another() -> None:
    board = Board()
    board.note(
        [Trade(exchange="a", symbol="X/Y", price="1", size="1", ts_recv=n * SECOND_NS // 10) for n in range(100)]
    )
    board.note([Bbo(exchange="a", symbol="Z/Y", bid_price="0.90", ask_price="1.1", ts_recv=9 * SECOND_NS)])
    board.note([Health(exchange="a", symbol="Z/Y", channel="book", state="live")])
    board.note([Health(exchange="a", symbol="Z/Y", channel="trades", state="stalled")])
    rows = list(zip(*(column.cells for column in board.table(10 * SECOND_NS, 80).columns), strict=True))
    assert rows == [
        ("a", "X/Y", "1", "-", "-", "-", "10", ""),
        ("", "Z/Y", "", "0.90", "1.1", "0.20", "0", "stalled (trades)"),
    ]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (80, ["exchange          symbol      last      bid      ask  spread  rec/s  state",
              "coinbaseexchange  ETH/USD  2610.15  2610.14  2610.17    0.03      0  syncing"]),
        (70, ["exchange          symbol      last      bid      ask  spread  state",
              "coinbaseexchange  ETH/USD  2610.15  2610.14  2610.17    0.03  syncing"]),
        (61, ["exchange          symbol      last      bid      ask  state",
              "coinbaseexchange  ETH/USD  2610.15  2610.14  2610.17  syncing"]),
        (56, ["exchange     symbol      last      bid      ask  state",
              "coinbaseex…  ETH/USD  2610.15  2610.14  2610.17  syncing"]),
    ],
)  # fmt: skip
def test_a_narrow_terminal_shows_whole_prices(width: int, lines: list[str]) -> None:
    board = Board()
    exchange, symbol = "coinbaseexchange", "ETH/USD"
    board.note([Trade(exchange=exchange, symbol=symbol, price="2610.15", size="1")])
    board.note([Bbo(exchange=exchange, symbol=symbol, bid_price="2610.14", ask_price="2610.17")])
    board.note([Health(exchange=exchange, symbol=symbol, channel="book", state="syncing")])
    console = Console(width=width, file=StringIO(), highlight=False)
    with console.capture() as drawn:
        console.print(board.table(10 * SECOND_NS, width))
    assert [line.rstrip() for line in drawn.get().splitlines()] == lines


def test_a_gap_tells_the_state_too() -> None:
    board = Board()
    gap = Gap(exchange="a", symbol="X/Y", channel="book", gap_id="1", phase="open", cause="disconnect", ts_from=1)
    seen = []
    for record in (
        Health(exchange="a", symbol="X/Y", channel="book", state="live"),
        gap,
        Health(exchange="a", symbol="X/Y", channel="book", state="syncing"),
        msgspec.structs.replace(gap, phase="close"),
    ):
        board.note([record])
        (state,) = board.table(SECOND_NS, 80).columns[-1].cells
        seen.append(str(state))
    assert seen == ["[green]live[/]", "suspect", "syncing", "[green]live[/]"]


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    with demo(tmp_path, "--rate", "200") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
    assert "Traceback" not in (tmp_path / "stderr").read_text()


@pytest.mark.parametrize("rate", ["-1", "nan", "many", "0"])
def test_a_rate_that_is_none_is_a_wrong_use(rate: str) -> None:
    done = CliRunner().invoke(command, ["--rate", rate])
    assert done.exit_code == 2
    assert "--rate" in done.stderr
