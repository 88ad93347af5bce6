"""Reading and writing what travels: numbers as text, times as nanoseconds, compressed frames."""

import re
import zlib
from calendar import timegm
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain, zip_longest
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from aggregator.errors import BadFrame, Bomb
from aggregator.records import MS_NS, SECOND_NS, Side

A = TypeVar("A")
B = TypeVar("B")
S = TypeVar("S", bound=msgspec.Struct)

Text = Any  # a JSON number (its digits, where the decoder has a `float_hook` of this module) or a string; see `text`
LARGEST_INFLATED_BYTES = 8 * 2**20  # bytes, after inflating: a guard against bombs, far above any real frame
POWERS = {9: 10**9, 6: 10**6, 3: 10**3}
SCALES: tuple[int, ...] = tuple(10 ** (9 - places) for places in range(10))  # ns, by how many decimals a second has
SCIENTIFIC = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?[eE]([+-]?[0-9]{1,6})", re.ASCII)
TIME = re.compile(r"-?[0-9]+(\.[0-9]*)?", re.ASCII)
DECIMALS = re.compile(r"[+-]?[0-9]{1,3}", re.ASCII)
HOUR, SIXTY = r"([01][0-9]|2[0-3])", r"([0-5][0-9])"
ISO = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[T ]{HOUR}:{SIXTY}(?::([0-5][0-9]|60)(?:\.([0-9]*))?)?"
    r"(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?",
    re.ASCII,
)
LONGEST_TIME = 4000  # digits: what Python makes a number of without protest
LONGEST_NUMBER = 256  # digits that an expanded exponent may give

encode: Callable[[object], bytes] = msgspec.json.Encoder().encode

# As a decoder's `float_hook`: a number's digits as they are on the wire, where fields are read through `text` or its
# like, which expand an exponent. There is nothing to strip: a method written in C takes half of what `number` does.
as_written: Callable[[str], str] = str.strip


def number(digits: str) -> str:
    """A number's own digits, an exponent expanded: `"3.426e-5"` gives `"0.00003426"`.

    What has no exponent passes as it is. Raises BadFrame when what has one is no number, or absurdly long.
    """
    if "e" not in digits and "E" not in digits:
        return digits
    parts = SCIENTIFIC.fullmatch(digits)
    if parts is None:
        raise BadFrame(f"{digits[:40]!r} is not a number")
    sign, whole, fraction = "-" if parts[1] == "-" else "", parts[2], parts[3] or ""
    shift = int(parts[4])
    if not whole + fraction or len(digits) > LONGEST_NUMBER or abs(shift) > LONGEST_NUMBER:
        raise BadFrame(f"{digits[:40]!r} is not a number that can be written out")
    point = len(whole) + shift
    all_digits = whole + fraction
    if point <= 0:
        return f"{sign}0.{'0' * -point}{all_digits}"
    if point >= len(all_digits):
        return sign + ((all_digits + "0" * (point - len(all_digits))).lstrip("0") or "0")
    return f"{sign}{all_digits[:point].lstrip('0') or '0'}.{all_digits[point:]}"


def text(value: Text) -> str:
    """A price or size that the wire gives as a string or as a number, as decimal text.

    Raises BadFrame for anything else (null, a list, true).
    """
    if type(value) is str:  # hot: a call of `number` only where it has something to do
        return number(value) if "e" in value or "E" in value else value
    if type(value) is int:
        return str(value)
    raise BadFrame(f"expected a number, got {value!r:.40}")


def optional(value: Text) -> str | None:
    """Do as `text` does, but give None for null and for the empty string."""
    if type(value) is str:
        return (number(value) if "e" in value or "E" in value else value) or None
    return None if value is None else text(value)


ZERO = "0." + "0" * 40  # behind it sorts every plain decimal text but of zero (and what begins with 00): `price > ZERO`


def nonzero(value: Text) -> str | None:
    """Do as `optional` does with a price, but give None for zero too: exchanges send `0.00` where there is no price."""
    if type(value) is str and value > ZERO and value[:2] != "00" and "e" not in value and "E" not in value:  # hot: most
        return value
    found = optional(value)
    return None if found is None or not found.lstrip("0.") else found


def step(decimals: Text) -> str | None:
    """The step of numbers that have so many decimals: of 3 it is 0.001, of -3 it is 1000; of null it is not known.

    Raises BadFrame where that is no such number.
    """
    if decimals is None:
        return None
    places = text(decimals)
    if not DECIMALS.fullmatch(places):
        raise BadFrame(f"{places[:40]!r} is not a number of decimals")
    return number(f"1e{-int(places)}")


def is_zero(digits: str) -> bool:
    """Whether a number, however it is spelled, is zero: such a size removes its level."""
    return not digits.lstrip("0.")


def signed(amount: str) -> tuple[Side | None, str]:
    """The side and the size of an amount that is negative where it was sold; one of zero has no side."""
    size = amount.removeprefix("-")
    return None if is_zero(size) else "sell" if size != amount else "buy", size


