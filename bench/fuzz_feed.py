"""Hostile clients of a feed, on every transport: `python -m bench.fuzz_feed SECONDS [SEED]`.

They send messages that are broken, and well-formed ones that ask for what cannot be. One client that behaves follows a
topic all the while, and must get every record of it. At the end all others are gone, and the memory is what it was.
"""

import asyncio
import gc
import json
import logging
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode

from aggregator.bus.bus import Bus
from aggregator.feed.access import Token, hash_of
from aggregator.feed.address import TcpAddress, UnixAddress, parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from aggregator.records import BookSnapshot, Trade
from aggregator.sinks.directory import lock_directory
from aggregator.sinks.journal.journal import Journal
from aggregator.sinks.journal.settings import JournalSettings
from aggregator.sinks.sink import LOCAL, Context

TOKEN = "t" * 43
CLIENTS = 8  # hostile ones at once
SETTLE_S = 40.0  # seconds until all are gone: one that showed a wrong token is looked at when its pause is over
AT_ONCE = struct.pack("ii", 1, 0)  # a close is a reset: one that merely ends is looked for within two minutes
TAIL = 100  # records that the journal has in memory: those that come while memory is looked at count as growth
LONGEST_TURN_S = 1.0  # in which others wait; `tracemalloc` doubles it
GROWTH_BYTES = 4 * 2**20  # what caches and buffers of libraries may keep
SEEDS = (
    b'{"op":"auth","token":"' + TOKEN.encode() + b'"}',
    b'{"op":"subscribe","id":1,"topics":["trades:*:*","book:alpha:*"],"snapshot":true,"numbers":"float","time":"iso"}',
    b'{"op":"subscribe","topics":["*:*:*"],"fields":["price"],"policy":"conflate"}',
    b'{"op":"subscribe","topics":["trades:*:*"],"from":"earliest","policy":"drop_oldest"}',
    b'{"op":"subscribe","topics":["book:*:*"],"from":{"epoch":"20260102T030405.000000Z","offset":7},"snapshot":false}',
    b'{"op":"subscribe","topics":["trades:*:*","book:*:*"],"policy":"lossless"}',
    b'{"op":"subscribe","topics":["book:alpha:BTC/USD"],"depth":10,"interval_ms":100}',
    b"bbo.book:alpha:* candles.1s.100ms:*:* consolidated.5s:*:BTC/USD book.3:*:*/USD",
    b'{"op":"hello","encoding":"msgpack","layout":"array","id":"x"}',
    b'{"op":"unsubscribe","topics":["trades:*:*"]}',
    b'{"op":"topics","topics":["book:*:*"],"states":true}',
    b'{"op":"snapshot","exchange":"alpha","symbol":"BTC/USD"}',
    b'{"op":"ping","id":9223372036854775807}',
    b"trades:alpha:* book:*:*/USD",
    b"*" * 300 + b":*:*",
    b"[" * 2000,
    b'{"op":"ping","id":' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
    b"x" * 70_000,
    b"\xff\xfe\x00",
    b"",
)
ALLOWED = b"Host: localhost\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
LOGIN = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
HEADS = (
    b"GET /topics?topic=book:*:*&states=true HTTP/1.1\r\n" + ALLOWED,
    b"GET /events?topic=trades:*:* HTTP/1.1\r\n" + ALLOWED,
    b"GET /book?exchange=alpha&symbol=BTC/USD HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /instruments?symbol=* HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST /feed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    LOGIN + b'55\r\n\r\n{"token":"' + TOKEN.encode() + b'"}',
    LOGIN + b'13\r\n\r\n{"token":"x"}',
    LOGIN + b"4000\r\n\r\n{",
    b"POST /logout HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nCookie: aggregator-1=x; a\r\n\r\n",
    b"GET /records?topic=trades:*:*&from=earliest&to=now&time=iso HTTP/1.1\r\n" + ALLOWED,
    b"GET /records?topic=book:alpha:*&from=1767323045000000000&to=1767323045000000001 HTTP/1.1\r\n" + ALLOWED,
    b"GET /events?topic=trades:*:*&from=now HTTP/1.1\r\nLast-Event-ID: k7cx\r\n" + ALLOWED,
    b"GET /ready HTTP/1.1\r\nHost: localhost\r\nCookie: aggregator-8791=" + b"x" * 43 + b"\r\n\r\n",
    b"OPTIONS /topics HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: GET\r\n\r\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
)
UPGRADE = (
    b"GET /feed HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


VALUES: tuple[object, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 2**70, 0.5, 1e308, "", "x" * 300, "\ud7ff", "\0", "true", "*", [], [[]] * 50,
    {},
    {"ts": -1}, {"ts": 2**70}, {"ts": 1, "epoch": "x", "offset": 1}, {"epoch": "", "offset": 2**63}, {"epoch": None},
    {"epoch": "20260102T030405.000000Z", "offset": -1}, ["price"] * 5000, ["price", None],
)  # fmt: skip
OPS = ("subscribe", "subscribe", "subscribe", "unsubscribe", "topics", "snapshot", "hello", "auth", "ping", "x", None)
TOPICS = (
    "*:*:*", "trades:*:*", "book:alpha:BTC/USD", "book:*:*/USD", "trades:alpha:*a*b*c*", "instruments:*:*", "gap:*:*",
    "bbo.book:alpha:*", "book.5.10ms:*:*", "book.9999:*:*", "candles.1s:*:*", "candles.0s:*:*",
    "candles.1000000quote:*:*",
    "consolidated:*:BTC/USD", "consolidated.tops:a*:*", "ticker.99999999ms:*:*", "x.y:*:*", ":::", "trades",
)  # fmt: skip
WORDS: dict[str, tuple[object, ...]] = {
    "id": (1, "a", None),
    "snapshot": (True, False),
    "from": ("earliest", "now", "kwG7MjAyNi4uLg", {"ts": 1}, {"epoch": "20260102T030405.000000Z", "offset": 0}),
    "to": ("now", "1767323045000000000"),
    "policy": ("drop_oldest", "conflate", "disconnect", "lossless"),
    "fields": ([], ["price"], ["type", "bids", "asks"]),
    "interval_ms": (10, 100, 9, 3_600_001),
    "depth": (1, 10, 9999, 10000),
    "numbers": ("text", "float"),
    "time": ("ns", "us", "ms", "iso"),
    "encoding": ("json", "msgpack"),
    "layout": ("object", "array"),
    "states": (True, False),
    "token": (TOKEN,),
    "exchange": ("alpha", "*"),
    "symbol": ("BTC/USD", "*"),
}
QUERIES = ("from", "to", "numbers", "time", "snapshot", "depth", "interval_ms", "states", "exchange", "symbol")


class Outcome(NamedTuple):
    """The end of a run.

    errors: lines of the log that tell of a mistake of ours
    longest: seconds of processor time from one record that was published to the next: so long nobody else had a turn
    """

    clients: int
    published: int
    received: int
    left: int
    grown: int
    longest: float
    errors: list[str]

    @property
    def is_good(self) -> bool:
        """Tell whether nobody was disturbed and nothing stayed."""
        whole = self.received == self.published > 0
        return whole and not (self.left or self.errors) and self.grown < GROWTH_BYTES and self.longest < LONGEST_TURN_S


class Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line, with its exception."""
        self.found.append(logging.Formatter().format(record))


def mutated(chance: random.Random, data: bytes) -> bytes:
    """A message as somebody hostile might send it; one in four as it is."""
    out = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 4))):
        at = chance.randrange(len(out) + 1)
        match chance.randrange(5):
            case 0:
                out[at:at] = chance.randbytes(chance.randrange(1, 8))
            case 1:
                del out[at : at + chance.randrange(1, 20)]
            case 2:
                out[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                out[at:at] = out[at : at + 40] * chance.randrange(1, 30)
            case _:
                out[at:at] = chance.choice((b"\n", b"null", b"1e999", b"-1", b'"', b"\\ud800", b"{", b"\0", b"true"))
    return bytes(out)


def request(chance: random.Random) -> bytes:
    """A request whose words are right, mostly, and whose values are not."""
    values = {name: some if chance.random() < 0.6 else VALUES for name, some in WORDS.items()}
    keys = chance.sample(list(WORDS), chance.randrange(1, 6))
    said = {"op": chance.choice(OPS), "topics": [chance.choice(TOPICS)], **{k: chance.choice(values[k]) for k in keys}}
    return json.dumps(said).encode()


def query(chance: random.Random) -> bytes:
    """A request over HTTP of the same kind, or a login."""
    if chance.random() < 0.3:
        body = json.dumps({"token": chance.choice([TOKEN, *VALUES])}).encode()
        return b"%b%d\r\n\r\n%b" % (LOGIN, len(body), body)
    values = [chance.choice([*WORDS[name], *VALUES]) for name in QUERIES]
    asked = {name: value for name, value in zip(QUERIES, values, strict=True) if chance.random() < 0.5}
    topics = "&".join(f"topic={quote(topic)}" for topic in chance.sample(TOPICS, 2))
    parameters = urlencode({name: v if isinstance(v, str) else json.dumps(v) for name, v in asked.items()})
    place = chance.choice(("/records", "/events", "/topics", "/feed", "/book", "/instruments"))
    return f"GET {place}?{topics}&{parameters} HTTP/1.1\r\n".encode(errors="replace") + ALLOWED


def said(chance: random.Random) -> bytes:
    """One message."""
    made = request(chance) if chance.random() < 0.5 else chance.choice(SEEDS)
    return mutated(chance, made) if chance.random() < 0.7 else made


def lines(chance: random.Random) -> bytes:
    """Some messages, one a line."""
    begin = SEEDS[0] + b"\n" if chance.random() < 0.7 else b""
    return begin + b"\n".join(said(chance) for _ in range(chance.randrange(1, 8))) + b"\n"


def frames(chance: random.Random) -> bytes:
    """A WebSocket's opening and frames, mostly well-formed, of which the contents are not."""
    out = bytearray(UPGRADE if chance.random() < 0.9 else mutated(chance, UPGRADE))
    for _ in range(chance.randrange(1, 8)):
        payload = said(chance)
        first = chance.choice((0x81, 0x81, 0x81, 0x82, 0x01, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xF1, chance.randrange(256)))
        size = len(payload) if chance.random() < 0.95 else chance.randrange(1 << 40)
        length = bytes([0x80 | size]) if size < 126 else b"\xff" + size.to_bytes(8, "big")
        out += bytes([first]) + length + bytes(4) + payload
    return bytes(out)


def heads(chance: random.Random) -> bytes:
    """Requests over HTTP, one behind the other."""
    return b"".join(
        query(chance) if chance.random() < 0.5 else mutated(chance, chance.choice(HEADS))
        for _ in range(chance.randrange(1, 4))
    )


async def attack(
    address: str, say: Callable[[random.Random], bytes], chance: random.Random, tls: ssl.SSLContext | None
) -> None:
    """Be one hostile client, for a moment."""
    place = parse_address(address)
    if isinstance(place, UnixAddress):
        reader, writer = await asyncio.open_unix_connection(place.path)
    else:
        is_crowd = chance.random() < 0.25  # some come from where too many are already
        origin = ("127.1.0.1" if is_crowd else f"127.0.{chance.randrange(256)}.{chance.randrange(1, 255)}", 0)
        kind = tls if chance.random() < 0.9 else None
        reader, writer = await asyncio.open_connection(place.host, place.port, ssl=kind, local_addr=origin)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    try:
        data = say(chance)
        cut = chance.randrange(len(data) + 1)
        writer.write(data[:cut])
        await asyncio.sleep(chance.choice((0, 0, 0.002)))
        writer.write(data[cut:])
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.choice((0, 0.01, 0.05))):
                while await reader.read(65536):
                    pass
    finally:
        writer.transport.abort()


