"""An exchange on loopback that does nothing but send, and the subscriber who sees when its frames come out again.

One process is both, so that one clock tells the time from the send to the read. It speaks Binance's protocol over a
bare socket: the handshake and the frames are written here, so that the sender costs next to nothing.
"""

import argparse
import base64
import hashlib
import json
import re
import select
import socket
import statistics
import struct
import sys
import threading
import time
from array import array
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from bench.film import Film, wrap
from bench.frames import Capture, make

EXCHANGE = "binance"
FRAMES = 20_000  # in one turn of the film
SENT = re.compile(rb'"(?:E|ts_sent)":(\d{16,19})')
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CHUNK = 1 << 18
SETTLED = 0.7  # seconds without a line after which everything has come
WARM = 400  # frames before the measured ones
LEFT_OUT = 0.1  # of the latencies: the first ones


class Rest(ThreadingHTTPServer):
    """The listing and the whole books; remembers who asked."""

    def __init__(self, capture: Capture) -> None:
        """Listen."""
        super().__init__(("127.0.0.1", 0), RestAnswer)
        self.capture = capture
        self.fetched: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def listing(self) -> bytes:
        """The instruments, as the exchange lists them."""
        rows: list[dict[str, object]] = [
            {"symbol": raw_symbol, "baseAsset": pair.base, "quoteAsset": pair.quote, "status": "TRADING", "filters": []}
            for raw_symbol, pair in self.capture.instruments.items()
        ]
        return json.dumps({"symbols": rows}).encode()


class RestAnswer(BaseHTTPRequestHandler):
    """One answer."""

    server: Rest

    def do_GET(self) -> None:
        """Whatever path ends in `depth` is a book; every other one is the listing."""
        parts = urlsplit(self.path)
        symbol = parse_qs(parts.query).get("symbol", [""])[0]
        books = self.server.capture.snapshots
        body = books.get(symbol, b"{}") if parts.path.endswith("depth") else self.server.listing()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if symbol:
            self.server.fetched.add(symbol)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def accept(listener: socket.socket) -> socket.socket:
    """The next WebSocket, shaken hands with."""
    line, _ = listener.accept()
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b""
    while b"\r\n\r\n" not in request:
        request += line.recv(4096)
    (key,) = re.findall(rb"(?i)sec-websocket-key: *(\S+)", request)
    answer = base64.b64encode(hashlib.sha1(key + MAGIC).digest())  # noqa: S324 - the protocol's own
    line.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + answer + b"\r\n\r\n"
    )
    return line


def hear(line: socket.socket) -> bytes:
    """The next frame of a client, unmasked."""
    head = _exactly(line, 2)
    size = head[1] & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", _exactly(line, 2))
    mask = _exactly(line, 4)
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(_exactly(line, size)))


