"""One file of the `files` sink as it lies on disk: how it is opened, and what its first lines say.

Whoever reads such files begins here. A replay (`sinks/recording.py`) goes on with every line, in order, and has a gap
where one cannot be read; `research/lines.py` takes what is asked for, and tells the user what cannot be.
"""

from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import msgspec
import zstandard
from msgspec import Struct

ZST = ".zst"
LONGEST_LINE_BYTES = 256 * 2**20  # a header holds every book
BUFFER_BYTES = 2**20


class FileHead(Struct, tag_field="type", tag="header"):
    """The part of a header that names the file's place in the stream; without one nothing is known of that."""

    schema: int = 1
    epoch: str = ""
    offset: int = 0
    ts: int = 0
    exchange: str | None = None
    channel: str | None = None
    symbol: str | None = None
    raw_symbol: str | None = None


class RecordPlace(Struct):
    """The fields of a record that tell where it stands, and how it came."""

    offset: int = 0
    ts_recv: int = 0
    conn: str = ""


decode_head: Callable[[bytes], FileHead] = msgspec.json.Decoder(FileHead).decode
decode_place: Callable[[bytes], RecordPlace] = msgspec.json.Decoder(RecordPlace).decode


def open_lines(path: Path) -> BinaryIO:
    """A file's lines as bytes; of a compressed one all that it holds, in however many frames. Raises OSError."""
    if path.suffix != ZST:
        return path.open("rb")
    raw = path.open("rb")
    reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True, closefd=True)
    return BufferedReader(reader, BUFFER_BYTES)
