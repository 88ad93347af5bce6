"""One subscriber's socket: lines in, bytes out, without ever waiting and without a buffer that grows."""

import asyncio
import logging
import select
import socket
from collections.abc import Callable

from aggregator.feed.protocol import LONGEST_LINE

RECEIVE = 64 * 1024  # bytes of one read
LINES_AT_ONCE = 8  # before others have their turn
SENDS_AT_ONCE = 8  # likewise
GONE = select.POLLHUP | select.POLLERR

log = logging.getLogger("aggregator.feed")


class Connection:
    """A non-blocking socket on the running loop.

    `refill` gives what is to be written next, empty when there is nothing; `hear` gets each line, without its end;
    `may_hear` says whether answers may be made now; `ended` is called once the peer will say no more, `closed` once
    the socket is closed.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        refill: Callable[[], bytes],
        hear: Callable[[bytes], None],
        may_hear: Callable[[], bool],
        ended: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        """Take over a connected socket; `open` begins."""
        self.socket = sock
        self.is_closed = False
        self.has_ended = False  # the peer's side
        self._loop = asyncio.get_running_loop()
        self._refill = refill
        self._hear = hear
        self._may_hear = may_hear
        self._ended = ended
        self._closed = closed
        self._inbox = bytearray()
        self._out = memoryview(b"")
        self._is_reading = False
        self._is_writing = False
        self._is_resumed = False
        self._is_finishing = False

    def open(self) -> None:
        """Begin to read, and to write what there is."""
        self._watch_reads(wanted=True)
        self.wake()

    def wake(self) -> None:
        """There may be something to write."""
        if not self._is_writing and not self.is_closed:
            self._write()

    def finish(self) -> None:
        """Read no more, and close once everything is written."""
        self._is_finishing = True
        self._watch_reads(wanted=False)
        self.wake()

    def close(self) -> None:
        """Close at once."""
        if self.is_closed:
            return
        self._watch_reads(wanted=False)
        self._watch_writes(wanted=False)
        self.is_closed = True
        self.socket.close()
        self._out = memoryview(b"")
        self._closed()

    def is_gone(self) -> bool:
        """Tell whether the peer has closed both its sides; one that has ended only its own still listens."""
        poll = select.poll()
        poll.register(self.socket, 0)
        return any(event & GONE for _, event in poll.poll(0))

    # --- writing

    @property
    def unsent(self) -> int:
        """Bytes that were taken to be written, and could not be yet."""
        return len(self._out)

    def _write(self) -> None:
        for _ in range(SENDS_AT_ONCE):
            if not self._out and not self._fill():
                return
            try:
                sent = self.socket.send(self._out)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # the peer is gone
                self.close()
                return
            self._out = self._out[sent:]
        self._watch_writes(wanted=True)

    def _fill(self) -> bool:
        """Have more to write; where there is none, rest, or close if that was waited for."""
        try:
            self._out = memoryview(self._refill())
        except Exception:
            log.exception("feed: a subscriber is hung up on, for an error of ours")
            self.close()
            return False
        if self._inbox and not self._is_finishing:
            self._resume_soon()  # lines may have waited for room for their answers
        if not self._out:
            self._watch_writes(wanted=False)
            if self._is_finishing:
                self.close()
        return bool(self._out)

    # --- reading

    def _read(self) -> None:
        try:
            data = self.socket.recv(RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        self._inbox += data
        if not data:
            self.has_ended = True
            if self.is_gone():
                self.close()
                return
            if self._inbox:
                self._inbox += b"\n"  # the last line may lack its end
        self._work()

    def _work(self) -> None:
        """Hear some lines; the rest later, and not before the peer reads its answers."""
        self._is_resumed = False
        for _ in range(LINES_AT_ONCE):
            if self.is_closed or self._is_finishing or not self._has_line() or not self._may_hear():
                break
            end = self._inbox.find(b"\n")
            end = len(self._inbox) if end < 0 else end  # too long, and `hear` will say so
            line = bytes(self._inbox[:end])
            del self._inbox[: end + 1]
            self._hear(line)
        if self.is_closed or self._is_finishing:
            return
        has_more = self._has_line()
        self._watch_reads(wanted=not has_more and not self.has_ended)
        if has_more and self._may_hear():
            self._resume_soon()
        elif self.has_ended and not has_more:
            self._ended()

    def _resume_soon(self) -> None:
        if not self._is_resumed:
            self._is_resumed = True
            self._loop.call_soon(self._work)

    def _has_line(self) -> bool:
        return b"\n" in self._inbox or len(self._inbox) > LONGEST_LINE

    def _watch_reads(self, *, wanted: bool) -> None:
        if wanted != self._is_reading and not self.is_closed:
            self._is_reading = wanted
            if wanted:
                self._loop.add_reader(self.socket, self._read)
            else:
                self._loop.remove_reader(self.socket)

    def _watch_writes(self, *, wanted: bool) -> None:
        if wanted != self._is_writing and not self.is_closed:
            self._is_writing = wanted
            if wanted:
                self._loop.add_writer(self.socket, self._write)
            else:
                self._loop.remove_writer(self.socket)
