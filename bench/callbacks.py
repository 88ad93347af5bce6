"""From a socket to a Python callback: ours beside nautilus_trader's client, which is Rust, on the same frames in turns.

One server on loopback speaks OKX's protocol to both at once and sends each the same frames in the same bursts, now to
one, now to the other. Both have one processor between them, and only one has work at a time; what counts is the
processor time of all threads of a process, per frame.
"""

import json
import os
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from bench.daemon import heard, processor_time, tell
from bench.film import wrap
from bench.frames import Capture, make
from bench.market import PAIRS
from bench.measure import MICRO, pinned, processors, table
from bench.simulator import accept, hear

HERE = Path(__file__).parent
EXCHANGE = "okx"
FRAMES = 5_000  # in a turn
TURNS = 7  # of each program at a load; the first warms up
PACES = (("evenly, 10,000 a second", 10_000, 1), ("bursts of 10, 10,000 a second", 10_000, 10),
         ("bursts of 50, 20,000 a second", 20_000, 50), ("as fast as it goes", 0, 50))  # fmt: skip
PATIENCE_S = 60.0  # for what was sent to come through
LOOK_S = 0.1  # between two looks at whether it has


class Row(Struct):
    """One load through both: microseconds of processor time per frame, and theirs over ours turn by turn."""

    name: str
    kind: str
    ours: float
    theirs: float
    ratio: float
    range: tuple[float, float]

    def cells(self) -> list[object]:
        """The row of the table."""
        return [self.name, self.kind, self.ours, self.theirs, self.ratio, "{:.1f} to {:.1f}".format(*self.range)]


class Rest(ThreadingHTTPServer):
    """The instruments of a capture and its whole books, as OKX tells them."""

    def __init__(self, capture: Capture) -> None:
        """Listen."""
        super().__init__(("127.0.0.1", 0), RestAnswer)
        said = [json.loads(frame) for frame in capture.opening]
        self.books = {each["arg"]["instId"]: each["data"] for each in said}
        markets = zip(capture.instruments, PAIRS, strict=True)
        self.rows = [
            {
                "instType": "SPOT",
                "instId": raw_symbol,
                "state": "live",
                "baseCcy": pair.base,
                "quoteCcy": f"{pair.quote}T",
            }
            | {"tickSz": pair.price(1), "lotSz": pair.size(1), "minSz": pair.size(1)}
            for raw_symbol, pair in markets
        ]
        threading.Thread(target=self.serve_forever, daemon=True).start()


