"""The lines of a capture: many are read at once, and give what each gives by itself."""

from io import BytesIO
from pathlib import Path
from random import Random

import msgspec
import pytest

from aggregator.capture import reading
from aggregator.capture.line import NO_TIME, CaptureLine, decode_line, decode_lines, times_of
from aggregator.capture.reading import read_capture
from aggregator.errors import BadFrame

ODD_LINES = [
    b'{"ts":"1","dir":"in","raw":"a"}',
    b'{"ts":"2","dir":"in","raw":"}{\\n{"}',
    b"",
    b" \r",
    b'{"dir":"in"}{"dir":"in"}',  # two values in one line, and one in two: as many as there are lines
    b'{"ts":"3","dir":',
    b'"in"}',
    b'{"dir":"in"} x}',
    b'{"dir":"in","raw":"',
    b'{"dir":"in"}',
    b'{"ts":4,"dir":"in","ts":4.5}\r',
    b'{"raw":"\xff"}',
    b'["ts"]',
    b'{"ts":"5","dir":"out","raw":"\xe2\x9c\x93"}',
]


@pytest.mark.parametrize("seed", range(60))
def test_lines_are_read_together_as_they_are_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    random = Random(seed)
    monkeypatch.setattr(reading, "BLOCK_BYTES", random.choice([1, 7, 60, 2**18]))
    of = ODD_LINES[: random.choice([2, len(ODD_LINES)])]
    path = tmp_path / "x.jsonl"
    written = b"\n".join(random.choice(of) for _ in range(12)) + random.choice([b"", b"\n"])
    path.write_bytes(written)
    expected: list[tuple[int, CaptureLine | str]] = []
    for number, line in enumerate(BytesIO(written), 1):
        try:
            expected.append((number, decode_line(line)))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            if not line.isspace():
                expected.append((number, f"{path}:{number}: not a line of a capture: {error}"))
    found = [(number, str(line) if isinstance(line, BadFrame) else line) for number, line in read_capture(path)]
    assert found == expected


def test_values_that_are_no_lines_are_not_taken_for_them() -> None:
    one, other = b'{"dir":"in"}', b'{"dir":"out"}'
    assert decode_lines(one + b"\n" + other + b"\n") == [CaptureLine(dir="in"), CaptureLine(dir="out")]
    assert decode_lines(one + other + b"\n" + b'{"dir":\n"in"}\n') is None
    assert decode_lines(one + b"\n\n" + other + b"\n") is None
    assert decode_lines(one + b"\n" + other) is None


def test_a_line_without_end_takes_no_more_memory_than_a_line_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", 60)
    monkeypatch.setattr(reading, "LONGEST_LINE_BYTES", 200)
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"x" * 650 + b'\n{"dir":"in"}\n')
    *bad, (_, last) = read_capture(path)
    assert [type(line) for _, line in bad] == [BadFrame] * 3
    assert last == CaptureLine(dir="in")


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("1.5", 1_500_000_000),
        ("1700000000.000000001", 1_700_000_000_000_000_001),
        ("1700000000.0000000019", 1_700_000_000_000_000_001),
        ("9223372036.854775807", 2**63 - 1),
        ("1.", 1_000_000_000),
    ],
)
def test_a_time_is_told_to_the_nanosecond(text: str, ns: int) -> None:
    assert CaptureLine(ts=text).time == ns


@pytest.mark.parametrize(
    "text", ["", ".5", "-1", "1e9", "1_0", " 1", "1.5.5", "\u0663", "12345678901", "9223372036.854775808", "nan"]
)
def test_what_is_no_time_in_seconds_is_an_error(text: str) -> None:
    with pytest.raises(BadFrame, match="not a time"):
        CaptureLine(ts=text).time  # noqa: B018 - that is what is tried


TIMES = [
    ["1700000000.123", "1700000000.124", "1699999999.999"],
    ["1700000000.123456789"],
    ["9223372036.854775807", "1000000000.000000000"],
    ["9223372036.854775808", "1000000000.000000000"],
    ["0000000001.5", "1700000000.5"],
    ["1700000000.", "1700000001."],
    ["1700000000.1234567890", "1700000000.1234567891"],
    ["1700000000.12", "1700000000.123", "1700000000.1"],
    ["1700000000.123", "17000000001.23"],
    ["1700000000.123", "170000000,.123"],
    ["1700000000.1,1", "1700000000,1.1"],
    ["1700000000.123", "1700000000.1.3"],
    ["1700000000.123", "1700000000.1 3", " 700000000.123"],
    ["1700000000.12\u0663", "1700000000.12\u00b2"],
    ["1700000000.123", None, "yesterday", ""],
    [1700000000, "1700000000.123"],
    [""],
]


@pytest.mark.parametrize("texts", TIMES)
def test_times_are_read_together_as_they_are_alone(texts: list[str | float | None]) -> None:
    lines: list[CaptureLine | BadFrame] = [CaptureLine(ts=text) for text in texts]

    def alone(line: CaptureLine | BadFrame) -> int:
        try:
            return NO_TIME if isinstance(line, BadFrame) else line.time
        except BadFrame:
            return NO_TIME

    assert times_of(lines) == [alone(line) for line in lines]
    lines.append(BadFrame("no line"))
    assert times_of(lines) == [alone(line) for line in lines]
