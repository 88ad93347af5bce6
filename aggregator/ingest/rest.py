"""REST calls: one budget of weight per host, over all exchanges, spent by need, that obeys what the host answers."""

import asyncio
import heapq
import logging
from collections.abc import Iterator
from enum import IntEnum
from urllib.parse import urlsplit

from msgspec import Struct

from aggregator.errors import SessionError
from aggregator.exchange import HTTP_OK, Budget, Exchange, Request, Trouble
from aggregator.ingest.budget import Window
from aggregator.ingest.lines import BUSY, LARGEST_FRAME_BYTES, LONGEST_REST_S, retry_after
from aggregator.ingest.network import Answer, Network
from aggregator.ingest.status import BudgetStatus, RestingHost, RestStatus
from aggregator.records import SECOND_NS
from aggregator.wire.frames import is_crowded

UNKNOWN_LIMIT = ((5, 1.0),)  # weight and seconds, if an exchange declares none
FIRST_PAUSE_S = 5.0  # after a refusal that names no time; doubles
LONGEST_PAUSE_S = 300.0  # a pause of our own choice is no longer; one that the exchange names is obeyed
LONGEST_WAIT_S = 30.0  # a call waits so long for a host that wants rest; if that takes longer, it fails at once
LARGE_BYTES = 2**20  # an answer of more is looked at in another thread
SHOWN = 200  # characters of an answer that an error repeats

log = logging.getLogger("aggregator.rest")


class Need(IntEnum):
    """The purpose of a call; the lower, the sooner."""

    SNAPSHOT = 0
    LISTING = 1
    BACKFILL = 2
    POLL = 3


class HostQueue(Struct):
    """The budgets of one prefix of addresses, and who waits for them."""

    windows: tuple[Window, ...]
    waiting: list[tuple[int, int, int, asyncio.Future[None]]] = []  # need, ticket, weight; a heap
    timer: asyncio.TimerHandle | None = None


class HostPause(Struct):
    """A rest that one host wants: until when (monotonic ns), in which words, and how long the next such pause is."""

    until: int = 0
    words: str = ""
    next: float = FIRST_PAUSE_S


class Hosts:
    """The hosts that are asked, shared by all exchanges: their budgets, and which of them want rest."""

    def __init__(self) -> None:
        self.refused = 0
        self._queues: dict[str, HostQueue] = {}
        self._pauses: dict[str, HostPause] = {}
        self._connects: dict[str, Window] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._tickets = 0

    def queue(self, prefix: str, budgets: tuple[Budget, ...]) -> HostQueue:
        """The queue for the budgets of a prefix; the first exchange that declares them is believed."""
        found = self._queues.get(prefix)
        if found is None:
            found = self._queues[prefix] = HostQueue(tuple(Window(budget) for budget in budgets))
        return found

    async def turn(self, prefix: str, budgets: tuple[Budget, ...], host: str, weight: int, need: Need) -> None:
        """Wait until a call is the first in line and its weight is there; it is spent then."""
        queue = self.queue(prefix, budgets)
        self._tickets += 1
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(queue.waiting, (int(need), self._tickets, weight, turn))
        self._serve(queue, host)
        await turn

    def _serve(self, queue: HostQueue, host: str) -> None:
        """Let those go whose turn it is; come back when the next one's weight will be there."""
        if queue.timer is not None:
            queue.timer.cancel()
            queue.timer = None
        while queue.waiting:
            _, _, weight, turn = queue.waiting[0]
            delay = 0.0 if turn.done() else self._delay(queue, host, weight)
            if delay > 0:
                queue.timer = asyncio.get_running_loop().call_later(delay, self._serve, queue, host)
                return
            heapq.heappop(queue.waiting)
            if not turn.done():  # a turn that is done was given up by its caller
                now = mono_now()
                for window in queue.windows:
                    window.spend(weight, now)
                turn.set_result(None)

    def _delay(self, queue: HostQueue, host: str, weight: int) -> float:
        now = mono_now()
        wait = max(window.wait(weight, now) for window in queue.windows) / SECOND_NS
        rest, _ = self.rest_of(host, now)
        return wait if rest > LONGEST_WAIT_S else max(rest, wait)  # a caller that would wait too long is told so

    def connects(self, host: str, budget: Budget) -> Window:
        """The budget of new connections to a host."""
        return self._connects.setdefault(host, Window(budget))

    async def connect(self, host: str, budget: Budget) -> None:
        """Wait until one more may connect. Raises SessionError where the host wants a long rest."""
        window = self.connects(host, budget)
        async with self._locks.setdefault(host, asyncio.Lock()):  # else all would wake at once, again and again
            while (pause := self._pause(host, window)) > 0:  # noqa: ASYNC110 - another may have been sooner
                await asyncio.sleep(pause)
            window.spend(1, mono_now())

    def _pause(self, host: str, window: Window) -> float:
        now = mono_now()
        rest, words = self.rest_of(host, now)
        if rest > LONGEST_WAIT_S:
            raise SessionError(f"{host} wants rest for {rest:.0f} s: {words}", rest)
        return max(rest, window.wait(1, now) / SECOND_NS)

    def rest_of(self, host: str, now: int) -> tuple[float, str]:
        """The seconds that a host wants to be left alone, and its words."""
        pause = self._pauses.get(host)
        return (0.0, "") if pause is None else (max(0.0, (pause.until - now) / SECOND_NS), pause.words)

    def leave_alone(self, host: str, words: str, seconds: float | None, now: int) -> float:
        """Let nobody ask a host that was asked too much. Gives the seconds for which it is left alone."""
        self.refused += 1
        pause = self._pauses.setdefault(host, HostPause())
        if not seconds and now < pause.until:  # it was sent before the pause began
            return (pause.until - now) / SECOND_NS
        if not seconds:  # a wait that is over already says as little as none
            seconds = pause.next
            pause.next = min(pause.next * 2, LONGEST_PAUSE_S)
        seconds = min(seconds, LONGEST_REST_S)
        until = now + int(seconds * SECOND_NS)
        if until > pause.until:
            self.rest_until(host, until, words)
            log.warning("%s: too many requests, nothing is asked there for %.1f s: %s", host, seconds, words)
        return max(0.0, (pause.until - now) / SECOND_NS)

    def rest_until(self, host: str, until: int, words: str) -> None:
        """Leave a host alone until a moment (monotonic ns), as it has asked whoever it was."""
        pause = self._pauses.setdefault(host, HostPause())
        if until > pause.until:
            pause.until, pause.words = until, words

    def resting(self) -> Iterator[tuple[str, int, str]]:
        """The hosts that are left alone, until when (monotonic ns), and their words."""
        return ((host, pause.until, pause.words) for host, pause in self._pauses.items())

    def status(self, now: int) -> RestStatus:
        """Tell what is left of each budget, and which hosts are left alone."""
        budgets = [
            budget_status(prefix, window, now, len(queue.waiting))
            for prefix, queue in self._queues.items()
            for window in queue.windows
        ]
        connects = [budget_status(host, window, now) for host, window in self._connects.items()]
        rests = ((host, *self.rest_of(host, now)) for host in self._pauses)
        resting = [RestingHost(host=host, seconds=round(s, 1), words=words) for host, s, words in rests if s > 0]
        return RestStatus(refused=self.refused, budgets=budgets, connects=connects, resting=resting)

    def is_fine(self, host: str) -> None:
        """Note that a host has given a good answer."""
        pause = self._pauses.get(host)
        if pause is not None:
            pause.next = FIRST_PAUSE_S


