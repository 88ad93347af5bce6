"""The ways to a feed: where it listens, and how lines travel there. No socket is opened here."""

from os import PathLike, fspath
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from aggregator.client.conversation import FeedError
from aggregator.feed.address import TcpAddress, UnixAddress, parse_address

WEB = ("ws://", "http://")
FEED_PATH = "/feed"


class Place(NamedTuple):
    """A feed's address; `path` is that of its WebSocket, and empty where lines are spoken."""

    text: str
    address: UnixAddress | TcpAddress
    path: str


def parse_place(given: str | PathLike[str]) -> Place:
    """Read `unix:PATH`, `tcp:HOST:PORT`, `http:HOST:PORT`, an address of the web, or the path of a socket alone.

    Raises FeedError, which says how one is written.
    """
    text = fspath(given)
    if text.startswith(("wss://", "https://")):
        raise FeedError(f"{text!r:.100}: this client speaks no TLS yet; come through ssh -L")
    try:
        if text.startswith(WEB):
            return _web(text)
        if not text.startswith(("unix:", "tcp:", "http:")):
            return Place(text, UnixAddress(Path(text)), "")
        found = parse_address(text)
    except ValueError as error:
        raise FeedError(str(error)) from None
    return Place(text, found, FEED_PATH if isinstance(found, TcpAddress) and found.scheme == "http" else "")


def _web(text: str) -> Place:
    url = urlsplit(text)
    if not url.hostname:
        raise ValueError(f"{text!r:.100} names no host; write ws://127.0.0.1:8791/feed")
    path = url.path if url.path not in {"", "/"} else FEED_PATH
    return Place(text, TcpAddress(url.hostname, url.port or 80, "http"), path)


class LinesWire:
    """Lines as they are, over a unix socket or TCP."""

    is_open = True

    def sent(self, line: bytes) -> bytes:
        """The bytes by which a line travels."""
        return line

    def received(self, data: bytes) -> bytes:
        """The lines, or parts of them, in bytes that came."""
        return data

    def to_send(self) -> bytes:
        """The bytes that are to be sent without anybody having said a line."""
        return b""


class WebSocketWire:
    """Lines within the messages of a WebSocket (RFC 6455)."""

    def __init__(self, place: Place) -> None:
        """Begin with the request for a WebSocket, which `to_send` gives."""
        from websockets.client import ClientProtocol  # only who comes by HTTP needs the library
        from websockets.uri import parse_uri

        authority = str(place.address).removeprefix("http:")
        self._place = place.text
        self._protocol = ClientProtocol(parse_uri(f"ws://{authority}{place.path}"), max_size=None)
        self._protocol.send_request(self._protocol.connect())
        self.is_open = False

    def sent(self, line: bytes) -> bytes:
        """The bytes by which a line travels."""
        self._protocol.send_text(line)
        return self.to_send()

    def received(self, data: bytes) -> bytes:
        """The lines in bytes that came. Raises FeedError where they are no WebSocket's."""
        from websockets.frames import DATA_OPCODES, Frame
        from websockets.http11 import Response

        lines = []
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._check(event.status_code, bytes(event.body or b""))
            elif isinstance(event, Frame) and event.opcode in DATA_OPCODES:
                lines.append(bytes(event.data))
        error = self._protocol.handshake_exc
        if error is not None:
            raise FeedError(f"{self._place} does not speak as the feed does: {error}") from error
        return b"".join(lines)

    def _check(self, status: int, body: bytes) -> None:
        if status != 101:
            said = body.decode(errors="replace").strip()
            raise FeedError(f"{self._place} answers with HTTP {status}: {said:.300}")
        self.is_open = True

    def to_send(self) -> bytes:
        """The bytes that are to be sent without anybody having said a line: the request, and answers to pings."""
        return b"".join(self._protocol.data_to_send())


Wire = LinesWire | WebSocketWire


def wire_to(place: Place) -> Wire:
    """How lines travel to a place."""
    return WebSocketWire(place) if place.path else LinesWire()