class RestAnswer(BaseHTTPRequestHandler):
    """One answer: a book, pairs of spot, or nothing of any other type."""

    server: Rest

    def do_GET(self) -> None:
        """Answer."""
        query = {key: value for key, (value,) in parse_qs(urlsplit(self.path).query).items()}
        rows = self.server.rows if query.get("instType") == "SPOT" else self.server.books.get(query.get("instId"), [])
        body = json.dumps({"code": "0", "data": rows}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Client:
    """One of the two programs: its process, and the line to it."""

    def __init__(self, name: str, process: subprocess.Popen[str], line: socket.socket) -> None:
        """Have nothing sent yet."""
        self.name = name
        self._process = process
        self._line = line

    def begin(self, capture: Capture) -> None:
        """Accept its subscriptions until it has one for each market, and have it begin its books, where they are sent.

        Raises ConnectionError when it hangs up, RuntimeError when it ends or makes nothing of the books.
        """
        wanted = len(capture.instruments)
        while wanted:
            wanted -= self._heed()
        for frame in capture.opening:
            self._line.sendall(wrap(frame))
        self._wait(len(capture.opening))

    def _heed(self) -> int:
        """Answer the next frame of it: how many subscriptions that was."""
        asked = hear(self._line)
        if asked == b"ping":
            self._line.sendall(wrap(b"pong"))
            return 0
        args = json.loads(asked)["args"]
        for arg in args:
            self._line.sendall(wrap(json.dumps({"event": "subscribe", "arg": arg, "connId": "a4d3ae55"}).encode()))
        return len(args)

    def given(self, frames: Sequence[bytes], rate: float, burst: int) -> float:
        """Send these and wait until all have come: the microseconds of each. Raises RuntimeError where some do not."""
        while select.select([self._line], [], [], 0)[0]:
            self._heed()
        before, (start, _) = self._objects(), processor_time(self._process.pid)
        due, period = time.monotonic_ns(), int(1e9 * burst / rate) if rate else 0
        for at in range(0, len(frames), burst):
            due += period
            while time.monotonic_ns() < due:
                pass
            self._line.sendall(b"".join(map(wrap, frames[at : at + burst])))
        self._wait(before + len(frames))
        return (processor_time(self._process.pid)[0] - start) / len(frames) * MICRO

    def _wait(self, due: int) -> None:
        """Wait until so many objects have come in all."""
        limit = time.monotonic() + PATIENCE_S
        while (came := self._objects()) < due and time.monotonic() < limit:
            time.sleep(LOOK_S)
        if came != due:
            raise RuntimeError(f"{self.name}: {came} objects came, and {due} were due")

    def _objects(self) -> int:
        """How many have come to its callback. Raises RuntimeError when it has ended."""
        tell(self._process)
        return int(heard(self._process)["objects"])


def report(python: Path) -> list[Row]:
    """Measure with the interpreter that has nautilus_trader, and print the table; what fails is named and left out."""
    rows = []
    for kind in ("trade", "book"):
        capture = make(EXCHANGE, kind, FRAMES * TURNS)
        for name, rate, burst in PACES:
            print(f"to a callback: {name}, {kind}", file=sys.stderr)
            try:
                rows.append(compare(python, capture, name, rate, burst))
            except (RuntimeError, ConnectionError) as error:
                print(f"{name}, {kind}: left out: {error}")
    head = ["sent", "frames", "ours", "nautilus_trader", "ratio", "range"]
    table(
        "socket to Python callback, OKX: µs of processor time per frame, all threads",
        head,
        [row.cells() for row in rows],
    )
    return rows


def compare(python: Path, capture: Capture, name: str, rate: float, burst: int) -> Row:
    """One load through both. Raises RuntimeError or ConnectionError where one of them ends or lacks something."""
    ours, theirs = [list[float]() for _ in range(2)]
    with ExitStack() as stack:
        busy, rest = processors()
        stack.enter_context(pinned(rest))
        clients = [
            stack.enter_context(running(program, command, capture, busy))
            for program, command in commands(python, capture.kind).items()
        ]
        for turn in range(TURNS):
            frames = capture.frames[turn * FRAMES : (turn + 1) * FRAMES]
            pairs = list(zip(clients, (ours, theirs), strict=True))
            for client, found in pairs if turn % 2 else reversed(pairs):
                found.append(client.given(frames, rate, burst))
    ratios = [their / our for our, their in zip(ours[1:], theirs[1:], strict=True)]
    spread = min(ratios), max(ratios)
    return Row(name, capture.kind, min(ours[1:]), min(theirs[1:]), statistics.median(ratios), spread)


def commands(python: Path, kind: str) -> dict[str, list[str]]:
    """How each program is started, but for the addresses."""
    markets = [f"{pair.base}-{pair.quote}T:{pair.tick}:{pair.step}" for pair in PAIRS]
    return {
        "ours": [sys.executable, "-m", "bench.callback_of_ours", "{ws}", "{http}", kind],
        "nautilus_trader": [str(python), "-P", str(HERE / "callback_of_nautilus.py"), "{ws}", kind, *markets],
    }


@contextmanager
def running(name: str, command: Sequence[str], capture: Capture, processor: int) -> Iterator[Client]:
    """One program on one processor, connected, with every market subscribed and its books there; ended at the end."""
    with ExitStack() as stack:
        rest = Rest(capture)
        stack.callback(rest.server_close)
        stack.callback(rest.shutdown)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(PATIENCE_S)
        addresses = {
            "ws": f"ws://127.0.0.1:{listener.getsockname()[1]}",
            "http": f"http://127.0.0.1:{rest.server_port}",
        }
        pipe = subprocess.PIPE
        words = [word.format(**addresses) for word in command]
        process = subprocess.Popen(words, text=True, stdin=pipe, stdout=pipe)  # noqa: S603 - this repository's, or installed by it
        stack.callback(ended, process)
        os.sched_setaffinity(process.pid, {processor})
        line = stack.enter_context(accept(listener))
        client = Client(name, process, line)
        client.begin(capture)
        yield client


def ended(process: subprocess.Popen[str]) -> None:
    """End a process; by force where it does not heed the end of its input."""
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
