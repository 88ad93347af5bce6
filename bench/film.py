"""A capture that can be played for ever, as WebSocket frames: the times are those of the sending, the numbers go on."""

import re
import struct

from bench.frames import Capture

NUMBER = re.compile(rb'"(E|T|t|u|U)":(\d+)')
TIMES = b"ET"  # of these names; the other numbers count

Spans = dict[bytes, tuple[int, int]]  # topic -> its first and last number


class Film:
    """Frames of Binance's combined streams, cut at their numbers.

    Only a market whose middle stands still can be played again: its book never crosses.
    """

    def __init__(self, capture: Capture) -> None:
        """Cut every frame, and learn how far each topic counts in one turn."""
        spans: Spans = {}
        cuts = [_cut(frame, spans) for frame in capture.frames]
        growths = {topic: last + 1 - first for topic, (first, last) in spans.items()}
        self._parts = [(text, numbers, growths[topic]) for text, numbers, topic in cuts]
        self._at = 0

    def next(self, us: int) -> bytes:
        """The next frame, sent at this time (microseconds)."""
        turn, at = divmod(self._at, len(self._parts))
        self._at += 1
        text, numbers, growth = self._parts[at]
        shift = turn * growth
        return wrap(text % tuple(us if number is None else number + shift for number in numbers))


def _cut(frame: bytes, spans: Spans) -> tuple[bytes, tuple[int | None, ...], bytes]:
    topic = frame[: frame.index(b'","data"')]
    numbers = tuple(None if name in TIMES else int(value) for name, value in NUMBER.findall(frame))
    counted = [number for number in numbers if number is not None]
    first, last = spans.get(topic, (counted[0], 0))
    spans[topic] = (min(first, *counted), max(last, *counted))
    return NUMBER.sub(rb'"\1":%d', frame.replace(b"%", b"%%")), numbers, topic


def wrap(payload: bytes) -> bytes:
    """A text frame as a server sends it."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + payload
    if size < 65_536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload
