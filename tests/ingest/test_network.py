import asyncio
import gc
import gzip
import logging
import socket
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable

import pytest
from aiohttp import web
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from aggregator.daemon.logs import set_up
from aggregator.errors import SessionError
from aggregator.exchange import Address, Request
from aggregator.ingest.lines import (
    CROWDED,
    LARGEST_FRAME_BYTES,
    MOST_AT_ONCE,
    MOST_FRAMES,
    PIECE_BYTES,
    PLAIN_BUFFER_BYTES,
    TOO_MUCH,
    UNREAD,
    VALUES_AT_ONCE,
)
from aggregator.ingest.network import (
    UNPACKED_BYTES,
    Internet,
    moved,
    unpacker,
)
from aggregator.ingest.proxies import DialOptions, Transport
from aggregator.ingest.weight import ELEMENT_BYTES, LARGEST_DECODED_BYTES, Weight
from aggregator.records import SECOND_NS
from aggregator.session.moment import Now
from aggregator.wire.frames import LARGE_BYTES, MOST_ROWS

pytestmark = pytest.mark.waits

FRAME = b"x" * 120
COUNT = 100_000
PATIENCE = 20.0  # seconds; nothing here takes nearly as long


@pytest.fixture(params=["picows", "websockets"])
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.param
    return chosen


class Flood(WSListener):
    """Sends far more than the system holds; `left` is set once the client has hung up."""

    def __init__(self, left: asyncio.Event) -> None:
        self._left = left

    def on_ws_connected(self, transport: WSTransport) -> None:
        for _ in range(COUNT):
            transport.send(WSMsgType.TEXT, FRAME)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows' own
        self._left.set()


class Counting:
    """How many frames came at each moment, which is that of a read of the socket."""

    name = "toy/counting.0#1"

    def __init__(self) -> None:
        self.reads: dict[Now, int] = {}
        self.most_at_once = 0
        self.done = asyncio.Event()

    def frames(self, payloads: list[bytes], now: Now) -> None:
        self.reads[now] = self.reads.get(now, 0) + len(payloads)
        self.most_at_once = max(self.most_at_once, len(payloads))
        if sum(self.reads.values()) == COUNT:
            self.done.set()

    def gone(self, reason: str) -> None:
        pass


async def test_a_plain_line_that_is_flooded_brings_little_at_once(transport: Transport) -> None:
    """Else one read brings megabytes, and nothing else has its turn until they are worked through."""
    left = asyncio.Event()
    server = await ws_create_server(lambda _: Flood(left), "127.0.0.1", 0)
    internet, counting = Internet(route=DialOptions(transport)), Counting()
    async with server, asyncio.timeout(PATIENCE):
        line = await internet.dial(Address(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), counting)
        await counting.done.wait()
        line.hang_up("enough")
        await left.wait()
    await internet.close()
    assert max(counting.reads.values()) * len(FRAME) <= 4 * PLAIN_BUFFER_BYTES
    assert (counting.most_at_once - 1) * len(FRAME) < PIECE_BYTES


class Script(WSListener):
    """Sends a piece of raw bytes, in one write, each time that the client says something; keeps what it hears.

    on_ping: the raw bytes that it answers to a ping
    """

    def __init__(self, pieces: list[bytes], heard: list[tuple[WSMsgType, bytes]], on_ping: bytes) -> None:
        self._pieces = pieces
        self._heard = heard
        self._on_ping = on_ping

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self._heard.append((frame.msg_type, frame.get_payload_as_bytes()))
        if frame.msg_type is WSMsgType.TEXT and self._pieces:
            transport.underlying_transport.write(self._pieces.pop(0))
        elif frame.msg_type is WSMsgType.PING:
            transport.underlying_transport.write(self._on_ping)
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()


