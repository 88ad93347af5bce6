"""Reading captures: plain or compressed, many lines at once."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import zstandard

from aggregator.capture.line import CaptureBlock, CaptureLine, decode_line, decode_lines, times_of
from aggregator.errors import BadFrame, NotACapture

RECORD = b'{"type":"'  # begins every line of our own files, and none of a capture
LONGEST_LINE_BYTES = 128 * 2**20
BLOCK_BYTES = 2**18  # a capture is read in pieces of at most so many


def _unpacked(path: Path, file: BinaryIO) -> BinaryIO:
    """A capture's lines as bytes: plain or `.zst`."""
    if path.suffix == ".zst":
        return io.BufferedReader(zstandard.open(file, "rb"), 2**20)  # its own reader has no lines
    return file


def read_capture(
    path: Path, told: Callable[[int], object] | None = None
) -> Iterator[tuple[int, CaptureLine | BadFrame]]:
    """Each line with its number from 1, as `read_blocks` gives them. Raises what that raises."""
    for block in read_blocks(path, told):
        yield from enumerate(block.lines, block.first)


def read_blocks(path: Path, told: Callable[[int], object] | None = None) -> Iterator[CaptureBlock]:
    """All lines, many at once; one that is blank does not come.

    path: plain or `.zst`; `-` is standard input
    told: is told now and then how many bytes of the file were read
    Raises OSError when the file cannot be read, and NotACapture when it holds records.
    """
    is_file = str(path) != "-"
    with path.open("rb") if is_file else sys.stdin.buffer as packed, _unpacked(path, packed) as file:
        number = 1
        try:
            for block in _blocks(file):
                if number == 1 and block.startswith(RECORD):
                    raise NotACapture(
                        f"{path}: this is a recording, not a capture: its lines are records already; "
                        "`aggregator capture` keeps frames"
                    )
                lines = decode_lines(block)
                if lines is None:
                    yield from _one_by_one(path, number, block)
                    number += block.count(b"\n") or 1
                else:
                    yield CaptureBlock(number, lines, times_of(lines))
                    number += len(lines)
                if told is not None and is_file:
                    told(packed.tell())
        except zstandard.ZstdError as error:
            yield _block(number, BadFrame(f"{path}: cut off or not zstd: {error}"))


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines, many at once; the last may lack its end, and so does one that is too long."""
    begun: list[bytes] = []  # pieces of a line whose end has not come yet
    size = 0
    while piece := file.read1(BLOCK_BYTES):  # type: ignore[attr-defined]
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join([*begun, piece[:end]])
            begun, size = [], 0
        if end < len(piece):
            begun.append(piece[end:])
            size += len(begun[-1])
        if size >= LONGEST_LINE_BYTES:
            yield b"".join(begun)
            begun, size = [], 0
    if begun:
        yield b"".join(begun)


def _one_by_one(path: Path, number: int, block: bytes) -> Iterator[CaptureBlock]:
    for at, line in enumerate(io.BytesIO(block), number):
        try:
            yield _block(at, decode_line(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            if not line.isspace():
                yield _block(at, BadFrame(f"{path}:{at}: not a line of a capture: {error}"))


def _block(number: int, line: CaptureLine | BadFrame) -> CaptureBlock:
    return CaptureBlock(number, [line], times_of([line]))
