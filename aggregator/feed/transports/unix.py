"""A unix socket: who may open its file may subscribe."""

import logging
import socket
import struct

from aggregator.feed.activation import activated
from aggregator.feed.address import UnixAddress
from aggregator.feed.settings import FeedSettings
from aggregator.feed.socket_file import Listener
from aggregator.feed.transports.pace import Pace
from aggregator.feed.transports.sockets import SocketTransport

log = logging.getLogger("aggregator.feed")

PEER = struct.Struct("3i")  # pid, uid, gid


class UnixTransport(SocketTransport):
    """Listens at a unix socket."""

    def __init__(self, address: UnixAddress, settings: FeedSettings, pace: Pace) -> None:
        """Listen. Raises ConfigError when that cannot be."""
        self.address = address
        self._listener = Listener(address.path, settings.mode, settings.group, given=activated(address))
        self._settings = settings
        super().__init__(self._listener.socket, pace.may_write)

    def name_of(self, sock: socket.socket) -> str:
        """Name the process at the other end, and its user."""
        pid, uid, _ = _peer(sock)
        return f"unix:pid={pid},uid={uid}"

    def refuse(self, sock: socket.socket) -> str:
        """Let in who is on a list, where there is one."""
        uids, gids = self._settings.allow_uids, self._settings.allow_gids
        _, uid, gid = _peer(sock)
        if not (uids or gids) or uid in uids or gid in gids:
            return ""
        log.warning("feed: user %d, group %d is turned away: neither allow_uids nor allow_gids has it", uid, gid)
        return f"user {uid} of group {gid} is not let in: neither allow_uids nor allow_gids has it"

    async def stop(self) -> None:
        """Let nobody in any more, and remove the file."""
        await super().stop()
        self._listener.close()


def _peer(sock: socket.socket) -> tuple[int, int, int]:
    """The process at the other end, its user and its first group, as they were when it connected."""
    pid, uid, gid = PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
    return pid, uid, gid
