"""The last words to connections that are not let in: why, before they are hung up on."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from aggregator.feed.certificates import Certificates
from aggregator.feed.formats import encode_message
from aggregator.feed.protocol import Bye, Error

HANDSHAKE_S = 3.0  # seconds that a client has to begin TLS
FAREWELL_S = 1.0  # seconds that a client has to read the words
MOST_FAREWELLS = 16  # at once; who comes then is hung up on with what can be said in one breath, or without a word

log = logging.getLogger("aggregator.feed")


def last_words(reason: str) -> bytes:
    """The last lines to somebody who is not let in, as they would be if it were told so later."""
    return encode_message(Error(reason)) + encode_message(Bye(reason))


class Farewells:
    """Says why to connections that are not let in, and hangs up on them.

    Each stays for a moment: what it has said unread would make the end a reset, which may take the words with it.
    """

    def __init__(self, shape: Callable[[bytes], bytes] = bytes) -> None:
        """Say lines, as `shape` makes bytes of them."""
        self._shape = shape
        self._open: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def say(self, sock: socket.socket, reason: str, certificates: Certificates | None = None) -> None:
        """Tell a connection that was accepted why it is hung up on. Never waits."""
        words = self._shape(last_words(reason))
        has_room = len(self._open) + len(self._tasks) < MOST_FAREWELLS
        if certificates is None:
            self._say(sock, words, may_stay=has_room)
        elif has_room:
            task = asyncio.get_running_loop().create_task(self._say_by_tls(sock, words, certificates))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            sock.close()

    def _say(self, sock: socket.socket, words: bytes, *, may_stay: bool) -> None:
        with suppress(OSError, ValueError):
            sock.send(words)
            if isinstance(sock, ssl.SSLSocket):
                sock.unwrap()  # it says that this is the end, and waits for nobody
        with suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        if may_stay:
            self._open.add(sock)
            asyncio.get_running_loop().call_later(FAREWELL_S, self._close, sock)
        else:
            sock.close()

    async def _say_by_tls(self, sock: socket.socket, words: bytes, certificates: Certificates) -> None:
        try:
            secured = await begin_tls(sock, certificates)
        except (OSError, ValueError):
            return
        self._say(secured, words, may_stay=True)

    def _close(self, sock: socket.socket) -> None:
        self._open.discard(sock)
        sock.close()

    async def end(self) -> None:
        """Hang up on all of them."""
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sock in list(self._open):
            self._close(sock)


async def begin_tls(sock: socket.socket, certificates: Certificates) -> ssl.SSLSocket:
    """Do the handshake of TLS without keeping anybody waiting. Raises OSError or ValueError, and has closed it then."""
    secured: socket.socket = sock
    try:
        secured = found = certificates.context().wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        async with asyncio.timeout(HANDSHAKE_S):
            await _shake(found)
    except BaseException:
        secured.close()
        raise
    return found


async def _shake(sock: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        ready = loop.create_future()
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            watch, forget = loop.add_reader, loop.remove_reader
        except ssl.SSLWantWriteError:
            watch, forget = loop.add_writer, loop.remove_writer
        else:
            return
        watch(sock, _settle, ready)
        try:
            await ready
        finally:
            forget(sock)


def _settle(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
