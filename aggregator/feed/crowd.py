"""How many connections there are from each address."""

import logging

from aggregator.feed.access import origin_of

log = logging.getLogger("aggregator.feed")


class Crowd:
    """The connections to all ports, by the address that they came from."""

    def __init__(self, limit: int) -> None:
        """Let at most `limit` in from each."""
        self._limit = limit
        self._counts: dict[str, int] = {}

    def refuse(self, address: str) -> str:
        """Count a connection, or say why there is no room for it. One that was not refused leaves."""
        origin = origin_of(address)
        count = self._counts.get(origin, 0)
        if count >= self._limit:
            log.warning("feed: a client from %s is turned away: there are %d, max_clients_per_address", origin, count)
            return f"there are {count} connections from {origin} already, max_clients_per_address"
        self._counts[origin] = count + 1
        return ""

    def leave(self, address: str) -> None:
        """Count a connection no more."""
        origin = origin_of(address)
        self._counts[origin] -= 1
        if not self._counts[origin]:
            del self._counts[origin]