class Ending(WSListener):
    """Closes the connection as soon as it stands: normally, and without a reason."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send_close(WSCloseCode.OK)
        transport.disconnect()


class Mourning:
    """Why the connection ended."""

    name = "toy/mourning.0#1"

    def __init__(self) -> None:
        self.said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.heard = 0

    def frames(self, payloads: list[bytes], now: Now) -> None:  # noqa: ARG002 - the listener's
        self.heard += len(payloads)

    def gone(self, reason: str) -> None:
        self.said.set_result(reason)


async def test_a_close_without_a_reason_is_told_without_one() -> None:
    server = await ws_create_server(lambda _: Ending(), "127.0.0.1", 0)
    internet, mourning = Internet(), Mourning()
    async with server, asyncio.timeout(20):
        await internet.dial(Address(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), mourning)
        assert await mourning.said == "closed by the exchange: 1000"
    await internet.close()


class Reading:
    """The frames that were handed on together, and their moment."""

    name = "toy/reading.0#1"

    def __init__(self) -> None:
        self.heard: list[tuple[list[bytes], Now]] = []
        self.over = asyncio.Event()
        self.reason = ""

    def frames(self, payloads: list[bytes], now: Now) -> None:
        self.heard.append((payloads, now))

    def gone(self, reason: str) -> None:
        self.reason = reason
        self.over.set()


TEXT, PING, PONG, CONTINUATION, CLOSE = 0x81, 0x89, 0x8A, 0x80, 0x88


def raw(head: int, payload: bytes) -> bytes:
    return bytes([head, len(payload)]) + payload


async def play(
    transport: Transport, *pieces: bytes, on_ping: bytes = b""
) -> tuple[Reading, list[tuple[WSMsgType, bytes]]]:
    """Have each piece sent in a write of its own, once what came before it has been read, and the answer to a ping."""
    heard: list[tuple[WSMsgType, bytes]] = []
    server = await ws_create_server(
        lambda _: Script(list(pieces), heard, on_ping),
        "127.0.0.1",
        0,
        enable_auto_pong=False,
        disconnect_on_exception=True,
    )
    internet, reading = Internet(route=DialOptions(transport)), Reading()
    async with server, asyncio.timeout(PATIENCE):
        line = await internet.dial(Address(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), reading)
        while on_ping and (WSMsgType.PING, b"") not in heard:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)
        for _ in pieces:
            line.send(b"next")
            await asyncio.sleep(0.05)
        line.hang_up("enough")
        await reading.over.wait()
    await internet.close()
    return reading, heard


async def test_what_one_read_brings_is_handed_on_together(transport: Transport) -> None:
    reading, _ = await play(transport, raw(TEXT, b"a") + raw(TEXT, b"b"), raw(TEXT, b"c"))
    assert [frames for frames, _ in reading.heard] == [[b"a", b"b"], [b"c"]]


async def test_a_read_that_ends_in_a_ping_is_over_and_the_ping_answered(transport: Transport) -> None:
    """Else what the next read brings, minutes later, would have this one's time."""
    reading, heard = await play(transport, raw(TEXT, b"a") + raw(PING, b"?"), raw(TEXT, b"b"))
    assert [frames for frames, _ in reading.heard] == [[b"a"], [b"b"]]
    assert reading.heard[1][1].mono - reading.heard[0][1].mono > 20_000_000
    assert (WSMsgType.PONG, b"?") in heard


async def test_a_read_that_ends_in_half_a_frame_waits_only_for_that_half(transport: Transport) -> None:
    reading, _ = await play(transport, raw(TEXT, b"a") + raw(TEXT, b"bcd")[:3], raw(TEXT, b"bcd")[3:] + raw(TEXT, b"e"))
    assert [frames for frames, _ in reading.heard] == [[b"a"], [b"bcd", b"e"]]


async def test_a_message_in_fragments_is_put_together_wherever_its_reads_end(transport: Transport) -> None:
    first, second = raw(TEXT & 0x0F, b"ab"), raw(CONTINUATION, b"cd")
    reading, _ = await play(transport, raw(TEXT, b"x") + first, raw(PING, b"") + second + raw(TEXT, b"y"))
    assert [frames for frames, _ in reading.heard] == [[b"x"], [b"abcd", b"y"]]


async def test_what_came_before_a_frame_that_breaks_the_protocol_is_not_lost(transport: Transport) -> None:
    reading, _ = await play(transport, raw(TEXT, b"a") + raw(TEXT, b"b") + raw(CLOSE, b"\x00\x01"))
    assert [frame for frames, _ in reading.heard for frame in frames] == [b"a", b"b"]


async def test_a_read_that_ends_in_the_pong_that_was_waited_for_is_over(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"aggregator.ingest.{transport}_line.IDLE_PING_S", 0.2)
    reading, _ = await play(transport, b"", raw(TEXT, b"b"), on_ping=raw(TEXT, b"a") + raw(PONG, b""))
    assert [frames for frames, _ in reading.heard] == [[b"a"], [b"b"]]
    assert reading.heard[1][1].mono - reading.heard[0][1].mono > 20_000_000


