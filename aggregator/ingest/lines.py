"""The interface that all transports of WebSocket lines share: `Line`, `Listener`, and the bounds of a line."""

import socket
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol

from msgspec import Struct

from aggregator.records import SECOND_NS
from aggregator.session.moment import Now
from aggregator.wire.frames import LARGE_BYTES, MOST_ROWS, MOST_VALUES, is_crowded

LARGEST_FRAME_BYTES = 16 * 2**20  # a whole message, inflated; clients of the deepest books allow 10 MB
VALUES_AT_ONCE = 1_500_000  # in messages of more than 1 MiB: the whole books that a line begins with
VALUES_A_SECOND = 100_000  # it may bring so many again
MOST_FRAGMENTS = 2**16  # so many in one message; a bound of bytes alone would allow any number of empty ones
DIAL_TIMEOUT_S = 15.0  # for a connection and its handshake
PIECE_BYTES = 2**14  # so much of one read is handed on together: more would not stay in the caches
MOST_FRAMES = 500  # so many frames at most are handed on together
MOST_AT_ONCE = 2000  # frames of one read, after which others have their turn before the rest is handed on
MOST_UNSENT_BYTES = 2**20  # so much may wait for an exchange that reads no more, pongs above all
PLAIN_BUFFER_BYTES = 2**17  # the system holds so much of a line without TLS, see `bound`
LONGEST_REST_S = 7 * 86400.0  # an exchange may want rest for so long: bans last for days, none for ever
IDLE_PING_S = 20.0  # a line that is silent for so long gets a protocol ping; without a pong in as long again it is dead
USER_AGENT = "market-aggregator"
BUSY = {418, 429}  # statuses that say: too many requests
LOST = "line lost"
UNREAD = f"hung up: it does not read: {MOST_UNSENT_BYTES} bytes wait to be sent"
CROWDED = f"hung up: a message of more than {MOST_VALUES} values or {MOST_ROWS} rows"
TOO_MUCH = f"hung up: large messages of more than {VALUES_AT_ONCE} values one behind the other"
TOO_LARGE = f"hung up: a message of more than {LARGEST_FRAME_BYTES} bytes or {MOST_FRAGMENTS} fragments"
ABUSES = {UNREAD, CROWDED, TOO_MUCH, TOO_LARGE}  # a line that ends so was no good one, whatever it has brought before


class LineListener(Protocol):
    """Somebody who is told what comes over a line.

    name: what the line is for, `exchange/stream.shard#attempt`
    """

    @property
    def name(self) -> str: ...

    def frames(self, payloads: list[bytes], now: Now) -> None:
        """Frames have come; `now` is when the socket was read."""

    def gone(self, reason: str) -> None:
        """Note that the line is dead."""


class Large:
    """The large messages of a line: each is bounded, and all of them together in time. Others are not its concern.

    above_bytes: a message of no more is not large
    most_values, most_rows: what one may hold
    """

    above_bytes, most_values, most_rows = LARGE_BYTES, MOST_VALUES, MOST_ROWS

    def __init__(self) -> None:
        self._left = float(VALUES_AT_ONCE)
        self._at = 0  # when it was as much (monotonic ns)

    def excess(self, message: bytes, now: Now) -> str | None:
        """Why the line is to be hung up at a large message; None where it is not."""
        if is_crowded(message):
            return CROWDED
        self._left = min(VALUES_AT_ONCE, self._left + (now.mono - self._at) / SECOND_NS * VALUES_A_SECOND)
        self._left -= message.count(b",")
        self._at = now.mono
        return TOO_MUCH if self._left < 0 else None


class Line(Protocol):
    """An open WebSocket."""

    def send(self, frame: bytes) -> None:
        """Send a text frame; never waits."""

    def hang_up(self, reason: str) -> None:
        """Close it; `Listener.gone` follows, once. The reason is for captures; the exchange is told none."""


class Fragments:
    """A message that comes in parts, bounded in bytes and in their number."""

    def __init__(self, first: bytes) -> None:
        """Begin with the first part."""
        self._parts = [first]
        self._size = len(first)

    def add(self, part: bytes) -> bool:
        """Take a further part; False where the message has become too large to be kept."""
        self._parts.append(part)
        self._size += len(part)
        return self._size <= LARGEST_FRAME_BYTES and len(self._parts) <= MOST_FRAGMENTS

    def whole(self) -> bytes:
        """The message."""
        return b"".join(self._parts)


def read_clocks() -> Now:
    """Wall and monotonic clock, taken together."""
    return Now(time.time_ns(), time.monotonic_ns())


def closed(code: int, reason: str | None) -> str:
    """How the exchange closed a line."""
    return f"closed by the exchange: {code} {reason or ''}".strip()


class NotOpened(Struct, frozen=True):
    """How a handshake was answered that opened no line.

    retry_after: the header of that name
    """

    status: int
    said: str
    retry_after: str | None

    @property
    def is_busy(self) -> bool:
        """Tell whether the exchange was asked too much."""
        return self.status in BUSY


def refusal(status: int, phrase: str, after: str | None, location: str | None) -> NotOpened:
    """How a handshake was answered that opened no line."""
    said = f"HTTP {status} {phrase}".strip()
    if after:
        said += f", Retry-After {after}"
    return NotOpened(status, f"{said}, a redirect to {location} that is not followed" if location else said, after)


def retry_after(said: str, wall: int) -> float | None:
    """The seconds that a `Retry-After` names, as a number (decimals too) or a date; None where it names none.

    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    try:
        seconds = float(said)
    except ValueError:
        pass
    else:
        return min(seconds, LONGEST_REST_S) if 0 <= seconds < float("inf") else None
    try:
        when = parsedate_to_datetime(said)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return min(max(0.0, when.timestamp() - wall / 1e9), LONGEST_REST_S)


def bound(connection: socket.socket | None) -> None:
    """Let no read of a line without TLS bring more than can be worked on at once: the rest waits in the sender.

    Such a line leads to a program on this machine or nearby, which may send faster than we read. Its buffers then grow
    to megabytes, a transport takes all of them in one read, and until that is worked through nothing else has its turn.
    What comes by TLS comes in pieces anyway, from too far away for small buffers.
    """
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PLAIN_BUFFER_BYTES)
