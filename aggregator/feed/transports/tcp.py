"""A TCP port: lines of NDJSON, as on the unix socket, by TLS where there is a certificate."""

import socket

from aggregator.errors import ConfigError
from aggregator.feed.access import Access, Gate
from aggregator.feed.activation import activated
from aggregator.feed.address import TcpAddress
from aggregator.feed.certificates import Certificates
from aggregator.feed.crowd import Crowd
from aggregator.feed.settings import FeedSettings
from aggregator.feed.socket_file import BACKLOG
from aggregator.feed.transports.pace import Pace
from aggregator.feed.transports.sockets import SocketTransport

IDLE_S, PAUSE_S, PROBES = 15, 15, 4  # one that ended its side and has left is found within two minutes of silence
SENT_BYTES = 128 * 1024  # the system holds twice this for a client that does not read


class Ports:
    """All that the ports of a feed have in common."""

    def __init__(self, settings: FeedSettings, pace: Pace) -> None:
        """Read the certificate. Raises ConfigError where a port must not be listened at, or TLS cannot be had."""
        for address in settings.listen:
            refusal = settings.refusal(address)
            if refusal:
                raise ConfigError(f"feed: {refusal}")
        self.crowd = Crowd(settings.max_clients_per_address)
        self.pace = pace
        self.certificates: Certificates | None = None
        if settings.tls_certificate is not None:
            key = settings.tls_key or settings.tls_certificate
            self.certificates = Certificates(settings.tls_certificate, key, settings.client_ca)


class TcpTransport(SocketTransport):
    """Listens at a port."""

    def __init__(self, address: TcpAddress, ports: Ports) -> None:
        """Listen. Raises ConfigError when that cannot be."""
        listening = listen(address)
        super().__init__(listening, ports.pace.may_write_to_port, ports.certificates)
        self._crowd = ports.crowd
        self.address = bound(listening, address)

    def name_of(self, sock: socket.socket) -> str:
        """Name the address from which a subscriber came; its socket is set up for short delays."""
        set_up(sock)
        return str(TcpAddress(*sock.getpeername()[:2]))

    def host_of(self, sock: socket.socket) -> str:
        """Give the address from which a subscriber came."""
        return str(sock.getpeername()[0])

    def refuse(self, sock: socket.socket) -> str:
        """Let in so many from one address."""
        return self._crowd.refuse(self.host_of(sock))

    def leave(self, host: str) -> None:
        """Make room for another."""
        self._crowd.leave(host)

    def unasked(self, gate: Gate) -> Access | None:
        """Let nobody have anything without a token, where there are tokens."""
        return gate.unasked


def listen(address: TcpAddress) -> socket.socket:
    """Give a socket that listens at a port, perhaps one that was opened before. Raises ConfigError where none can."""
    if (given := activated(address)) is not None:
        return given
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
