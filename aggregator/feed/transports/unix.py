"""A unix socket: who may open its file may subscribe."""

import socket
import struct

from aggregator.feed.address import UnixAddress
from aggregator.feed.listener import Listener
from aggregator.feed.transports.sockets import SocketTransport

PEER = struct.Struct("3i")  # pid, uid, gid


class UnixTransport(SocketTransport):
    """Listens at a unix socket."""

    def __init__(self, address: UnixAddress, mode: int, group: str | None) -> None:
        """Listen. Raises ConfigError when that cannot be."""
        self.address = address
        self._listener = Listener(address.path, mode, group)
        super().__init__(self._listener.socket)

    def name_of(self, sock: socket.socket) -> str:
        """Name the process at the other end, and its user."""
        pid, uid, _ = PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
        return f"unix:pid={pid},uid={uid}"

    async def stop(self) -> None:
        """Let nobody in any more, and remove the file."""
        await super().stop()
        self._listener.close()
