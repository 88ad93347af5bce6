"""Protobuf messages, as structs whose fields say their number."""

from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from aggregator.errors import BadFrame

S = TypeVar("S", bound=msgspec.Struct)


def protobuf(kind: type[S]) -> Callable[[bytes], S]:
    """A decoder of protobuf messages into a struct whose fields say their number: `price: Annotated[str, 1]`.

    A field is text, an integer, another such struct, or a list of them; any other field of a message is passed over.
    The decoder raises BadFrame when a message is cut off, or lacks a field that has no default.
    """
    read = _message(kind)

    def decode(frame: bytes) -> S:
        try:
            return read(frame, 0, len(frame))
        except (IndexError, TypeError, UnicodeDecodeError) as error:
            raise BadFrame(f"no {kind.__name__} in a frame of {len(frame)} bytes: {error}") from None

    return decode


def _message(kind: type[S]) -> Callable[[bytes, int, int], S]:
    fields = dict(_field(name, hint) for name, hint in get_type_hints(kind, include_extras=True).items())

    def read(frame: bytes, at: int, end: int) -> S:  # hot: most numbers are of one byte
        values: dict[str, Any] = {}
        while at < end:
            key, at = (frame[at], at + 1) if frame[at] < 128 else _varint(frame, at)
            name, of, is_many = fields.get(key, NO_FIELD)
            shape = key & 7
            if shape == 0:
                value, at = (frame[at], at + 1) if frame[at] < 128 else _varint(frame, at)
                if name is not None:
                    values[name] = value
                continue
            size, at = (frame[at], at + 1) if shape == 2 and frame[at] < 128 else _size(frame, at, shape)
            start, at = at, at + size
            if at > end:
                raise BadFrame(f"a field of {kind.__name__} is cut off")
            if name is None:
                continue
            part = frame[start:at].decode() if of is None else of(frame, start, at)
            if is_many:
                values.setdefault(name, []).append(part)
            else:
                values[name] = part
        if at > end:
            raise BadFrame(f"a field of {kind.__name__} is cut off")
        return kind(**values)

    return read


NO_FIELD: tuple[None, None, bool] = (None, None, False)


def _field(name: str, hint: Any) -> tuple[int, tuple[str, Callable[[bytes, int, int], Any] | None, bool]]:
    """A field's key (its number and shape), and its name, the reader of its messages, and whether they are many."""
    of, number = get_args(hint)
    is_many = get_origin(of) is list
    kinds = [part for part in (of, *get_args(of)) if isinstance(part, type) and issubclass(part, msgspec.Struct)]
    shape = 0 if of is int else 2
    return number << 3 | shape, (name, _message(kinds[0]) if kinds else None, is_many)


def _varint(frame: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends; a high one of 64 bits is negative."""
    value = shift = 0
    while True:
        byte = frame[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value - (value >> 63 << 64), at
        if shift > 63:
            raise BadFrame("a number of more than ten bytes")


def _size(frame: bytes, at: int, shape: int) -> tuple[int, int]:
    """How many bytes a field has, and where they begin."""
    if shape == 2:
        return _varint(frame, at)
    if shape not in {1, 5}:
        raise BadFrame(f"a field of shape {shape}")
    return (8 if shape == 1 else 4), at
