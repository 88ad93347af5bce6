"""REST calls of one exchange: one budget of weight per host, spent by need, that obeys what the exchange answers."""

import asyncio
import heapq
from collections.abc import Mapping
from enum import IntEnum

from msgspec import Struct

from aggregator.errors import SessionError
from aggregator.exchange import Limits, Request
from aggregator.network import Answer, Network

SECOND = 1_000_000_000
UNKNOWN_LIMIT = (5, 1.0)  # weight and seconds, where an exchange declares none
FIRST_PAUSE = 5.0  # seconds after a refusal that names no time
LONGEST_PAUSE = 300.0
HTTP_OK = range(200, 300)
REFUSALS = {418, 429}


class Need(IntEnum):
    """What a call is for; the lower, the sooner."""

    SNAPSHOT = 0
    LISTING = 1
    BACKFILL = 2
    POLL = 3


class Bucket(Struct):
    """Weight that may be spent: it refills steadily, up to the whole of the limit."""

    capacity: float
    per_second: float
    level: float
    at: int
    paused_until: int = 0
    pause: float = FIRST_PAUSE


class Rest:
    """The calls of one exchange, in order of need."""

    def __init__(self, network: Network, limits: Limits) -> None:
        """Spend no more than `limits` allow."""
        self._network = network
        self._limits: Mapping[str, tuple[int, float]] = dict(limits.weights)
        self._buckets: dict[str, Bucket] = {}
        self._waiting: dict[str, list[tuple[int, int]]] = {}
        self._tickets = 0
        self.refused = 0

    async def fetch(self, request: Request, need: Need) -> bytes:
        """The body of a good answer, when the budget allows. Raises SessionError where none is to be had."""
        prefix = max((p for p in self._limits if request.url.startswith(p)), key=len, default=_host(request.url))
        bucket = self._bucket(prefix)
        await self._turn(prefix, bucket, request.weight, need)
        answer = await self._network.fetch(request)
        if answer.status in REFUSALS:
            self._back_off(bucket, answer)
            raise SessionError(f"{request.url}: too many requests (HTTP {answer.status})")
        if answer.status not in HTTP_OK:
            said = answer.body[:200].decode(errors="replace")
            raise SessionError(f"{request.url}: HTTP {answer.status}: {said}")
        bucket.pause = FIRST_PAUSE
        return answer.body

    def _bucket(self, prefix: str) -> Bucket:
        bucket = self._buckets.get(prefix)
        if bucket is None:
            weight, seconds = self._limits.get(prefix, UNKNOWN_LIMIT)
            bucket = Bucket(weight, weight / seconds, weight, self._network.now().mono)
            self._buckets[prefix] = bucket
        return bucket

    async def _turn(self, prefix: str, bucket: Bucket, weight: int, need: Need) -> None:
        """Wait until this call is the first in line and its weight is there."""
        self._tickets += 1
        line = self._waiting.setdefault(prefix, [])
        ticket = (int(need), self._tickets)
        heapq.heappush(line, ticket)
        try:
            while (delay := self._delay(bucket, weight)) > 0 or line[0] != ticket:
                await asyncio.sleep(max(delay, 0.01))
        finally:
            line.remove(ticket)
            heapq.heapify(line)
        bucket.level -= min(weight, bucket.capacity)

    def _delay(self, bucket: Bucket, weight: int) -> float:
        now = self._network.now().mono
        bucket.level = min(bucket.capacity, bucket.level + (now - bucket.at) / SECOND * bucket.per_second)
        bucket.at = now
        paused = (bucket.paused_until - now) / SECOND
        short = (min(weight, bucket.capacity) - bucket.level) / bucket.per_second
        return max(paused, short)

    def _back_off(self, bucket: Bucket, answer: Answer) -> None:
        self.refused += 1
        said = answer.headers.get("retry-after", "")
        seconds = float(said) if said.isdecimal() else bucket.pause
        bucket.pause = min(bucket.pause * 2, LONGEST_PAUSE)
        bucket.paused_until = self._network.now().mono + int(min(seconds, LONGEST_PAUSE) * SECOND)


def _host(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])
