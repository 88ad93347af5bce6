"""The word to the service manager: this daemon is ready, it lives, it stops."""

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """Tell the service manager, where one asked to be told (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
