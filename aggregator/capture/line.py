"""The format of a capture: one JSON object a line, for a frame, a REST answer, or a connection's beginning or end."""

import base64
import binascii
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from aggregator.errors import BadFrame
from aggregator.exchange import HTTP_OK
from aggregator.records import SECOND_NS

DIGITS = 10  # before the point of a time in seconds
PLACES = 9  # behind it, of those that count
SCALES = [10 ** (PLACES - places) for places in range(PLACES + 1)]  # ns of the last of so many places
ALIKE = 7  # bytes with which the lines of a capture begin alike: `{"ts":"`
LATEST_NS = 2**63  # since the epoch
NO_TIME = -1


class CaptureLine(Struct):
    """One line of a capture.

    ts: seconds, as decimal text
    dir: `in` and `out` for frames, `open` and `close` for a connection's beginning and end, `rest` for a REST answer
        (the default: a file of REST answers does not say)
    raw: the frame or the body as text, or the reason of an end; raw_b64: a frame that is not text
    url: of the connection or the request; conn: which connection, where a capture holds several
    ends: whether the capture will also tell the end of the connection that opens here
    """

    ts: str | float | None = None
    dir: str = "rest"
    raw: str | None = None
    raw_b64: str | None = None
    url: str | None = None
    conn: str = ""
    exchange: str = ""
    method: str | None = "GET"
    status: int | None = 200
    ends: bool = False

    @property
    def address(self) -> str:
        """The url, or nothing."""
        return self.url or ""

    @property
    def is_refused(self) -> bool:
        """Tell whether the HTTP status says that this is an error and no answer."""
        return self.status is not None and self.status not in HTTP_OK

    @property
    def payload(self) -> bytes:
        """The frame or body. Raises BadFrame when it is not valid base64."""
        if self.raw_b64 is not None:
            try:
                return base64.b64decode(self.raw_b64, validate=True)
            except binascii.Error as error:
                raise BadFrame(f"raw_b64 is not base64: {error}") from None
        return (self.raw or "").encode()

    @property
    def time(self) -> int:
        """Nanoseconds. Raises BadFrame when `ts` is not decimal seconds."""
        return 0 if self.ts is None else _nanoseconds(str(self.ts))


def _nanoseconds(seconds: str) -> int:
    whole, _, part = seconds.partition(".")
    digits = whole + part
    if 0 < len(whole) <= DIGITS and digits.isdigit() and seconds.isascii():
        time = int(digits) * SCALES[len(part)] if len(part) <= PLACES else int(whole + part[:PLACES])
        if time < LATEST_NS:
            return time
    raise BadFrame(f"{seconds[:40]!r} is not a time in decimal seconds")


class CaptureBlock(Struct, frozen=True):
    """Lines of a capture that follow each other; one that is no capture line is the BadFrame that says why.

    first: the number of the first of them, from 1
    times: when each of them was (ns), as `times_of` gives it
    """

    first: int
    lines: Sequence[CaptureLine | BadFrame]
    times: Sequence[int]


def times_of(lines: Sequence[CaptureLine | BadFrame]) -> list[int]:
    """When each of these lines was (ns), of one at least; `NO_TIME` for one that does not say it."""
    times = _together([getattr(line, "ts", None) for line in lines])
    return [_time_of(line) for line in lines] if times is None else times


def _time_of(line: CaptureLine | BadFrame) -> int:
    try:
        return NO_TIME if isinstance(line, BadFrame) else line.time
    except BadFrame:
        return NO_TIME


def _together(texts: Sequence[str | float | None]) -> list[int] | None:
    """Read times at once that have ten digits before the point and all as many behind it; None where they have not.

    The texts joined have points and commas at every so many characters, and only there; what a sign or a space takes is
    no digit, so that the number is smaller than any with all of its digits.
    """
    try:
        text, size = ",".join(texts), len(texts[0])  # type: ignore[arg-type]
    except TypeError:
        return None
    count, every, places = len(texts), size + 1, size - 1 - DIGITS
    if len(text) != count * every - 1 or not 0 <= places <= PLACES or "e" in text or "E" in text:
        return None
    digits = text.replace(".", "")
    if text[DIGITS::every] != "." * count or text[size::every] != "," * (count - 1) or len(digits) + count != len(text):
        return None
    try:
        numbers = _read_numbers(f"[{digits}]")
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    scale = SCALES[places]
    if len(numbers) != count or min(numbers) < 10 ** (size - 2) or max(numbers) * scale >= LATEST_NS:
        return None  # one has other characters among its digits, or is too late
    return numbers if scale == 1 else [number * scale for number in numbers]


_read_numbers = msgspec.json.Decoder(list[int]).decode
_decoder = msgspec.json.Decoder(CaptureLine, float_hook=str)
decode_line = _decoder.decode


def decode_lines(block: bytes) -> list[CaptureLine] | None:
    """All lines of a block at once; None where they are not one object a line, each to its end.

    No value has within it what is looked for between them: a comma would stand there, and a string has no bare newline.
    """
    borders = block.count(b"}\n" + block[:ALIKE])  # so long that it is found fast
    newlines = len(block) - len(block.replace(b"\n", b""))  # three times as fast as `count` before Python 3.13
    if not (block.startswith(b"{") and block.endswith(b"}\n") and newlines == borders + 1):
        return None
    try:
        lines = _decoder.decode_lines(block)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return lines if len(lines) == borders + 1 else None


_encode = msgspec.json.Encoder().encode


def written(wall: int, dir: str, fields: dict[str, str | int]) -> bytes:
    """A line as bytes, of that moment by the wall clock."""
    stamp: dict[str, str | int] = {"ts": f"{wall // SECOND_NS}.{wall % SECOND_NS:09d}", "dir": dir}
    return _encode(stamp | fields) + b"\n"
