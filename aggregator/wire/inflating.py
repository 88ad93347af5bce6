"""Frames that an exchange compresses itself, beside what the WebSocket may do."""

import zlib
from collections.abc import Callable

from aggregator.errors import BadFrame, Bomb
from aggregator.wire.frames import MOST_VALUES, is_crowded

LARGEST_INFLATED_BYTES = 8 * 2**20  # a guard against bombs, far above any real frame


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
        if is_crowded(out):
            raise Bomb(f"a frame of {len(out)} bytes inflated holds more than {MOST_VALUES} values")
        return out

    return inflate


gunzip = _inflater(31)
unzlib = _inflater(15)
undeflate = _inflater(-15)  # the bare stream, without a head or a sum
