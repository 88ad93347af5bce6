"""JSON frames: writing them, and telling those of several shapes apart."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

LARGE_BYTES = 2**20  # a frame or an answer of no more is never crowded: it is too short for that
MOST_VALUES = 400_000  # in a frame: the deepest whole books that are known have half of that
MOST_ROWS = 150_000  # lists and objects in a frame, likewise: what is decoded takes up to fifty times its bytes

A = TypeVar("A")
B = TypeVar("B")

encode: Callable[[object], bytes] = msgspec.json.Encoder().encode


def is_crowded(frame: bytes) -> bool:
    """Tell whether a frame holds more values than any real one does; it is counted before anything is made of it."""
    return len(frame) > LARGE_BYTES and (
        frame.count(b",") > MOST_VALUES or frame.count(b"[") + frame.count(b"{") > MOST_ROWS
    )


def either(first: Callable[[bytes], A], second: Callable[[bytes], B]) -> Callable[[bytes], A | B]:
    """A decoder that tries `first`, then `second`: for the few frames of another shape than the many.

    The decoder raises what `second` raises.
    """

    def decode(frame: bytes) -> A | B:
        try:
            return first(frame)
        except msgspec.ValidationError:
            return second(frame)

    return decode


def by_word(
    mark: bytes, readers: Mapping[str, Callable[[bytes], A]], otherwise: Callable[[bytes], A]
) -> Callable[[bytes], A]:
    """A parser that finds a frame's reader by the word behind `mark`, up to the next quotation mark, without decoding.

    A frame without such a word, and one that is not as its reader expects it, is for `otherwise`: answers that name the
    same channel, and data that is spaced in another way. With the mark `"ch":"` the frame `{"ch":"trade", ...}` is for
    the reader of `trade`.
    """
    known, length = {word.encode(): read for word, read in readers.items()}, len(mark)

    def parse(frame: bytes) -> A:
        start = frame.find(mark) + length
        read = known.get(frame[start : frame.find(b'"', start)])
        if read is not None:
            try:
                return read(frame)
            except msgspec.ValidationError:
                pass
        return otherwise(frame)

    return parse
