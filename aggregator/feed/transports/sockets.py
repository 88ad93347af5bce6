"""Transports that are stream sockets: lines in, bytes out, without ever waiting and without a buffer that grows."""

import asyncio
import logging
import select
import socket
from collections.abc import Callable

from aggregator.feed.access import EVERYTHING, Access, Gate
from aggregator.feed.peer import Host
from aggregator.feed.protocol import LONGEST_LINE_BYTES
from aggregator.feed.subscriber import Subscriber

RECEIVE_BYTES = 64 * 1024  # one read
LINES_AT_ONCE = 8  # so many are heard before others have their turn
SENDS_AT_ONCE = 8  # so many writes, before that
SWEEP_S = 1.0  # between two looks for peers that left without a word
GONE = select.POLLHUP | select.POLLERR

log = logging.getLogger("aggregator.feed")


class SocketPeer:
    """A connected socket on the running loop: what a subscriber hears and says, line by line."""

    def __init__(self, sock: socket.socket, name: str, host: str, forget: "Callable[[SocketPeer], None]") -> None:
        """Take over a connected socket; `open` begins, and `forget` is called once it is closed."""
        self.name = name
        self.host = host
        self.is_closed = False
        self.has_ended = False  # the far end's side
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._forget = forget
        self._subscriber: Subscriber | None = None
        self._inbox = bytearray()
        self._out = memoryview(b"")
        self._is_reading = False
        self._is_writing = False
        self._is_resumed = False
        self._is_finishing = False

    def open(self, subscriber: Subscriber) -> None:
        """Begin to read for a subscriber, and to write what there is for it."""
        self._subscriber = subscriber
        self._watch_reads(wanted=not self._is_finishing)
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
        self._socket.close()
        self._out = memoryview(b"")
        self._forget(self)
        if self._subscriber is not None:
            self._subscriber.gone()

    def is_gone(self) -> bool:
        """Tell whether the far end has closed both its sides; one that has ended only its own still listens."""
        poll = select.poll()
        poll.register(self._socket, 0)
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
                sent = self._socket.send(self._out)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # the peer is gone
                self.close()
                return
            self._out = self._out[sent:]
        self._watch_writes(wanted=True)

    def _fill(self) -> bool:
        """Get more to write. Where there is none, wait to be woken, or close if that was asked for."""
        if self._subscriber is None:
            return False
        self._out = memoryview(self._subscriber.refill())
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
            data = self._socket.recv(RECEIVE_BYTES)
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
        subscriber = self._subscriber
        if subscriber is None:
            return
        for _ in range(LINES_AT_ONCE):
            if self.is_closed or self._is_finishing or not self._has_line() or not subscriber.may_hear:
                break
            end = self._inbox.find(b"\n")
            end = len(self._inbox) if end < 0 else end  # too long, and `hear` will say so
            line = bytes(self._inbox[:end])
            del self._inbox[: end + 1]
            subscriber.hear(line)
        if self.is_closed or self._is_finishing:
            return
        has_more = self._has_line()
        self._watch_reads(wanted=not has_more and not self.has_ended)
        if has_more and subscriber.may_hear:
            self._resume_soon()
        elif self.has_ended and not has_more:
            subscriber.ended()

    def _resume_soon(self) -> None:
        if not self._is_resumed:
            self._is_resumed = True
            self._loop.call_soon(self._work)

    def _has_line(self) -> bool:
        return b"\n" in self._inbox or len(self._inbox) > LONGEST_LINE_BYTES

    def _watch_reads(self, *, wanted: bool) -> None:
        if wanted != self._is_reading and not self.is_closed:
            self._is_reading = wanted
            if wanted:
                self._loop.add_reader(self._socket, self._read)
            else:
                self._loop.remove_reader(self._socket)

    def _watch_writes(self, *, wanted: bool) -> None:
        if wanted != self._is_writing and not self.is_closed:
            self._is_writing = wanted
            if wanted:
                self._loop.add_writer(self._socket, self._write)
            else:
                self._loop.remove_writer(self._socket)


class SocketTransport:
    """A listening socket, and the peers that came by it."""

    def __init__(self, listening: socket.socket) -> None:
        """Take over a socket, which listens by the time of `start`."""
        self.socket = listening
        self.socket.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        self._peers: dict[SocketPeer, None] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def name_of(self, sock: socket.socket) -> str:
        """Name the other end of an accepted socket. Raises OSError where it has left already."""
        raise NotImplementedError

    def host_of(self, sock: socket.socket) -> str:  # noqa: ARG002 - a port's has one
        """The address from which an accepted socket came; empty for this machine's own. Raises OSError likewise."""
        return ""

    def unasked(self, gate: Gate) -> Access | None:  # noqa: ARG002 - a port looks there
        """Let everybody in who opens the file: its rights say who may."""
        return EVERYTHING

    async def start(self, host: Host) -> None:
        """Show everyone who connects to the hub from now on."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._accept(host)), loop.create_task(self._sweep())]

    async def stop(self) -> None:
        """Let nobody in any more; those who are there stay."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.socket.close()

    async def close(self) -> None:
        """Do nothing more: the hub has closed every peer."""

    async def _accept(self, host: Host) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self.socket)
            except OSError as error:
                log.error("feed: cannot take a subscriber: %s", error)  # noqa: TRY400 - it says all
                await asyncio.sleep(SWEEP_S)
                continue
            sock.setblocking(False)  # noqa: FBT003 - as above
            try:
                peer = SocketPeer(sock, self.name_of(sock), self.host_of(sock), self._forget)
            except OSError:  # it has left already
                sock.close()
                continue
            self._peers[peer] = None
            peer.open(host.welcome(peer, self.unasked(host.gate)))

    def _forget(self, peer: SocketPeer) -> None:
        self._peers.pop(peer, None)

    async def _sweep(self) -> None:
        """Hang up on peers that ended their side and have since closed the other: only a look can tell."""
        while True:
            await asyncio.sleep(SWEEP_S)
            for peer in list(self._peers):
                if peer.has_ended and peer.is_gone():
                    peer.close()
