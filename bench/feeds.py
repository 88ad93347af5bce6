"""What each transport of the feed costs: processor time per record and client, of the server alone, in one run.

    python -m bench.feeds [--clients 20] [--rate 20000] [--seconds 3]

Records are published from memory in batches of ten, so many a second; the clients are processes of their own that only
count.
"""

import argparse
import asyncio
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop
from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.feed.address import UnixAddress, parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import Record, Trade
from bench.measure import MICRO, table

BATCH = 10
CHUNK_BYTES = 1 << 18
TRADE = Trade(
    exchange="binance", symbol="BTC/USDT", raw_symbol="BTCUSDT", conn="binance/main.1#1", source="ws", id="12345678",
    price="64000.10", size="0.00123", base_size="0.00123", side="buy", ts_event=1_764_000_000_000_000_000,
    ts_recv=1_764_000_000_010_000_000, sequence=12345678,
)  # fmt: skip
UPGRADE = (
    b"GET /feed HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
EVENTS = b"GET /events?topic=*:*:* HTTP/1.1\r\nHost: localhost\r\n\r\n"
SUBSCRIBE = b"*:*:*\n"


def connect(place: str, kind: str) -> socket.socket:
    """Connect one client, and let it subscribe to everything."""
    address = parse_address(place)
    if isinstance(address, UnixAddress):
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(address.path))
    else:
        line = socket.create_connection((address.host, address.port))
    if kind == "websocket":
        line.sendall(UPGRADE + bytes([0x81, 0x80 | len(SUBSCRIBE)]) + bytes(4) + SUBSCRIBE)
    else:
        line.sendall(EVENTS if kind == "events" else SUBSCRIBE)
    line.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return line


def read(place: str, kind: str, count: int) -> None:
    """Be so many clients until the feed ends; then say how many records came."""
    selector = selectors.DefaultSelector()
    lines = [connect(place, kind) for _ in range(count)]
    for line in lines:
        selector.register(line, selectors.EVENT_READ)
    print("ready", flush=True)
    records = 0
    while lines:
        for key, _ in selector.select():
            ready = key.fileobj
            assert isinstance(ready, socket.socket)  # noqa: S101 - for the type checker: nothing else is registered
            data = ready.recv(CHUNK_BYTES)
            records += data.count(b'"type":"trade"')
            if not data:
                selector.unregister(ready)
                lines.remove(ready)
    print(records, flush=True)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    while not is_so():  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0.01)


async def measure(place: str, kind: str, options: argparse.Namespace) -> tuple[float, float]:
    """Processor time of the server per record and client, in microseconds, and the share of records that arrived."""
    bus = Bus("bench")
    server = FeedServer(FeedSettings(listen=(parse_address(place),)), bus)
    await server.start()
    bus.attach(server.publish)
    command = [sys.executable, "-m", "bench.feeds", "--read", server.addresses[0], kind, str(options.clients)]
    reading = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert reading.stdout is not None  # noqa: S101 - for the type checker
    await reading.stdout.readline()
    await until(lambda: sum(bool(one.topics) for one in server.status().subscribers) == options.clients)
    count = int(options.rate * options.seconds) // BATCH
    batches: list[list[Record]] = [[structs.replace(TRADE) for _ in range(BATCH)] for _ in range(count)]
    began, cpu = time.perf_counter(), time.process_time()
    for number, batch in enumerate(batches):
        bus.publish(batch)
        ahead = began + number * BATCH / options.rate - time.perf_counter()
        await asyncio.sleep(max(ahead, 0))
    await until(lambda: not any(subscriber.queued_bytes for subscriber in server.status().subscribers))
    cpu = time.process_time() - cpu
    await server.stop(1)
    arrived = int(await reading.stdout.readline())
    await reading.wait()
    return cpu / (count * BATCH * options.clients) * MICRO, arrived / (count * BATCH * options.clients)


def main() -> None:
    """Measure every transport, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.feeds", description=__doc__)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rate", type=int, default=20_000, help="records a second")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", nargs=3, metavar=("ADDRESS", "KIND", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(options.read[0], options.read[1], int(options.read[2]))
        return
    with tempfile.TemporaryDirectory() as directory:
        places = {
            "unix": f"unix:{Path(directory) / 'feed.sock'}",
            "tcp": "tcp:127.0.0.1:0",
            "websocket": "http:127.0.0.1:0",
            "events": "http:127.0.0.1:0",
        }
        found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in places}
        for _ in range(options.rounds):
            for kind, place in places.items():
                found[kind].append(uvloop.run(measure(place, kind, options)))
    least = {kind: min(cost for cost, _ in rounds) for kind, rounds in found.items()}
    table(
        f"{options.clients} clients, {options.rate:,} records/s: the server's processor time",
        ("transport", "µs per record and client", "over unix", "arrived"),
        [[kind, f"{cost:.3f}", f"{cost / least['unix']:.2f}", f"{min(a for _, a in found[kind]):.2%}"]
         for kind, cost in least.items()],
    )  # fmt: skip


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[1]))
    main()
