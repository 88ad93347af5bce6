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

    def enter(self, address: str) -> bool:
        """Count a connection; tell whether there is room for it. One that entered leaves."""
        origin = origin_of(address)
        count = self._counts.get(origin, 0)
        if count >= self._limit:
            log.warning("feed: a client from %s is turned away: there are %d, max_clients_per_address", origin, count)
            return False
        self._counts[origin] = count + 1
        return True

    def leave(self, address: str) -> None:
        """Count a connection no more."""
        origin = origin_of(address)
        self._counts[origin] -= 1
        if not self._counts[origin]:
            del self._counts[origin]
