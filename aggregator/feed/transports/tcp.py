"""A TCP port of this machine: lines of NDJSON, as on the unix socket."""

import socket

from aggregator.errors import ConfigError
from aggregator.feed.access import Access, Gate
from aggregator.feed.address import TcpAddress
from aggregator.feed.listener import BACKLOG
from aggregator.feed.transports.sockets import SocketTransport

IDLE_S, PAUSE_S, PROBES = 15, 15, 4  # one that ended its side and has left is found within two minutes of silence
SENT_BYTES = 128 * 1024  # the system holds twice this for a client that does not read


class TcpTransport(SocketTransport):
    """Listens at a port of the loopback interface, and at no other."""

    def __init__(self, address: TcpAddress) -> None:
        """Listen. Raises ConfigError when that cannot be, or must not be."""
        listening = listen(address)
        super().__init__(listening)
        self.address = bound(listening, address)

    def name_of(self, sock: socket.socket) -> str:
        """Name the address from which a subscriber came; its socket is set up for short delays."""
        set_up(sock)
        return str(TcpAddress(*sock.getpeername()[:2]))

    def host_of(self, sock: socket.socket) -> str:
        """Give the address from which a subscriber came."""
        return str(sock.getpeername()[0])

    def unasked(self, gate: Gate) -> Access | None:
        """Let nobody have anything without a token, where there are tokens."""
        return gate.unasked


def listen(address: TcpAddress) -> socket.socket:
    """Give a socket that listens at a port. Raises ConfigError when that cannot be, or must not be."""
    if not address.is_loopback:
        raise ConfigError(f"feed: {address.refusal}")
    try:
        family, kind, _, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
    except OSError as error:
        raise ConfigError(f"feed: cannot listen at {address}: {error.strerror or error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(f"feed: cannot listen at {address}: {error.strerror or error}") from error
    return listening


def bound(listening: socket.socket, address: TcpAddress) -> TcpAddress:
    """Give the address at which a socket listens, for one that may have asked for any port."""
    host, port = listening.getsockname()[:2]
    return TcpAddress(host, port, address.scheme)


def set_up(sock: socket.socket) -> None:
    """Set up an accepted socket: short delays, little held for who does not read, and the end of who is gone found."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_BYTES)  # else it grows to megabytes
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PAUSE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
