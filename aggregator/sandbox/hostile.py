"""An exchange that has gone wrong or means harm: what it sends over a connection, and how it answers.

Every size stands just above a bound of this very program, taken from it: what is tried are our own guards.
"""

import asyncio
import copy
import json
import re
import ssl
import subprocess
import tempfile
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

from aiohttp import web

from aggregator.ingest.bounds import MOST_INSTRUMENTS
from aggregator.ingest.lines import LARGEST_FRAME_BYTES, MOST_FRAGMENTS, Large
from aggregator.ingest.weight import ELEMENT_BYTES, LARGEST_BODY_BYTES, LARGEST_DECODED_BYTES
from aggregator.simulation import Heard, Market, Simulation

TEXT, BINARY, CONTINUATION, CLOSE, PING = 1, 2, 0, 8, 9
BLOCK_BYTES = 2**16
WAITING_BYTES = 2**18  # so much may wait in the line before more is made
BURST = 1000  # frames of a flood that are made together
DEPTH = 100_000
WIDTH = 100_000
DIGITS = 1_000_000
INSTRUMENTS = 6 * MOST_INSTRUMENTS
MORE = 4000  # headers of a thousand bytes, of an answer that does not end
SLOW_S = 0.2  # between two bytes
PAUSE_S = 0.5  # after something at which a reader is to hang up
GRACE_S = 2.0  # between the word that a connection ends and its end
ESCAPES = "\x1b[2J\x1b]0;owned\x07\r\nERROR forged line\x9b31m\u202e\x00"
NUMBER = re.compile(rb"(?<=[:\[\"])\d+(?:\.\d+)?(?=[,\]}\"])")
ROW = re.compile(rb"(?<=\[)(?:\[[^\[\]{}]*\]|\{[^{}]*\})")  # the first of a list, which holds none itself
SHORT = b'["1","2"]'
REASON = re.compile(rb'("(?:msg|message|reason|error|errorMessage)":)"[^"]*"')
PASSING = b"Too many requests, please try again later"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, packed: bool = False) -> bytes:
    """A frame as a server sends it."""
    return header(opcode, len(payload), fin=fin, packed=packed) + payload


def header(opcode: int, size: int, *, fin: bool = True, packed: bool = False) -> bytes:
    """The beginning of a frame of so many bytes, https://www.rfc-editor.org/rfc/rfc6455#section-5.2 ."""
    first = (0x80 if fin else 0) | (0x40 if packed else 0) | opcode
    if size < 126:
        return bytes((first, size))
    if size < 2**16:
        return bytes((first, 126)) + size.to_bytes(2)
    return bytes((first, 127)) + size.to_bytes(8)


class Wire:
    """A client's line, to which bytes are written that no library would send.

    latest: the latest good frame that was sent
    """

    def __init__(self, transport: asyncio.Transport, simulation: Simulation, markets: Mapping[str, Market]) -> None:
        """Take over an open WebSocket."""
        self.simulation = simulation
        self.markets = markets
        self.latest = b""
        self.transport = transport
        self.lock = asyncio.Lock()  # whoever sends a frame that is not whole at once holds it
        self.is_packed = False  # True: permessage-deflate was agreed upon

    async def send(self, *parts: bytes) -> None:
        """Write these bytes, when the reader has taken most of those before them."""
        async with self.lock:
            for part in parts:
                await self.write(part)

    async def good(self) -> bytes:
        """The latest good frame, once there was one."""
        while not self.latest and not self.transport.is_closing():  # noqa: ASYNC110 - a moment
            await asyncio.sleep(0.05)
        return self.latest

    async def write(self, part: bytes) -> None:
        """Write one part, while holding the lock. Raises ConnectionError where nobody reads any more."""
        while self.transport.get_write_buffer_size() > WAITING_BYTES and not self.transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        if self.transport.is_closing():
            raise ConnectionResetError
        self.transport.write(part)


# --- what it sends ----------------------------------------------------------------------------------------------------


async def fragments(wire: Wire) -> None:
    """A good message in very small parts; it must arrive."""
    message = wire.simulation.idle
    parts = [frame(TEXT, fin=False)]
    for at in range(len(message)):
        parts += [frame(CONTINUATION, message[at : at + 1], fin=False), frame(CONTINUATION, fin=False)]
    await wire.send(b"".join([*parts, frame(CONTINUATION)]))


