"""Socket.IO over Engine.IO, on a WebSocket: what its packets are, whatever events an exchange sends in them.

https://socket.io/docs/v4/socket-io-protocol and https://socket.io/docs/v4/engine-io-protocol
A frame begins with the digit of an Engine.IO packet; in a message (4), that of a Socket.IO packet follows. From version
4 of Engine.IO on the server pings, and a client that asks for no namespace is closed; before that the client pings, and
the server opens the main namespace by itself.
"""

from collections.abc import Callable, Iterable

from msgspec import Raw
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Hangup, Parse, Ready, Refused, Reply
from aggregator.wire import encode

PING = b"2"
PONG = b"3"
Read = Callable[[str, Raw], Iterable[Event]]  # an event's name, and the JSON that it carries

decode_event = Decoder(tuple[str, Raw]).decode


def emit(name: str, *values: object) -> bytes:
    """The frame that sends an event to the main namespace."""
    return b"42" + encode([name, *values])


def packets(read: Read, *, namespace: str = "", topic: str | None = None) -> Parse:
    """A parser of frames that gives `read` the events of one namespace (`/public`; the main one is `""`).

    topic: where whoever opens the namespace gets all of it, it is the only topic, and `subscribe` asks for it; else the
        parser does, and says `Ready` once the namespace is open
    """
    place = f"{namespace},".encode() if namespace else b""
    event, joined, refused, left = (digits + place for digits in (b"42", b"40", b"44", b"41"))
    asking, length, over = b"40" + place.rstrip(b","), len(event), Hangup("the exchange closes the connection")
    opened: Event = Ready() if topic is None else Accepted(topic=topic)
    answers: dict[bytes, Event] = {PING: Reply(PONG), asking: opened, b"1": over, left.rstrip(b","): over}

    def parse(frame: bytes) -> Iterable[Event]:
        if frame.startswith(event) and frame[length : length + 1] == b"[":
            return read(*decode_event(frame[length:]))
        if frame[:1] == b"[":  # documentation quotes events without the digits
            return read(*decode_event(frame))
        found = answers.get(frame) or control(frame)
        return () if found is None else (found,)

    def control(frame: bytes) -> Event | None:
        if frame[:1] == b"0":
            return Reply(asking) if topic is None else None
        if frame.startswith(joined + b"{"):
            return opened
        if frame.startswith(refused) and (namespace or frame[len(refused) :][:1] == b"{"):
            return Refused(frame[len(refused) :].decode(), topic=topic)
        if frame[:1] not in {b"3", b"4", b"6"}:
            raise BadFrame(f"no packet of Engine.IO: {frame[:40]!r}")
        return None  # a pong, or what is of another namespace

    return parse
