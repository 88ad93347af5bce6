"""The writer of a shard at one member: the lease and the share together, without I/O.

One frame is under way at a time. It names the frame that it follows, and it is sent again, under the same id, until the
server has answered: that it is stored, was stored already, or is refused because another one follows there. So frames
are as large as messages may be where records come faster than answers.
"""

from msgspec import Struct

from aggregator.cluster.lease import LeaseKeeper
from aggregator.cluster.share import Share, ShareFrame, WholeBook
from aggregator.records import Record

MOST_RECORDS = 20_000  # in one frame
MOST_FRAME_BYTES = 4_000_000  # a reader holds its process up for as long as it reads one frame


class FrameWrite(Struct, frozen=True):
    """A frame that is to be sent now.

    last: the number in the stream of the frame that it follows; 0: it is the first
    id: the server knows by it what comes again
    """

    frame: ShareFrame
    last: int
    id: str


class ShardWriter:
    """The writer of one shard at one member."""

    def __init__(self, keeper: LeaseKeeper, share: Share, life: str, *, most: int = MOST_RECORDS) -> None:
        """Write nothing yet."""
        self.keeper = keeper
        self.share = share
        self.place = 0  # the number in the stream of the last frame that was heard
        self.sent: FrameWrite | None = None  # without an answer
        self.most_bytes = MOST_FRAME_BYTES  # in one frame; a server may take less
        self._life = life
        self._most = most
        self._last = 0  # the number in the stream of this member's last frame
        self._barrier = 0  # the number of the barrier: all up to it is to be heard
        self._fence = 0  # the ownership that begins there

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing is under way, so that the shard may be given up."""
        return self.sent is None

    @property
    def is_behind(self) -> bool:
        """Tell whether so much waits that the next frame is a full one."""
        return self.share.fills(self.most_bytes)

    def step(self, now: float, wall: int, whole: WholeBook) -> FrameWrite | None:
        """Give the frame that is to be sent now, the same one again until its answer comes.

        now: this member's monotonic clock
        wall: its wall clock, ns
        """
        if not self.keeper.may_publish(now):
            self._stop(wall)
            return None
        fence = self.keeper.fence
        if self._fence != fence:
            self._stop(wall)
            if self.share.fence > fence:
                return None  # another one came after this one, and the bucket has not told it yet
            if self.sent is None:
                self.sent = self._write(self.share.barrier(fence), self.place)
            return self.sent
        if self._barrier:
            if self.place < self._barrier:
                return None
            self.share.take_over(fence, wall, whole)
            self._barrier = 0
        if self.sent is None:
            frame = self.share.next_frame(self._most, self.most_bytes)
            self.sent = None if frame is None else self._write(frame, self._last)
        return self.sent

    def _write(self, frame: ShareFrame, last: int) -> FrameWrite:
        return FrameWrite(frame, last, f"{self._life}:{frame.fence}:{frame.first}:{len(frame.records)}:{last}")

    def _stop(self, wall: int) -> None:
        """Begin with a barrier the next time. What is under way may be stored all the same, which is heard then."""
        if self._fence:
            self.sent, self._fence, self._barrier = None, 0, 0
            self.share.let_go(wall)
        elif self.sent is not None and self.sent.frame.fence != self.keeper.fence:
            self.sent = None

    def stored(self, write: FrameWrite, number: int) -> None:
        """Take the answer that a frame has this number in the stream."""
        if write is not self.sent:
            return
        self.sent, self._last = None, number
        if write.frame.records:
            self.share.stored(write.frame)
        else:
            self._fence, self._barrier = write.frame.fence, number

    def refused(self, write: FrameWrite, wall: int) -> None:
        """Take the answer that another frame stands where this one was to follow."""
        if write is self.sent:
            self.sent = None
            self._stop(wall)

    def heard(self, number: int, fence: int, last: int, records: list[Record]) -> None:
        """Take a frame of the stream, in order."""
        self.place = max(self.place, number)
        self.share.heard(fence, last, records)

    def begin_anew(self, wall: int) -> None:
        """Forget what was gathered: this member gathers no more, or again from now on."""
        self._stop(wall)
        self.sent = None
        self.share.forget()