MANY = 20_000


class Turns(Reading):
    """How many frames were handed on in each turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self.by_turn: Counter[int] = Counter()
        self.all: list[bytes] = []

    def frames(self, payloads: list[bytes], now: Now) -> None:  # noqa: ARG002 - as a listener
        assert not self.over.is_set()
        self.by_turn[self.turn] += len(payloads)
        self.all += payloads

    async def count(self) -> None:
        while not self.over.is_set():
            self.turn += 1
            await asyncio.sleep(0)


class Many(WSListener):
    """Sends very many short frames, and a close, in one write."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.underlying_transport.write(
            b"".join(raw(TEXT, n.to_bytes(4)) for n in range(MANY)) + raw(CLOSE, (1001).to_bytes(2))
        )


async def test_very_many_frames_are_handed_on_in_several_turns_in_order_before_the_end(transport: Transport) -> None:
    """Else an exchange that sends 1.5 million heartbeats leaves no other one its turn."""
    server = await ws_create_server(lambda _: Many(), "127.0.0.1", 0)
    internet, turns = Internet(route=DialOptions(transport)), Turns()
    async with server, asyncio.timeout(PATIENCE):
        counting = asyncio.create_task(turns.count())
        line = await internet.dial(Address(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), turns)
        await turns.over.wait()
        line.hang_up("enough")
        await counting
    await internet.close()
    assert turns.all == [n.to_bytes(4) for n in range(MANY)]
    assert max(turns.by_turn.values()) <= MOST_AT_ONCE + MOST_FRAMES
    assert turns.reason == "closed by the exchange: 1001"


class Pinging(WSListener):
    """Sends pings without end, and reads none of their pongs."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.underlying_transport.pause_reading()
        self._task = asyncio.create_task(self._ping(transport.underlying_transport))

    async def _ping(self, transport: asyncio.Transport) -> None:
        while not transport.is_closing():
            if transport.get_write_buffer_size() < 2**20:
                transport.write(raw(PING, b"p" * 125) * 1000)
            await asyncio.sleep(0)


async def test_pongs_that_nobody_reads_do_not_pile_up(transport: Transport) -> None:
    server = await ws_create_server(lambda _: Pinging(), "127.0.0.1", 0)
    internet, mourning = Internet(route=DialOptions(transport)), Mourning()
    async with server, asyncio.timeout(PATIENCE):
        await internet.dial(Address(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), mourning)
        assert await mourning.said == UNREAD
    await internet.close()


def read(sock: socket.socket) -> None:
    sock.recv(65536)


def answer_in_part(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 101 Switching Pro")


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


CUT_SHORT: dict[str, Callable[[socket.socket], object]] = {
    "unread": lambda _: None,
    "read": read,
    "answered in part": answer_in_part,
    "reset": reset,
}


@pytest.mark.parametrize("how", CUT_SHORT)
async def test_a_connection_that_ends_before_the_handshake_is_answered_is_none(transport: Transport, how: str) -> None:
    """Otherwise nothing would ever come of it, and nobody would make another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def meet() -> None:
            met, _ = listener.accept()
            with met:
                CUT_SHORT[how](met)

        meeting = asyncio.create_task(asyncio.to_thread(meet))
        internet = Internet(route=DialOptions(transport))
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(SessionError, match="cannot connect to ws://"):
                await internet.dial(Address(f"ws://127.0.0.1:{listener.getsockname()[1]}/"), Mourning())
            await meeting
        await internet.close()
        for _ in range(20):  # a transport that fails closes its socket in one of the next turns of the loop: on a
            await asyncio.sleep(0.005)  # machine with much to do one longer sleep would be no more than two of them


