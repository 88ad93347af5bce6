"""The ways to a feed: where it listens, and how lines travel there. No socket is opened here."""

from os import PathLike, fspath
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from aggregator.client.errors import FeedError, NoFeed
from aggregator.feed.address import TcpAddress, UnixAddress, parse_address

WEB = {"ws": False, "http": False, "wss": True, "https": True}  # the scheme says: TLS, or none
FEED_PATH = "/feed"
GREETING_S = 10.0  # the daemon has so long to answer, and as long again to say who it is
READ_BYTES = 256 * 1024  # one read, and about as much is read ahead
LONGEST_MESSAGE_BYTES = 64 * 2**20  # those of the feed are far shorter


class Place(NamedTuple):
    """A feed's address.

    path: that of its WebSocket; empty where lines are spoken
    is_tls: whether the address means TLS; null: it does not say
    """

    text: str
    address: UnixAddress | TcpAddress
    path: str = ""
    is_tls: bool | None = None

    @property
    def host(self) -> str | None:
        """The host; null at a unix socket."""
        return self.address.host if isinstance(self.address, TcpAddress) else None


def parse_place(given: str | PathLike[str]) -> Place:
    """Read `unix:PATH`, `tcp:HOST:PORT`, `http:HOST:PORT`, an address of the web, or the path of a socket alone.

    Raises FeedError, which says how one is written.
    """
    text = fspath(given)
    try:
        if text.partition("://")[0] in WEB:
            return _web(text)
        if not text.startswith(("unix:", "tcp:", "http:")):
            return Place(text, UnixAddress(Path(text)))
        found = parse_address(text)
    except ValueError as error:
        raise FeedError(str(error)) from None
    return Place(text, found, FEED_PATH if isinstance(found, TcpAddress) and found.scheme == "http" else "")


def _web(text: str) -> Place:
    url = urlsplit(text)
    if "@" in url.netloc or url.query or url.fragment:  # either may be a secret: the text does not show it
        raise ValueError("an address of the web holds no @, ? or #; a token is given by itself: token=")
    if not url.hostname:
        raise ValueError(f"{text!r:.100} names no host; write ws://127.0.0.1:8791/feed")
    path = url.path if url.path not in {"", "/"} else FEED_PATH
    is_tls = WEB[url.scheme]
    return Place(text, TcpAddress(url.hostname, url.port or (443 if is_tls else 80), "http"), path, is_tls)


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

    def __init__(self, place: Place, *, speaks_tls: bool) -> None:
        """Begin with the request for a WebSocket, which `to_send` gives."""
        try:
            from websockets.client import ClientProtocol  # only who comes by HTTP needs the library
            from websockets.uri import parse_uri
        except ImportError:
            raise FeedError(f"{place.text}: a WebSocket needs a package: pip install websockets") from None

        authority = str(place.address).removeprefix("http:")
        self._place = place.text
        self._speaks_tls = speaks_tls
        uri = parse_uri(f"{'wss' if speaks_tls else 'ws'}://{authority}{place.path}")
        self._protocol = ClientProtocol(uri, max_size=LONGEST_MESSAGE_BYTES)
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
            raise NoFeed(f"{self._place} does not speak as the feed does: {error}") from error
        return b"".join(lines)

    def _check(self, status: int, body: bytes) -> None:
        if status != 101:
            said = body.decode(errors="replace").strip()
            hint = "; it may want TLS: write wss:// or give ssl=" if status == 400 and not self._speaks_tls else ""
            raise FeedError(f"{self._place} answers with HTTP {status}: {said:.300}{hint}")
        self.is_open = True

    def to_send(self) -> bytes:
        """The bytes that are to be sent without anybody having said a line: the request, and answers to pings."""
        return b"".join(self._protocol.data_to_send())


Wire = LinesWire | WebSocketWire


def wire_to(place: Place, *, speaks_tls: bool) -> Wire:
    """How lines travel to a place."""
    return WebSocketWire(place, speaks_tls=speaks_tls) if place.path else LinesWire()


def silence() -> str:
    """The complaint about a daemon that does not greet."""
    return f"what listens there has not said a word in {GREETING_S:.0f} s"
