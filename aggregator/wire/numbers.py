"""Numbers as text: the exchange's own digits, from JSON numbers and from strings."""

import re
from collections.abc import Callable
from typing import Any

from msgspec import DecodeError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.records import Side

Text = Any  # a JSON number (its digits, where the decoder has a `float_hook` of this module) or a string; see `text`
SCIENTIFIC = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?[eE]([+-]?[0-9]{1,6})", re.ASCII)
DECIMALS = re.compile(r"[+-]?[0-9]{1,3}", re.ASCII)
PLAIN = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)", re.ASCII)
LONGEST_NUMBER = 256  # digits that an expanded exponent may give

# Hot: raises one of `UNREAD` for what is no number as JSON spells it, in half of the time of any method of `str`.
# `plain` then says whether it is one in another spelling.
read: Callable[[str], float] = Decoder(float).decode
read_all: Callable[[str], list[float]] = Decoder(list[float]).decode
UNREAD = (DecodeError, TypeError, UnicodeError)

# A `float_hook` that gives a number's digits as they are on the wire, where fields are read through `text` or its
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


def plain(value: str) -> str:
    """Give a number without an exponent as it is, however it is spelled. Raises BadFrame where it is none."""
    if PLAIN.fullmatch(value) is None:
        raise BadFrame(f"{value[:40]!r} is not a number")
    return value


def text(value: Text) -> str:
    """A price or size that the wire gives as a string or as a number, as decimal text.

    Raises BadFrame for anything else (null, a list, true, text that is no number).
    """
    if type(value) is str:  # hot: a call of `number` or `plain` only where it has something to do
        if "e" in value or "E" in value:
            return number(value)
        try:
            read(value)
        except UNREAD:
            return plain(value)
        return value
    if type(value) is int:
        return str(value)
    raise BadFrame(f"expected a number, got {value!r:.40}")


def optional(value: Text) -> str | None:
    """Do as `text` does, but give None for null and for the empty string."""
    if type(value) is str:  # hot: most text is returned without a further call
        try:
            read(value)
        except UNREAD:
            if not value:
                return None
        else:
            if "e" not in value and "E" not in value:
                return value
    return None if value is None else text(value)


ZERO = "0." + "0" * 40  # behind it sorts every plain decimal text but of zero (and what begins with 00): `price > ZERO`


def nonzero(value: Text) -> str | None:
    """Do as `optional` does with a price, but give None for zero too: exchanges send `0.00` where there is no price."""
    if type(value) is str:  # hot: likewise
        try:
            if read(value) and "e" not in value and "E" not in value:
                return value
        except UNREAD:
            pass
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


def unscaled(number: int, places: int) -> str:
    """A scaled integer as decimal text, without the zeros that only the scale gives it.

    >>> unscaled(-123400, 4)
    '-12.34'
    """
    if number < 0:
        return "-" + unscaled(-number, places)
    digits = str(number).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}".rstrip("0").rstrip(".")


def fraction(percent: Text) -> str | None:
    """A percentage as a fraction: `45.2` is 0.452; of null it is not known."""
    return None if percent is None else number(f"{text(percent)}e-2")


def is_zero(digits: str) -> bool:
    """Tell whether a number, however it is spelled, is zero: such a size removes its level."""
    return not digits.lstrip("0.")


def signed(amount: str) -> tuple[Side | None, str]:
    """The side and the size of an amount that is negative where it was sold; one of zero has no side."""
    size = amount.removeprefix("-")
    return None if is_zero(size) else "sell" if size != amount else "buy", size