async def empty_fragments(wire: Wire) -> None:
    """Many more parts than one message may have, and no byte in them."""
    await wire.send(frame(TEXT, fin=False), *[frame(CONTINUATION, fin=False) * BURST] * (MOST_FRAGMENTS // BURST + 2))
    await asyncio.sleep(PAUSE_S)


async def endless_fragments(wire: Wire) -> None:
    """Parts of which each is small enough."""
    part = frame(CONTINUATION, b" " * BLOCK_BYTES, fin=False)
    await wire.send(frame(TEXT, fin=False), *[part] * (LARGEST_FRAME_BYTES // BLOCK_BYTES + 2))
    await asyncio.sleep(PAUSE_S)


def flood(opcode: int, payload: bytes) -> Callable[[Wire], Awaitable[None]]:
    """A function that sends one short frame again and again, at full speed."""

    async def send(wire: Wire) -> None:
        await wire.send(frame(opcode, payload) * BURST)

    return send


async def idle(wire: Wire) -> None:
    """A good frame, at full speed."""
    await wire.send(frame(TEXT, wire.simulation.idle) * BURST)


async def pings(wire: Wire) -> None:
    """Pings whose answers nobody reads: a client that keeps all of its answers fills its memory."""
    wire.transport.pause_reading()
    await wire.send(frame(PING, b"p" * 125) * BURST)


async def deep(wire: Wire) -> None:
    """Lists in lists, and objects in objects."""
    await wire.send(frame(TEXT, b"[" * DEPTH + b"]" * DEPTH), frame(TEXT, b'{"data":' * DEPTH + b"1" + b"}" * DEPTH))


async def wide(wire: Wire) -> None:
    """An object and a list of many elements each."""
    keys = b",".join(b'"k%d":%d' % (n, n) for n in range(WIDTH))
    rows = b",".join([b'["1","2"]'] * WIDTH)
    await wire.send(frame(TEXT, b"{%s}" % keys), frame(TEXT, b'{"data":[%s]}' % rows))


def rows(excess: int) -> Callable[[Wire], Awaitable[None]]:
    """The latest message that has rows, with about as many as a reader takes, and so many more."""

    async def send(wire: Wire) -> None:
        good = await wire.good()
        if ROW.search(good):
            await wire.send(
                frame(TEXT, multiply(good, Large.most_values, Large.most_rows, LARGEST_FRAME_BYTES, excess))
            )
        await asyncio.sleep(PAUSE_S / 10)

    return send


async def dense(wire: Wire) -> None:
    """The latest message that has rows, with as many as are not weighed yet."""
    good = await wire.good()
    if ROW.search(good):
        await wire.send(frame(TEXT, multiply(good, Large.most_values, Large.most_rows, Large.above_bytes, -100)))


async def digits(wire: Wire) -> None:
    """A good frame, but its numbers have very many digits."""
    await wire.send(frame(TEXT, lengthen(await wire.good())))
    await asyncio.sleep(PAUSE_S)


async def bomb(wire: Wire) -> None:
    """A bomb, packed by the protocol where that was agreed upon, and else by gzip, as some exchanges do."""
    if wire.is_packed:
        await wire.send(frame(TEXT, packed(LARGEST_FRAME_BYTES, -15)[:-4], packed=True))
    else:
        await wire.send(frame(BINARY, packed(LARGEST_FRAME_BYTES, 31)))
    await asyncio.sleep(PAUSE_S)


async def oversized(wire: Wire) -> None:
    """A frame that is one byte too long."""
    blocks = [b" " * BLOCK_BYTES] * (LARGEST_FRAME_BYTES // BLOCK_BYTES + 1)
    await wire.send(header(TEXT, LARGEST_FRAME_BYTES + 1), *blocks)
    await asyncio.sleep(PAUSE_S)


async def trickle(wire: Wire) -> None:
    """A whole frame after many seconds."""
    async with wire.lock:
        for byte in frame(TEXT, wire.latest or wire.simulation.idle):
            await wire.write(bytes((byte,)))
            await asyncio.sleep(SLOW_S / 4)


async def escapes(wire: Wire) -> None:
    """Names and reasons that would clear a terminal and forge a line of a log."""
    wrong = json.dumps(ESCAPES)[1:-1].encode()
    said = await wire.good()
    for symbol in wire.markets:
        said = said.replace(symbol.encode(), wrong)
    reason = ESCAPES.encode()[:120]
    await wire.send(frame(TEXT, said), frame(TEXT, b'{"event":"error","code":"1","msg":"%s"}' % wrong))
    await asyncio.sleep(PAUSE_S)
    await wire.send(frame(CLOSE, (1001).to_bytes(2) + reason))
    await asyncio.sleep(PAUSE_S)
    wire.transport.close()


async def announced(wire: Wire) -> None:
    """Say in the protocol's words, and in a close frame, that the connection ends, and end it."""
    if wire.simulation.farewell:
        await wire.send(frame(TEXT, wire.simulation.farewell))
        await asyncio.sleep(GRACE_S)
    await wire.send(frame(CLOSE, (1012).to_bytes(2) + b"service restart"))
    await asyncio.sleep(PAUSE_S)
    wire.transport.close()


SENDERS: Mapping[str, Callable[[Wire], Awaitable[None]]] = {
    "fragments": fragments,
    "empty_fragments": empty_fragments,
    "endless_fragments": endless_fragments,
    "rubbish": flood(TEXT, b"\xff"),
    "empty": flood(TEXT, b""),
    "idle": idle,
    "pings": pings,
    "deep": deep,
    "wide": wide,
    "heavy": rows(-2),
    "dense": dense,
    "crowded": rows(2),
    "digits": digits,
    "bomb": bomb,
    "oversized": oversized,
    "trickle": trickle,
    "escapes": escapes,
    "announced": announced,
}


# --- how it refuses ---------------------------------------------------------------------------------------------------


def refuse(kind: str, simulation: Simulation, asked: bytes, now: int) -> Heard:
    """The exchange's own words to who asks for markets that it does not have, changed as the kind wants."""
    heard = simulation.hear(asked, {}, now)
    return Heard([_refusal(kind, reply) for reply in heard.replies])


def _refusal(kind: str, reply: bytes) -> bytes:
    if kind == "refuse_passing":
        return REASON.sub(rb'\1"%s"' % PASSING, reply)
    if kind == "refuse_unnamed":
        unnamed = re.sub(rb'"(id|req_id|symbol|instId)":("[^"]*"|\d+)', rb'"\1":null', reply)
        return REASON.sub(rb'\1"not possible"', unnamed)
    if kind == "refuse_escapes":
        wrong = json.dumps(ESCAPES)[1:-1].encode()
        return REASON.sub(lambda found: found[0][:-1] + wrong + b'"', reply)
    return reply


# --- how it answers ---------------------------------------------------------------------------------------------------


async def answer(kind: str, request: web.Request, body: bytes) -> web.StreamResponse:
    """A request that would be answered well with `body` is answered otherwise."""
    simple = ANSWERS.get(kind)
    if simple is not None:
        return simple(request, body)
    if kind in {"handshake_slow", "rest_slow"}:
        return await _slowly(request)
    if kind in {"handshake_silent", "rest_silent"}:
        return await _never(request)
    if kind in RAW:
        return await _raw(request, RAW[kind])
    if kind == "rest_large":
        return await _stream(request, [b" " * BLOCK_BYTES] * (LARGEST_BODY_BYTES // BLOCK_BYTES + 1))
    return web.Response(body=packed(LARGEST_BODY_BYTES, 31), headers={"Content-Encoding": "gzip"}, content_type=JSON)


def _elsewhere(request: web.Request, _: bytes) -> web.Response:
    return web.Response(status=302, headers={"Location": f"http://localhost:{request.url.port}/elsewhere.example/"})


def _itself(request: web.Request, _: bytes) -> web.Response:
    return web.Response(status=302, headers={"Location": str(request.url)})


def _busy(_: web.Request, __: bytes) -> web.Response:
    return web.Response(status=429, headers={"Retry-After": "2"}, text="too many connections")


def _error(_: web.Request, __: bytes) -> web.Response:
    return web.json_response({"code": 50001, "msg": ESCAPES, "error": [ESCAPES], "message": ESCAPES})


def _rows(excess: int) -> Callable[[web.Request, bytes], web.Response]:
    def answer_with(_: web.Request, body: bytes) -> web.Response:
        most = LARGEST_DECODED_BYTES // (ELEMENT_BYTES + len(SHORT))
        few = ROW.sub(SHORT, body, count=1)
        return web.Response(body=multiply(few, most, most, LARGEST_BODY_BYTES, excess), content_type=JSON)

    return answer_with


def _deep(_: web.Request, __: bytes) -> web.Response:
    return web.Response(body=b"[" * DEPTH + b"]" * DEPTH, content_type=JSON)


def _digits(_: web.Request, body: bytes) -> web.Response:
    return web.Response(body=lengthen(body), content_type=JSON)


JSON = "application/json"
ANSWERS: Mapping[str, Callable[[web.Request, bytes], web.Response]] = {
    "handshake_429": _busy,
    "handshake_redirect": _elsewhere,
    "rest_redirect": _elsewhere,
    "rest_loop": _itself,
    "rest_error": _error,
    "rest_heavy": _rows(-100),
    "rest_crowded": _rows(100),
    "rest_deep": _deep,
    "rest_digits": _digits,
    "rest_listing": lambda _, body: web.Response(body=body, content_type=JSON),
}
RAW: Mapping[str, Iterable[bytes]] = {
    "handshake_endless": [b"HTTP/1.1 101 Switching Protocols\r\n", *[b"X-More: %s\r\n" % (b"x" * 1000)] * MORE],
    "handshake_cut": [],
    "handshake_junk": [b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(range(256)) * 16],
    "handshake_escapes": [
        b"HTTP/1.1 403 \x1b[2JForbidden\x07\r\nContent-Length: 5\r\nX-Reason: \x1b[31m\r\n\r\n\x1b[2J\n",
    ],
    "rest_short": [b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"symbols":['],
    "rest_long": [b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}{"symbols":[]}'],
}


async def _raw(request: web.Request, parts: Iterable[bytes]) -> web.StreamResponse:
    """Bytes that are no answer, or not quite one; then the connection ends."""
    transport = request.transport
    for part in parts:
        if transport is None or transport.is_closing():
            break
        transport.write(part)
        if transport.get_write_buffer_size() > WAITING_BYTES:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.1)
    if transport is not None:
        transport.close()
    return web.Response()  # nobody gets it: the connection is closed


async def _slowly(request: web.Request) -> web.StreamResponse:
    """A body of which a byte comes now and then; nobody waits for its end."""
    transport = request.transport
    start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Slow: "
    is_upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
    for byte in (upgrade if is_upgrade else start) + b"x" * 1000:
        if transport is None or transport.is_closing():
            break
        transport.write(bytes((byte,)))
        await asyncio.sleep(SLOW_S)
    if transport is not None:
        transport.close()
    return web.Response()  # nobody gets it: the connection is closed


async def _never(request: web.Request) -> web.StreamResponse:
    """Nothing, until the other side has had enough."""
    transport = request.transport
    while transport is not None and not transport.is_closing():  # noqa: ASYNC110 - nothing tells of the end
        await asyncio.sleep(SLOW_S)
    return web.Response()  # nobody gets it


async def _stream(request: web.Request, parts: Iterable[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": JSON})
    await response.prepare(request)
    for part in parts:
        await response.write(part)
    await response.write_eof()
    return response


# --- what it is made of -----------------------------------------------------------------------------------------------


def lengthen(good: bytes) -> bytes:
    """Give the message with a million digits in its first numbers: an integer, and the digits after a point."""
    whole, part = b"7" * DIGITS, b"0." + b"7" * DIGITS
    longer = iter((whole, part))
    return NUMBER.sub(lambda _: next(longer), good, count=2)


def multiply(good: bytes, values: int, rows: int, size: int, excess: int) -> bytes:
    """Give the message with its first row repeated until one of these bounds is reached, and `excess` times more.

    Rows that are lists of numbers differ in the first, like the prices of a book.
    """
    found = ROW.search(good)
    if found is None:
        return good
    row = found[0]
    more = row.count(b"[") + row.count(b"{")
    number = NUMBER.search(row) if row[:1] == b"[" else None
    longest = len(row) + len(str(rows)) + 1
    count = min(values // (row.count(b",") + 1), rows // more, size // longest) + excess
    if number is None:
        copies = [row] * count
    else:
        head, tail = row[: number.start()], row[number.end() :]
        copies = [b"%s%d%s" % (head, n, tail) for n in range(1, count + 1)]
    return good[: found.start()] + b",".join(copies) + good[found.end() :]


@cache
def packed(size: int, wbits: int) -> bytes:
    """Bytes that unpack to one more than this."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    parts = [packer.compress(b" " * BLOCK_BYTES) for _ in range(size // BLOCK_BYTES)]
    return b"".join([*parts, packer.compress(b" "), packer.flush(zlib.Z_SYNC_FLUSH if wbits < 0 else zlib.Z_FINISH)])


def many(markets: Mapping[str, Market], simulation: Simulation, count: int) -> dict[str, Market]:
    """So many copies of one market under other names, for a listing that is too long."""
    found: dict[str, Market] = {}
    model = next(iter(markets.values()))
    for n in range(count):
        market = copy.copy(model)
        market.base = f"X{n}"
        found[simulation.name(market)] = market
    return found


def false_certificate() -> ssl.SSLContext:
    """A certificate of another name, signed by itself. Raises OSError where there is no openssl to make it."""
    with tempfile.TemporaryDirectory() as directory:
        key, certificate = Path(directory) / "key.pem", Path(directory) / "certificate.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
                   "-subj", "/CN=elsewhere.invalid", "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
        try:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - fixed words
        except (OSError, subprocess.CalledProcessError) as error:
            raise OSError(f"false_certificate needs openssl, which does not run: {error}") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context
