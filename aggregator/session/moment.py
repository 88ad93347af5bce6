"""One moment, by both clocks."""

from msgspec import Struct

NEVER_NS = 1 << 62  # later than any moment


class Now(Struct, frozen=True, gc=False):
    """One moment: nanoseconds of the wall clock (for stamps) and of the monotonic clock (for timers)."""

    wall: int
    mono: int
