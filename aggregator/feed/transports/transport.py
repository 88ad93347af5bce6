"""The contract of a transport, and the list of those that exist."""

from typing import Protocol

from aggregator.feed.address import Address, TcpAddress
from aggregator.feed.peer import Host
from aggregator.feed.settings import FeedSettings
from aggregator.feed.transports.http import HttpTransport
from aggregator.feed.transports.tcp import Ports, TcpTransport
from aggregator.feed.transports.unix import UnixTransport


class Transport(Protocol):
    """A place where subscribers connect. Its constructor listens, or raises ConfigError."""

    @property
    def address(self) -> Address:
        """Where it listens."""

    async def start(self, host: Host) -> None:
        """Show everyone who connects to the hub from now on."""

    async def stop(self) -> None:
        """Let nobody in any more; those who are there stay."""

    async def close(self) -> None:
        """Close what is there still, once the hub has said its last word."""


def open_transport(address: Address, settings: FeedSettings, ports: Ports) -> Transport:
    """Listen at an address. Raises ConfigError when that cannot be."""
    if isinstance(address, TcpAddress):
        return HttpTransport(address, settings, ports) if address.scheme == "http" else TcpTransport(address, ports)
    return UnixTransport(address, settings, ports.pace)
