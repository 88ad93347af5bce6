"""Sockets that the service manager has opened for the daemon: clients wait at them while it begins anew.

https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
"""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from aggregator.errors import ConfigError
from aggregator.feed.address import Address, TcpAddress, UnixAddress

FIRST_FD = 3
LISTENING = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)


def activated(address: Address) -> socket.socket | None:
    """Give the socket that was opened at this address; null where there is none. Closing it ends nothing for others."""
    for _, sock in _sockets():
        if _is_at(sock, address):
            return sock
        sock.close()
    return None


def check_activated(addresses: Iterable[Address]) -> None:
    """Raise ConfigError where a socket was opened that none of these names: who comes there would never be served."""
    named = list(addresses)
    for name, sock in _sockets():
        with sock:
            if any(_is_at(sock, address) for address in named):
                continue
            place = _place(sock)
        raise ConfigError(
            f'feed: the service manager has opened {place} ("{name}"), and no entry of `listen` names it: '
            f'write "{place}" there (or http: for tcp:), or take it out of the unit of the socket'
        )


def _sockets() -> Iterator[tuple[str, socket.socket]]:
    """Copies of what was opened for this process, each with its name."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return
    count, names = os.environ.get("LISTEN_FDS", ""), os.environ.get("LISTEN_FDNAMES", "").split(":")
    for index in range(int(count) if count.isdecimal() else 0):
        name = names[index] if index < len(names) else "unknown"
        try:
            yield name, socket.socket(fileno=os.dup(FIRST_FD + index))
        except OSError as error:
            raise ConfigError(f'feed: what the service manager has opened ("{name}") is no socket: {error}') from None


def _is_at(sock: socket.socket, address: Address) -> bool:
    """Tell whether a socket listens at an address."""
    if sock.family not in LISTENING or sock.type != socket.SOCK_STREAM or not _accepts(sock):
        return False
    place = sock.getsockname()
    if isinstance(address, UnixAddress):
        return sock.family == socket.AF_UNIX and bool(place) and _resolved(place) == _resolved(address.path)
    if sock.family == socket.AF_UNIX:
        return False
    found = []
    with suppress(OSError):
        found = socket.getaddrinfo(address.host, address.port, sock.family, socket.SOCK_STREAM)
    return any(tuple(each[4][:2]) == tuple(place[:2]) for each in found)


def _accepts(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _resolved(path: str | bytes | Path) -> Path:
    return Path(os.fsdecode(path)).resolve()


def _place(sock: socket.socket) -> str:
    """A socket as `listen` would name it, or what it is."""
    place = sock.getsockname()
    if sock.type != socket.SOCK_STREAM or sock.family not in LISTENING or not _accepts(sock):
        return "something that is no stream to be listened at"
    if sock.family == socket.AF_UNIX:
        return str(UnixAddress(Path(os.fsdecode(place))))
    return str(TcpAddress(*place[:2]))