def budget_status(of: str, window: Window, now: int, waiting: int = 0) -> BudgetStatus:
    """A budget as it stands."""
    return BudgetStatus(of=of, limit=window.limit, seconds=window.seconds, left=window.left(now), waiting=waiting)


class Rest:
    """The calls of one exchange, in order of need."""

    def __init__(self, network: Network, exchange: Exchange, hosts: Hosts | None = None) -> None:
        """Spend no more than the exchange allows; `hosts` is what it shares with others."""
        self.hosts = Hosts() if hosts is None else hosts
        self._network = network
        self._weights = exchange.limits.weights
        self._trouble = exchange.trouble

    async def fetch(self, request: Request, need: Need) -> bytes:
        """The body of a good answer, when the budget allows.

        Raises SessionError where none is to be had, with the exchange's words and how long it wants to be left alone.
        """
        prefix = max((p for p in self._weights if request.url.startswith(p)), key=len, default=None)
        host = host_of(request.url)
        budgets = self._weights.get(prefix or "", UNKNOWN_LIMIT)
        self._give_up(host, request)
        await self.hosts.turn(prefix or host, budgets, host, request.weight, need)
        self._give_up(host, request)
        answer = await self._network.fetch(request)
        if need is not Need.LISTING and (len(answer.body) > LARGEST_FRAME_BYTES or is_crowded(answer.body)):
            raise SessionError(f"{request.url}: its answer is larger, or of more values, than any real one")
        if len(answer.body) > LARGE_BYTES:
            trouble = await asyncio.to_thread(self._read_trouble, answer)  # frames do not wait for it
        else:
            trouble = self._read_trouble(answer)
        if trouble is None:
            self.hosts.is_fine(host)
            return answer.body
        if trouble.is_busy:
            wait = self.hosts.leave_alone(host, trouble.words, trouble.wait, self._network.now().mono)
            raise SessionError(f"{request.url}: too many requests", wait, is_busy=True, words=trouble.words)
        raise SessionError(f"{request.url}: {trouble.words}", trouble.wait or 0.0)

    def _read_trouble(self, answer: Answer) -> Trouble | None:
        """The error that an answer tells, in the exchange's own words; None if it is a good one."""
        try:
            trouble = None if self._trouble is None else self._trouble(answer.status, answer.headers, answer.body)
        except Exception:  # noqa: BLE001 - what the connector cannot read is judged by its status
            trouble = None
        if trouble is None and answer.status not in HTTP_OK:
            said = answer.body[:SHOWN].decode(errors="replace")
            trouble = Trouble(f"HTTP {answer.status}: {said}", is_busy=answer.status in BUSY)
        if trouble is None or trouble.wait is not None:
            return trouble
        wall = self._network.now().wall
        wait = retry_after(answer.headers.get("retry-after", ""), wall)
        if wait is None and trouble.until is not None:
            wait = max(0.0, (trouble.until - wall) / SECOND_NS)
        return Trouble(trouble.words, trouble.is_busy or answer.status in BUSY, wait)

    def _give_up(self, host: str, request: Request) -> None:
        wait, words = self.hosts.rest_of(host, self._network.now().mono)
        if wait > LONGEST_WAIT_S:
            raise SessionError(
                f"{request.url}: not asked for: the host wants rest for {wait:.0f} s", wait, is_busy=True, words=words
            )


def mono_now() -> int:
    """The clock of budgets and rests (ns): one for all processes of a machine."""
    return int(asyncio.get_running_loop().time() * SECOND_NS)


def host_of(url: str) -> str:
    """The name of an address's host: what it is asked by REST and its streams are one to it."""
    return urlsplit(url).hostname or url
