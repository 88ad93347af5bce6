"""Mutants of genuine frames: what an exchange might send that has gone wrong, or that means harm."""

import re
from collections.abc import Callable, Sequence
from random import Random

LARGEST = 2**18  # bytes of a mutant
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s"\[\]{}:,]+|\s+|"')
OPENS, CLOSES = {b"[", b"{"}, {b"]", b"}"}

# fmt: off
VALUES = (
    b"null", b"true", b"false", b"0", b"-0", b"-1", b"1e999", b"-1e-999", b"0.1e1", b"9007199254740993",
    b"18446744073709551616", b"-9223372036854775809", b"1" + b"0" * 400, b"1" * 4299, b"1" * 5000, b"0." + b"1" * 5000,
    b"NaN", b'""', b'" "', b'"0"', b'"-0"', b'"-1"', b'"1e5"', b'"1E-5000"', b'"NaN"', b'"Infinity"', b'"1_0"',
    b'"0x10"', b'"' + b"7" * 5000 + b'"', b'"0.' + b"0" * 5000 + b'1"', b'"' + "٣".encode() + b'"', b'"+1"', b'".5"',
    b'"5."',
    rb'"\ud800"', rb'"\u0000"', rb'"\u001b[2J"', rb'"a\nb"', rb'"\u202e"', b'"*"', b'"' + b"A" * 10_000 + b'"',
    b'"2026-13-45T99:99:99Z"', b'"0001-01-01T00:00:00Z"', b'"9999-12-31T23:59:59.999999999Z"', b'"1970"',
    b"[]", b"{}", b"[[]]", b"[null]", b'[["1","2"]]', b'{"":{}}', b"[" * 60 + b"]" * 60, b"[" * 5000, b'{"a":' * 900,
)
# fmt: on


def mutant(frame: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """A frame that has been changed in one place or several; `others` lend it parts of theirs."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        frame = rng.choice(WAYS)(frame, others, rng)[:LARGEST]
    return frame


def _flip(frame: bytes, _: Sequence[bytes], rng: Random) -> bytes:
    if not frame:
        return bytes([rng.randrange(256)])
    at = rng.randrange(len(frame))
    return frame[:at] + bytes([rng.randrange(256)]) + frame[at + 1 :]


def _cut(frame: bytes, _: Sequence[bytes], rng: Random) -> bytes:
    return frame[: rng.randrange(len(frame) + 1)]


def _repeat(frame: bytes, _: Sequence[bytes], rng: Random) -> bytes:
    start, stop = sorted(rng.randrange(len(frame) + 1) for _ in range(2))
    return frame[:start] + frame[start:stop] * rng.choice((0, 2, 2, 50)) + frame[stop:]


def _splice(frame: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    other = rng.choice(others) if others else frame
    return frame[: rng.randrange(len(frame) + 1)] + other[rng.randrange(len(other) + 1) :]


def _value(frame: bytes, _: Sequence[bytes], rng: Random) -> bytes:
    """Another value in the place of one, or another key."""
    tokens = TOKEN.findall(frame)
    places = [at for at, token in enumerate(tokens) if token not in b"[]{}:,"]
    if places:
        tokens[rng.choice(places)] = rng.choice(VALUES)
    return b"".join(tokens)


def _part(frame: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """A value with all that is in it: gone, many times over, or in the place of another one."""
    tokens = TOKEN.findall(frame)
    if not tokens:
        return frame
    start, stop = _span(tokens, rng)
    part = tokens[start:stop]
    way = rng.randrange(4)
    if way == 0:
        part = []
    elif way == 1:
        part = [*part, b","] * rng.choice((1, 2, 20)) + part
    elif way == 2 and others:
        donor = TOKEN.findall(rng.choice(others))
        part = donor[slice(*_span(donor, rng))] if donor else part
    else:
        part = [rng.choice((b"[", b'{"a":')), *part, rng.choice((b"]", b"}"))]
    return b"".join([*tokens[:start], *part, *tokens[stop:]])


def _span(tokens: Sequence[bytes], rng: Random) -> tuple[int, int]:
    """Where a value begins and ends, of which one may be a list or an object."""
    start = stop = rng.randrange(len(tokens))
    depth = 0
    while stop < len(tokens):
        depth += (tokens[stop] in OPENS) - (tokens[stop] in CLOSES)
        stop += 1
        if depth <= 0:
            break
    return start, stop


WAYS: tuple[Callable[[bytes, Sequence[bytes], Random], bytes], ...] = (
    _flip, _cut, _repeat, _splice, _value, _value, _value, _part, _part,
)  # fmt: skip