class Guest(WSListener):
    """Counts who is there, and leaves when it is told to."""

    def __init__(self, there: set[WSListener]) -> None:
        self._there = there

    def on_ws_connected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows' own
        self._there.add(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows' own
        self._there.discard(self)


async def test_a_dialling_that_is_given_up_leaves_no_connection_whenever_that_is(transport: Transport) -> None:
    """Else the exchange keeps one, of which nobody here knows, for as long as its pings are answered."""
    there: set[WSListener] = set()
    server = await ws_create_server(lambda _: Guest(there), "127.0.0.1", 0)
    address = Address(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    internet, ends = Internet(route=DialOptions(transport)), set()
    async with server, asyncio.timeout(PATIENCE):
        for turns in range(60):
            reading = Reading()
            dialling = asyncio.create_task(internet.dial(address, reading))
            for _ in range(turns):
                await asyncio.sleep(0)
            dialling.cancel()
            (end,) = await asyncio.gather(dialling, return_exceptions=True)
            ends.add(type(end))
            if isinstance(end, BaseException):
                await asyncio.sleep(0.005)  # what has been sent has come
            else:
                end.hang_up("enough")
                await reading.over.wait()
            while there:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
    await internet.close()
    assert asyncio.CancelledError in ends
    gc.collect()  # a socket that is left open is found, and is an error


async def test_a_handshake_that_nobody_waits_for_any_more_ends_at_once(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"aggregator.ingest.{transport}_line.DIAL_TIMEOUT_S", 3600.0)
    asked, over = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        assert await reader.read() == b""
        over.set()
        writer.close()

    internet = Internet(route=DialOptions(transport))
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server, asyncio.timeout(PATIENCE):
        port = server.sockets[0].getsockname()[1]
        dialling = asyncio.create_task(internet.dial(Address(f"ws://127.0.0.1:{port}/"), Mourning()))
        await asked.wait()
        dialling.cancel()
        await over.wait()
    await asyncio.gather(dialling, return_exceptions=True)
    await internet.close()


class Vast(WSListener):
    """Announces a frame of one byte more than may be."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.underlying_transport.write(b"\x81\x7f" + (LARGEST_FRAME_BYTES + 1).to_bytes(8) + b"x")


@pytest.mark.usefixtures("log_as_before")
async def test_a_frame_that_is_too_large_is_told_once_and_in_words(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    set_up("info")
    logging.getLogger().handlers[:] = [caplog.handler]
    server = await ws_create_server(lambda _: Vast(), "127.0.0.1", 0)
    internet, mourning = Internet(route=DialOptions(transport)), Mourning()
    async with server, asyncio.timeout(PATIENCE):
        await internet.dial(Address(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), mourning)
        said = await mourning.said
    await internet.close()
    gc.collect()
    assert said.startswith("hung up: ")
    assert str(LARGEST_FRAME_BYTES) in said
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


class Said(WSListener):
    """Says one message."""

    def __init__(self, *messages: bytes) -> None:
        self._messages = messages

    def on_ws_connected(self, transport: WSTransport) -> None:
        for message in self._messages:
            transport.send(WSMsgType.TEXT, message)


CROWD = b"[%s]" % b",".join([b'["1.5","2"]'] * MOST_ROWS)
BOOK = b'{"bids":[%s]}' % b",".join([b'["61000.5","0.25"]'] * 60_000)  # as large as the deepest that are known
BOOKS = VALUES_AT_ONCE // BOOK.count(b",")


@pytest.mark.parametrize(
    ("messages", "said", "least"), [([CROWD], CROWDED, 0), ([BOOK] * (BOOKS + 10), TOO_MUCH, BOOKS)]
)
async def test_a_line_of_more_values_than_any_real_one_is_hung_up(
    transport: Transport, messages: list[bytes], said: str, least: int
) -> None:
    assert min(map(len, messages)) > LARGE_BYTES
    server = await ws_create_server(lambda _: Said(*messages), "127.0.0.1", 0)
    internet, mourning = Internet(route=DialOptions(transport)), Mourning()
    async with server, asyncio.timeout(PATIENCE):
        await internet.dial(Address(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), mourning)
        assert await mourning.said == said
        assert least <= mourning.heard < len(messages)
    await internet.close()


@pytest.mark.parametrize(
    ("body", "elements"),
    [
        (b'[{"a":1,"b":[2,3]},{"a":4}]', 4),  # two objects, and two numbers in the first
        (b'["a","b","c"]', 3),
        (b'{"a":{"b":1},"c":2}', 0),
        (rb'["\u4e2d\/"]', 3),
    ],
)
def test_what_an_answer_takes_is_counted_by_elements(body: bytes, elements: int) -> None:
    weight = Weight()
    weight.add(body)
    assert (weight.size, weight.elements) == (len(body), elements)
    assert weight.excess is None


@pytest.mark.parametrize("row", [b"{}", b'"a"', b"1", b'["1","2"]', b"[]"])
def test_an_answer_of_small_rows_may_be_no_larger_than_what_they_take(row: bytes) -> None:
    weight = Weight()
    piece = b",".join([row] * 10_000) + b","
    while weight.excess is None:
        weight.add(piece)
    assert weight.size + weight.elements * ELEMENT_BYTES < LARGEST_DECODED_BYTES * 1.02
    assert "too many small rows" in weight.excess


BODY = b'{"symbols":[' + b",".join(b'{"symbol":"%d"}' % n for n in range(200_000)) + b"]}"


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed", "body"),
    [
        ("", BODY, BODY),
        ("identity", BODY, BODY),
        ("gzip", gzip.compress(BODY), BODY),
        ("GZIP", gzip.compress(BODY) + gzip.compress(b"more"), BODY + b"more"),
        ("gzip", gzip.compress(BODY) + b"\0\0rubbish", BODY),
        ("deflate", zlib.compress(BODY), BODY),
        ("deflate", raw_deflate(BODY), BODY),
        ("gzip", b"", b""),
    ],
    ids=["plain", "identity", "gzip", "two members", "padded", "zlib", "raw", "empty"],
)
@pytest.mark.parametrize("size", [1, 1000, 2**22])
def test_a_body_is_unpacked_in_pieces_whatever_it_comes_in(
    encoding: str, packed: bytes, body: bytes, size: int
) -> None:
    if size == 1:
        packed, body = packed[:50], b""  # byte by byte, only the beginning: nothing is raised
    unpack = unpacker(encoding)
    pieces = [piece for at in range(0, len(packed), size) for piece in unpack(packed[at : at + size])]
    assert b"".join(pieces).startswith(body) if size == 1 else b"".join(pieces) == body
    assert encoding in {"", "identity"} or all(len(piece) <= UNPACKED_BYTES for piece in pieces)


def test_a_body_that_is_not_what_it_says_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot be unpacked"):
        list(unpacker("gzip")(b"\xff not gzip at all"))


async def test_a_request_past_a_cache_is_another_one_each_time() -> None:
    """Bitstamp's edge answers the same book for a second, unless a parameter differs (2026-09)."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.Response(text="fine")

    app = web.Application()
    app.router.add_get("/book", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    network = Internet(endpoints={"https://toy.example": f"http://127.0.0.1:{runner.addresses[0][1]}"})
    for request in (
        Request("https://toy.example/book", fresh="_"),
        Request("https://toy.example/book", fresh="_"),
        Request("https://toy.example/book?deep=1", fresh="_"),
        Request("https://toy.example/book"),
        Request("https://toy.example/book?deep=1", timed=lambda now: f"to={now // SECOND_NS}"),
    ):
        assert (await network.fetch(request)).body == b"fine"
        await asyncio.sleep(0.002)
    await network.close()
    await runner.cleanup()
    first, second, third, last, timed = asked
    assert first.startswith("/book?_=")
    assert second.startswith("/book?_=")
    assert first != second
    assert third.startswith("/book?deep=1&_=")
    assert last == "/book"
    said, _, until = timed.rpartition("=")
    assert said == "/book?deep=1&to"
    assert 0 <= time.time() - int(until) < 60


def test_an_endpoint_of_a_port_that_an_exchange_has_left_is_named_with_where_it_is_today() -> None:
    """OKX left port 8443 in October 2026: a configuration of before would silently replace nothing."""
    urls = ["wss://ws.okx.com/ws/v5/public", "https://www.okx.com/api/v5/public/instruments?instType=SPOT"]
    endpoints = ["wss://ws.okx.com:8443", "https://www.okx.com", "https://www.okx.com/api/v5/market", "wss://elsewhere"]
    assert list(moved(endpoints, urls)) == [("wss://ws.okx.com:8443", urls[0])]


async def test_a_call_that_nobody_answers_is_told_in_plain_words() -> None:
    internet = Internet()
    try:
        with pytest.raises(SessionError) as refused:
            await internet.fetch(Request("http://127.0.0.1:9/listing"))
    finally:
        await internet.close()
    assert str(refused.value).startswith("no answer from http://127.0.0.1:9/listing: [Errno 111] Connect call failed")
    assert "object at" not in str(refused.value)
