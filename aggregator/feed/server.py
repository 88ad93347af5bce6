"""The feed of a daemon: its hub, and the places where subscribers connect."""

from aggregator.bus.bus import Batch, Bus
from aggregator.feed.access import Gate
from aggregator.feed.hub import FeedHub
from aggregator.feed.peer import Host
from aggregator.feed.settings import FeedSettings
from aggregator.feed.status import FeedStatus
from aggregator.feed.transports.pace import Pace
from aggregator.feed.transports.tcp import Ports
from aggregator.feed.transports.transport import Transport, open_transport


class Doors:
    """The places where subscribers connect, as settings say."""

    def __init__(self, settings: FeedSettings) -> None:
        """Prepare; nothing listens before `open`."""
        self._settings = settings
        self._transports: list[Transport] = []

    async def open(self, host: Host) -> None:
        """Show `host` whoever connects. Raises ConfigError when an address cannot be had, and then listens nowhere."""
        try:
            ports = Ports(self._settings, Pace())
            for address in self._settings.listen:
                self._transports.append(open_transport(address, self._settings, ports))
        except BaseException:
            await self.shut()
            await self.close()
            raise
        for transport in self._transports:
            await transport.start(host)

    @property
    def addresses(self) -> list[str]:
        """Where they are."""
        return [str(transport.address) for transport in self._transports]

    async def shut(self) -> None:
        """Let nobody in any more; those who are there stay."""
        for transport in self._transports:
            await transport.stop()

    async def close(self) -> None:
        """Close what is there still, once the last word is said."""
        for transport in self._transports:
            await transport.close()
        self._transports.clear()


class FeedServer:
    """Serves a bus wherever its settings say; attach `publish` to the bus after `start`."""

    def __init__(self, settings: FeedSettings, bus: Bus, daemon: str = "") -> None:
        """Prepare; nothing listens before `start`. `daemon` is the name that it gives of itself."""
        self.hub = FeedHub(
            bus, ring=settings.ring, max_clients=settings.max_clients, gate=Gate(settings.tokens), daemon=daemon
        )
        self._doors = Doors(settings)

    async def start(self) -> None:
        """Listen. Raises ConfigError when one of the addresses cannot be had, and then listens nowhere."""
        self.hub.start()
        await self._doors.open(self.hub)

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return self._doors.addresses

    def publish(self, batch: Batch) -> None:
        """Take a batch of the bus. Never waits."""
        self.hub.publish(batch)

    async def stop(self, drain: float) -> None:
        """Let nobody in any more; give those there are `drain` seconds to read what waits for them."""
        await self._doors.shut()
        await self.hub.stop(drain)
        await self._doors.close()

    def status(self) -> FeedStatus:
        """How it fares."""
        return self.hub.status(self.addresses)