def _exactly(line: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = line.recv(count - len(found))
        if not part:
            raise ConnectionError("the client hung up")
        found += part
    return found


class Subscriber:
    """Reads records as they come out: how many, how late, how many it lost."""

    def __init__(self, path: str, *, feed: bool) -> None:
        """Connect; of a feed, take everything."""
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(path)
        if feed:
            self.line.sendall(b'{"op":"subscribe","topics":["*:*:*"],"snapshot":false}\n')
            while b'"subscribed"' not in self.line.recv(CHUNK):
                pass
        self.line.settimeout(0)
        self.lines = 0
        self.lags = 0
        self.last = time.monotonic()
        self.late = array("q")  # microseconds
        self._rest = b""

    def read(self) -> bool:
        """Read what is there; whether there was anything."""
        try:
            data = self.line.recv(CHUNK)
        except BlockingIOError:
            return False
        now = time.time_ns() // 1000
        self.last = time.monotonic()
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        self.lines += data.count(b"\n", 0, end)
        self.lags += data.count(b'"type":"lag"', 0, end)
        self.late.extend([now - int(sent[:16]) for sent in SENT.findall(data, 0, end)])
        return True

    def settle(self) -> float:
        """Read until no more comes; when the last came."""
        start = time.monotonic()
        while time.monotonic() < max(self.last, start) + SETTLED:
            if not self.read():
                time.sleep(0.001)
        return self.last


def send_at_once(line: socket.socket, film: Film, subscriber: Subscriber, count: int) -> None:
    """As fast as the other side reads."""
    us = time.time_ns() // 1000
    waiting = memoryview(b"".join(film.next(us) for _ in range(count)))
    line.settimeout(0)
    while waiting:
        readable, writable, _ = select.select([subscriber.line], [line], [], 1)
        if writable:
            waiting = waiting[line.send(waiting[:CHUNK]) :]
        if readable:
            subscriber.read()
    line.settimeout(None)


def send_evenly(line: socket.socket, film: Film, subscriber: Subscriber, count: int, rate: float, burst: int) -> None:
    """So many a second, in bursts of so many; reads all the while."""
    period = int(1e9 * burst / rate)
    due = time.monotonic_ns()
    for _ in range(count // burst):
        due += period
        while time.monotonic_ns() < due:
            subscriber.read()
        us = time.time_ns() // 1000
        line.sendall(b"".join([film.next(us) for _ in range(burst)]))


def quantiles(late: "array[int]") -> dict[str, float]:
    """p50, p99 and p99.9 in microseconds, without the first ones."""
    settled = late[int(len(late) * LEFT_OUT) :]
    if len(settled) < 1000:
        return {}
    cuts = statistics.quantiles(settled, n=1000)
    return {"p50": cuts[499], "p99": cuts[989], "p999": cuts[998]}


def say(**what: object) -> None:
    """One line for the process that started this one."""
    print(json.dumps(what), flush=True)


def converse(listener: socket.socket, rest: Rest, film: Film, *, bare: bool) -> socket.socket:
    """Have a client subscribe and its books joined."""
    line = accept(listener)
    if not bare:
        asked = json.loads(hear(line))
        say(subscribed=time.time())
        line.sendall(wrap(json.dumps({"result": None, "id": asked["id"]}).encode()))
    for _ in range(WARM):
        line.sendall(film.next(time.time_ns() // 1000))
        time.sleep(0.002)
    limit = time.monotonic() + 10
    while not bare and rest.fetched != set(rest.capture.snapshots) and time.monotonic() < limit:
        time.sleep(0.01)
    return line


def measure(line: socket.socket, film: Film, subscriber: Subscriber, asked: argparse.Namespace) -> None:
    """Send the load, and say what came of it."""
    del subscriber.late[:]
    lines, lags, start = subscriber.lines, subscriber.lags, time.monotonic()
    if asked.rate:
        send_evenly(line, film, subscriber, asked.count, asked.rate, asked.burst)
    else:
        send_at_once(line, film, subscriber, asked.count)
    end = subscriber.settle()
    say(
        sent=asked.count,
        seconds=end - start,
        lines=subscriber.lines - lines,
        lags=subscriber.lags - lags,
        **quantiles(subscriber.late),
    )


def options() -> argparse.Namespace:
    """What is asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", default="mixed")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=0)  # 0: as fast as it goes
    parser.add_argument("--burst", type=int, default=1)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--bare", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Serve one client, and send whenever told to."""
    asked = options()
    capture = make(EXCHANGE, asked.kind, FRAMES, walks=False)
    film, rest = Film(capture), Rest(capture)
    listener = socket.create_server(("127.0.0.1", 0))
    say(ws=listener.getsockname()[1], http=rest.server_port)
    line = converse(listener, rest, film, bare=asked.bare)
    subscriber = Subscriber(asked.socket, feed=not asked.bare)
    say(ready=True)
    for _ in sys.stdin:  # each line asks for the load once more; the line to the client is up all the while
        measure(line, film, subscriber, asked)


if __name__ == "__main__":
    main()