async def follow(path: Path, until: Callable[[], int | None]) -> int:
    """Count the records that a client of good manners gets."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**24)
    writer.write(b"trades:alpha:BTC/USD\n")
    count = 0
    while (last := until()) is None or count < last:
        try:
            async with asyncio.timeout(2):
                line = await reader.readline()
        except TimeoutError:
            if until() is not None:
                break
            continue  # this machine may have been busy elsewhere for so long
        count += b'"trade"' in line
    writer.transport.abort()
    return count


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate that is made for now, in one file with its key, and a client's side of it."""
    path = folder / "both.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    made = [*command, "-subj", "/CN=localhost", "-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run(made, check=True, capture_output=True)  # noqa: S603 - the words stand above
    path.write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return path, context


async def fuzz(  # noqa: PLR0915 - one scenario, from its beginning to its end
    seconds: float, seed: int, folder: Path, *, is_secure: bool
) -> Outcome:
    """Attack a feed on all its transports for so long."""
    gc.collect()
    gc.freeze()  # what the process held before is not looked at again below, which would be taken for a long turn
    errors = Errors()
    logging.getLogger().addHandler(errors)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: errors.found.append(str(context)))
    pem, tls = certificate(folder) if is_secure else (None, None)
    path = folder / "feed.sock"
    bus = Bus("20260102T030405.000000Z")
    (folder / "journal").mkdir()
    journal = Journal(
        JournalSettings(path=folder / "journal"),
        Context("journal", bus, time.time_ns, LOCAL),
        lock_directory(folder / "journal"),
        tail_records=TAIL,
    )
    await journal.begin_life()
    bus.history = journal
    bus.attach(journal.write)
    listen = (UnixAddress(path), TcpAddress("127.0.0.1", 0), TcpAddress("127.0.0.1", 0, "http"))
    tokens = (Token("one", hash_of(TOKEN)),)
    settings = FeedSettings(listen=listen, tokens=tokens, tls_certificate=pem, tls_key=pem, max_clients_per_address=1)
    server = FeedServer(settings, bus)
    await server.start()
    bus.attach(server.publish)
    unix, tcp, http = server.addresses
    chance = random.Random(seed)
    ways = [(unix, lines), (tcp, lines), (http, frames), (http, heads), (tcp, heads), (http, lines)]
    published, clients, is_over, end, longest = 0, 0, False, 0.0, 0.0
    following = asyncio.ensure_future(follow(path, lambda: published if is_over else None))
    while not any(one.topics for one in server.status().subscribers):  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.01)

    async def publish() -> None:
        nonlocal published, longest
        ran = time.process_time()
        side = [("1", "2")]
        while not is_over:
            book = BookSnapshot(exchange="alpha", symbol="BTC/USD", raw_symbol="BTCUSD", bids=side, asks=side)
            trade = Trade(exchange="alpha", symbol="BTC/USD", raw_symbol="BTCUSD", ts_recv=1, price="1.5", size="1")
            bus.publish([trade, book])
            published += 1
            await asyncio.sleep(0.005)
            longest, ran = max(longest, time.process_time() - ran), time.process_time()

    async def hostile() -> None:
        nonlocal clients
        while loop.time() < end:
            address, say = chance.choice(ways)
            with suppress(OSError, asyncio.IncompleteReadError):
                await attack(address, say, chance, None if address == unix else tls)
            clients += 1

    async def wave(until: float) -> None:
        nonlocal end
        end = until
        await asyncio.gather(*(hostile() for _ in range(CLIENTS)))
        async with asyncio.timeout(SETTLE_S):
            while len(server.status().subscribers) > 1:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.05)
        gc.collect()

    publishing = asyncio.ensure_future(publish())
    await wave(loop.time() + seconds / 2)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    await wave(loop.time() + seconds / 2)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    is_over = True
    await publishing
    received = await following
    left = len(server.status().subscribers)
    await asyncio.sleep(0.1)
    left = len(server.status().subscribers)
    await server.stop(0)
    await journal.close()
    logging.getLogger().removeHandler(errors)
    gc.unfreeze()
    return Outcome(clients, published, received, left, grown, longest, errors.found)


def main() -> None:
    """Do one run without TLS and one with it, and say how they went."""
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else int.from_bytes(os.urandom(4), "big")
    for is_secure in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            outcome = asyncio.run(fuzz(seconds / 2, seed, Path(folder), is_secure=is_secure))
        said = outcome._replace(errors=outcome.errors[:5])._asdict()
        print(json.dumps({"seed": seed, "tls": is_secure, "good": outcome.is_good, **said}))
        if not outcome.is_good:
            sys.exit(1)


if __name__ == "__main__":
    main()
