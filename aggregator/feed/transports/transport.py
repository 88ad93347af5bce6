"""The contract of a transport, and the list of those that exist."""

from collections.abc import Callable
from typing import Protocol

from aggregator.feed.address import Address, TcpAddress
from aggregator.feed.peer import Peer
from aggregator.feed.settings import FeedSettings
from aggregator.feed.subscriber import Subscriber
from aggregator.feed.transports.tcp import TcpTransport
from aggregator.feed.transports.unix import UnixTransport

Welcome = Callable[[Peer], Subscriber]


class Transport(Protocol):
    """A place where subscribers connect. Its constructor listens, or raises ConfigError."""

    @property
    def address(self) -> Address:
        """Where it listens."""

    def start(self, welcome: Welcome) -> None:
        """Show everyone who connects to the hub from now on."""

    async def stop(self) -> None:
        """Let nobody in any more; those who are there stay."""


def open_transport(address: Address, settings: FeedSettings) -> Transport:
    """Listen at an address. Raises ConfigError when that cannot be."""
    if isinstance(address, TcpAddress):
        return TcpTransport(address)
    return UnixTransport(address, settings.mode, settings.group)
