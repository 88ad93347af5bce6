"""Transports that are stream sockets: lines in, bytes out, without ever waiting and without a buffer that grows."""

import asyncio
import logging
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from aggregator.feed.access import EVERYTHING, Access, Gate
from aggregator.feed.certificates import Certificates
from aggregator.feed.peer import Host
from aggregator.feed.protocol import LONGEST_LINE_BYTES
from aggregator.feed.subscriber import Subscriber
from aggregator.feed.transports.farewell import Farewells, begin_tls
from aggregator.feed.transports.pace import Paced
from aggregator.feed.transports.tasks import lasting

RECEIVE_BYTES = 64 * 1024  # one read
LINES_AT_ONCE = 8  # so many are heard before others have their turn
SENDS_AT_ONCE = 8  # so many writes, before that
WOULD_WAIT = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
SWEEP_S = 1.0  # between two looks for peers that left without a word
GONE = select.POLLHUP | select.POLLERR

log = logging.getLogger("aggregator.feed")


class SocketPeer:
    """A connected socket on the running loop: what a subscriber hears and says, line by line."""

    def __init__(
        self,
        sock: socket.socket,
        name: str,
        host: str,
        forget: "Callable[[SocketPeer], None]",
        may_write: Callable[[Paced], bool],
    ) -> None:
        """Take over a connected socket; `may_write` tells whether it is its turn (`pace.py`).

        `open` begins, and `forget` is called once it is closed.
        """
        self.name = name
        self._may_write = may_write
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
        if self._subscriber is None or self._is_writing or self.is_closed:
            return
        if self._is_finishing or self._subscriber.ring.is_pressing or self._may_write(self):
            self._write()

    def flush(self) -> None:
        """Write what there is now."""
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
        if isinstance(self._socket, ssl.SSLSocket):
            with suppress(OSError, ValueError):
                self._socket.unwrap()  # it says that this is the end, and waits for nobody
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
            except WOULD_WAIT:
                break
            except OSError:  # the peer is gone
                self.close()
                return
            self._out = self._out[sent:]
            if not self._out and self._is_at_rest:
                self._watch_writes(wanted=False)
                return
        self._watch_writes(wanted=True)

    @property
    def _is_at_rest(self) -> bool:
        """Tell whether nothing waits on either side, so that there is nothing to do before something comes."""
        subscriber = self._subscriber
        return not (self._is_finishing or self._inbox or subscriber is None or subscriber.has_more)

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
        except WOULD_WAIT:
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

    def __init__(
        self,
        listening: socket.socket,
        may_write: Callable[[Paced], bool],
        certificates: Certificates | None = None,
    ) -> None:
        """Take over a socket, which listens by the time of `start`; with certificates TLS is spoken there.

        may_write: tells of a peer whether it is its turn to be written to
        """
        self._may_write = may_write
        self._certificates = certificates
        self._shaking: set[asyncio.Task[None]] = set()
        self._farewells = Farewells()
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

    def refuse(self, sock: socket.socket) -> str:  # noqa: ARG002 - other sockets ask who it is
        """Why an accepted socket is not let in; empty where it is. Raises OSError likewise."""
        return ""

    def leave(self, host: str) -> None:
        """One that was let in, from this address, is gone."""

    def unasked(self, gate: Gate) -> Access | None:  # noqa: ARG002 - a port looks there
        """Let everybody in who opens the file: its rights say who may."""
        return EVERYTHING

    async def start(self, host: Host) -> None:
        """Show everyone who connects to the hub from now on."""
        self._tasks = lasting(self._accept(host), self._sweep())

    async def stop(self) -> None:
        """Let nobody in any more; those who are there stay."""
        tasks = [*self._tasks, *self._shaking]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._farewells.end()
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
                name, origin, refusal = self.name_of(sock), self.host_of(sock), self.refuse(sock)
            except OSError:  # it has left already
                sock.close()
                continue
            if refusal:
                self._farewells.say(sock, refusal, self._certificates)
            elif self._certificates is None:
                self._show(sock, name, origin, host)
            else:
                task = loop.create_task(self._shake_hands(self._certificates, sock, name, origin, host))
                self._shaking.add(task)
                task.add_done_callback(self._shaking.discard)

    def _show(self, sock: socket.socket, name: str, origin: str, host: Host) -> None:
        peer = SocketPeer(sock, name, origin, self._forget, self._may_write)
        self._peers[peer] = None
        peer.open(host.welcome(peer, self.unasked(host.gate)))

    async def _shake_hands(
        self, certificates: Certificates, sock: socket.socket, name: str, origin: str, host: Host
    ) -> None:
        """Begin TLS with whoever has connected, and only then show it to the hub."""
        try:
            secured = await begin_tls(sock, certificates)
        except (OSError, ValueError) as error:  # a timeout is an OSError
            log.info("feed: %s speaks no TLS as it should: %s", name, error or "it says nothing")
            self.leave(origin)
        else:
            self._show(secured, name, origin, host)

    def _forget(self, peer: SocketPeer) -> None:
        if peer in self._peers:
            del self._peers[peer]
            self.leave(peer.host)

    async def _sweep(self) -> None:
        """Hang up on peers that have closed both their sides: only a look can tell.

        One may have ended its own side before. And of what comes together with a reset uvloop tells only once, so that
        what was sent is read, and the end is not.
        """
        while True:
            await asyncio.sleep(SWEEP_S)
            for peer in list(self._peers):
                if peer.is_gone():
                    peer.close()
