"""What permessage-deflate saves in bytes and costs to undo, on captures: `python -m bench.deflate CAPTURE...`."""

import argparse
import sys
import zlib
from functools import partial
from pathlib import Path

from aggregator.capture.line import CaptureLine
from aggregator.capture.reading import read_capture
from bench.measure import MICRO, table, timed

TAIL = b"\x00\x00\xff\xff"  # what ends each message, and is left out on the wire
MOST = 50_000  # frames of a capture


def deflated(frames: list[bytes]) -> list[bytes]:
    """As a server sends them, with its context kept from frame to frame."""
    made = zlib.compressobj(wbits=-15)
    return [(made.compress(frame) + made.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL) for frame in frames]


def inflate(frames: list[bytes]) -> None:
    """As a client undoes it."""
    made = zlib.decompressobj(wbits=-15)
    for frame in frames:
        made.decompress(frame + TAIL)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("captures", type=Path, nargs="+")
    rows: list[list[object]] = []
    for path in parser.parse_args().captures:
        frames = [line.payload for _, line in read_capture(path) if isinstance(line, CaptureLine) and line.dir == "in"][
            :MOST
        ]
        if not frames:
            print(f"{path}: no frame that came in", file=sys.stderr)
            continue
        small = deflated(frames)
        before, after = sum(map(len, frames)), sum(map(len, small))
        spent = min(timed(partial(inflate, small)) for _ in range(3))
        rows.append([path.parent.name, len(frames), before / len(frames), after / before, spent / len(frames) * MICRO])
    table("permessage-deflate", ("exchange", "frames", "bytes", "share", "µs"), rows)


if __name__ == "__main__":
    main()