def best(price: Text, size: Text) -> tuple[str | None, str | None]:
    """One side of the best prices, as text; no price, or one of nothing (`0.00`), stands for an empty side."""
    found = nonzero(price)
    return (None, None) if found is None else (found, optional(size))


def crc_in_turns(bids: Sequence[str], asks: Sequence[str]) -> int:
    """CRC32, signed, of levels as they are spelled, in turn: bid, ask, bid, ask, until both sides are through."""
    words = chain.from_iterable(zip_longest(bids, asks, fillvalue=""))
    crc = zlib.crc32(":".join(filter(None, words)).encode())
    return crc - 2**32 if crc >= 2**31 else crc


def levels(rows: list[list[Text]]) -> list[tuple[str, str]]:
    """Rows `[price, size, ...]` of numbers or strings as book levels; what follows is left out."""
    return [  # hot: what `text` does with most, without calling it
        (
            price if type(price := row[0]) is str and "e" not in price and "E" not in price else text(price),
            size if type(size := row[1]) is str and "e" not in size and "E" not in size else text(size),
        )
        for row in rows
    ]


def seconds(value: float | str) -> int:
    """Seconds (an integer, or decimal text) as nanoseconds, exactly."""
    return value * 10**9 if type(value) is int else _scaled(value, 9)


def ms(value: float | str) -> int:
    """Milliseconds (an integer, or decimal text) as nanoseconds, exactly."""
    return value * MS_NS if type(value) is int else _scaled(value, 6)


def us(value: float | str) -> int:
    """Microseconds (an integer, or decimal text) as nanoseconds, exactly."""
    return value * 1000 if type(value) is int else _scaled(value, 3)


def _scaled(value: float | str, places: int) -> int:
    if isinstance(value, int):
        return value * POWERS[places]
    if isinstance(value, float):
        raise BadFrame("a time came as a float: decode it with float_hook=number")
    digits = number(value)
    if not TIME.fullmatch(digits):
        raise BadFrame(f"{value[:40]!r} is not a time")
    whole, _, fraction = digits.partition(".")
    if len(whole) > LONGEST_TIME:
        raise BadFrame(f"{value[:40]!r} is not a time")
    return int(whole + fraction[:places].ljust(places, "0"))


@lru_cache(maxsize=64)
def _day(date: str) -> int:
    return timegm(datetime.strptime(date, "%Y-%m-%d").timetuple())  # noqa: DTZ007 - read as UTC by timegm


def from_iso(stamp: str) -> int:
    """`2024-05-01T12:00:00.123456789Z` (any number of decimals; `Z`, an offset or nothing for UTC) as nanoseconds.

    Raises BadFrame when it is no such time.
    """
    fraction = stamp[20:-1]
    if fraction.isdecimal() and stamp[-1] == "Z" and len(fraction) < len(SCALES):
        whole: int = _second(stamp[:20])
        return whole + int(fraction) * SCALES[len(fraction)]
    return _any_iso(stamp)


@lru_cache(maxsize=4096)
def _second(stamp: str) -> int:
    """The nanoseconds of a whole second, whose point stands at the end: many frames come in each."""
    if stamp[-1] != ".":
        raise BadFrame(f"{stamp!r} does not begin an ISO time")
    return _any_iso(stamp)


def _any_iso(stamp: str) -> int:
    parts = ISO.fullmatch(stamp)
    if parts is None:
        raise BadFrame(f"{stamp[:40]!r} is not an ISO time")
    try:
        date, hour, minute, second, fraction, zone = parts.groups()
        at = _day(date) + int(hour) * 3600 + int(minute) * 60 + int(second or 0) - _offset(zone)
    except ValueError:
        raise BadFrame(f"{stamp[:40]!r} is not an ISO time") from None
    return at * SECOND_NS + int((fraction or "")[:9].ljust(9, "0"))


def _offset(zone: str | None) -> int:
    """Seconds east of UTC of `+08:00`, `+0800` or `+08`; of `Z` and nothing, 0."""
    if zone is None or zone == "Z":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if zone[0] == "-" else 1)


def _inflater(wbits: int) -> Callable[[bytes], bytes]:
    def inflate(frame: bytes) -> bytes:
        if frame[:1] in {b"{", b"["}:
            return frame  # JSON as it is: some exchanges send errors so, and captures keep what was inflated
        stream = zlib.decompressobj(wbits)
        try:
            out = stream.decompress(frame, LARGEST_INFLATED_BYTES)
        except zlib.error as error:
            raise BadFrame(f"cannot inflate a frame of {len(frame)} bytes: {error}") from None
        if not stream.eof:
            if len(out) >= LARGEST_INFLATED_BYTES:
                raise Bomb(f"a frame of {len(frame)} bytes inflates to more than {LARGEST_INFLATED_BYTES}")
            raise BadFrame(f"cannot inflate a frame of {len(frame)} bytes: it is cut off")
        return out

    return inflate


gunzip = _inflater(31)
unzlib = _inflater(15)


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
