"""Reading and writing what travels: numbers as text, times as nanoseconds, compressed frames."""

import zlib
from calendar import timegm
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from aggregator.errors import BadFrame

A = TypeVar("A")
B = TypeVar("B")

Text = Any  # a JSON number (its digits, where the decoder has `float_hook=number`) or a string; see `text`
LARGEST_FRAME = 64 * 2**20  # bytes, after inflating: a guard against bombs, far above any real frame
POWERS = {9: 10**9, 6: 10**6, 3: 10**3}
SCALES: tuple[int, ...] = tuple(10 ** (9 - places) for places in range(10))  # ns, by how many decimals a second has
LONGEST_NUMBER = 256  # digits that an expanded exponent may give

encode: Callable[[object], bytes] = msgspec.json.Encoder().encode


def number(digits: str) -> str:
    """A number's own digits, an exponent expanded: `"3.426e-5"` gives `"0.00003426"`.

    Raises BadFrame when `digits` is no finite decimal number, or is absurdly long once expanded.
    """
    if "e" not in digits and "E" not in digits:
        return digits
    mantissa, _, exponent = digits.replace("E", "e").partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    try:
        shift = int(exponent)
    except ValueError:
        raise BadFrame(f"{digits[:40]!r} is not a number") from None
    if not (whole + fraction).isdecimal() or abs(shift) > LONGEST_NUMBER:
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
    if type(value) is str:
        return number(value)
    if type(value) is int:
        return str(value)
    raise BadFrame(f"expected a number, got {value!r:.40}")


def optional(value: Text) -> str | None:
    """As `text`, where the wire may say nothing: null and the empty string give None."""
    return None if value is None or value == "" else text(value)


def levels(rows: list[list[Text]]) -> list[tuple[str, str]]:
    """Rows `[price, size, ...]` of numbers or strings as book levels; what follows is left out."""
    return [(text(row[0]), text(row[1])) for row in rows]


def seconds(value: float | str) -> int:
    """Seconds (an integer, or decimal text) as nanoseconds, exactly."""
    return _scaled(value, 9)


def ms(value: float | str) -> int:
    """Milliseconds (an integer, or decimal text) as nanoseconds, exactly."""
    return _scaled(value, 6)


def us(value: float | str) -> int:
    """Microseconds (an integer, or decimal text) as nanoseconds, exactly."""
    return _scaled(value, 3)


def _scaled(value: float | str, places: int) -> int:
    if isinstance(value, int):
        return value * POWERS[places]
    if isinstance(value, float):
        raise BadFrame("a time came as a float: decode it with float_hook=number")
    whole, _, fraction = number(value).partition(".")
    try:
        return int(whole + fraction[:places].ljust(places, "0"))
    except ValueError:
        raise BadFrame(f"{value[:40]!r} is not a time") from None


@lru_cache(maxsize=64)
def _day(date: str) -> int:
    return timegm(datetime.strptime(date, "%Y-%m-%d").timetuple())  # noqa: DTZ007 - read as UTC by timegm


def from_iso(stamp: str) -> int:
    """`2024-05-01T12:00:00.123456789Z` (any number of decimals; `Z`, an offset or nothing for UTC) as nanoseconds.

    Raises BadFrame when it is no such time.
    """
    fraction = stamp[20:-1]
    if stamp[19:20] == "." and stamp[-1] == "Z" and len(fraction) < len(SCALES) and fraction.isdecimal():
        whole: int = _second(stamp[:19])
        return whole + int(fraction) * SCALES[len(fraction)]
    return _any_iso(stamp)


@lru_cache(maxsize=4096)
def _second(stamp: str) -> int:
    """The nanoseconds of a whole second: many frames come in each."""
    return _any_iso(stamp)


def _any_iso(stamp: str) -> int:
    try:
        date, clock = stamp[:10], stamp[11:]
        zone = 0
        if clock.endswith("Z"):
            clock = clock[:-1]
        elif clock[-6:-5] in {"+", "-"} and clock[-3] == ":":
            zone = (int(clock[-5:-3]) * 3600 + int(clock[-2:]) * 60) * (-1 if clock[-6] == "-" else 1)
            clock = clock[:-6]
        whole, _, fraction = clock.partition(".")
        second = _day(date) + int(whole[:2]) * 3600 + int(whole[3:5]) * 60 + int(whole[6:8] or 0) - zone
        return second * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))
    except (ValueError, IndexError):
        raise BadFrame(f"{stamp[:40]!r} is not an ISO time") from None


def _inflater(wbits: int) -> Callable[[bytes], bytes]:
    def inflate(frame: bytes) -> bytes:
        if frame[:1] in {b"{", b"["}:
            return frame  # JSON as it is: some exchanges send errors so, and captures keep what was inflated
        stream = zlib.decompressobj(wbits)
        try:
            out = stream.decompress(frame, LARGEST_FRAME)
        except zlib.error as error:
            raise BadFrame(f"cannot inflate a frame of {len(frame)} bytes: {error}") from None
        if not stream.eof:
            raise BadFrame(f"cannot inflate a frame of {len(frame)} bytes: it is cut off, or too large")
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
