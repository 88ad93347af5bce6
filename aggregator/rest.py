"""REST calls of one exchange: one budget of weight per host, spent by need, that obeys what the exchange answers."""

import asyncio
import heapq
from collections.abc import Mapping
from enum import IntEnum

from msgspec import Struct

from aggregator.errors import SessionError
from aggregator.exchange import HTTP_OK, Budget, Limits, Request
from aggregator.network import Answer, Network
from aggregator.window import Window

SECOND = 1_000_000_000
UNKNOWN_LIMIT = ((5, 1.0),)  # weight and seconds, where an exchange declares none
FIRST_PAUSE = 5.0  # seconds after a refusal that names no time
LONGEST_PAUSE = 300.0
REFUSALS = {418, 429}


class Need(IntEnum):
    """What a call is for; the lower, the sooner."""

    SNAPSHOT = 0
    LISTING = 1
    BACKFILL = 2
    POLL = 3


class Line(Struct):
    """One host's budgets of weight, and who waits for them."""

    windows: tuple[Window, ...]
    waiting: list[tuple[int, int, int, asyncio.Future[None]]]  # need, ticket, weight; a heap
    paused_until: int = 0
    pause: float = FIRST_PAUSE
    timer: asyncio.TimerHandle | None = None


class Rest:
    """The calls of one exchange, in order of need."""

    def __init__(self, network: Network, limits: Limits) -> None:
        """Spend no more than `limits` allow."""
        self._network = network
        self._limits: Mapping[str, tuple[Budget, ...]] = dict(limits.weights)
        self._lines: dict[str, Line] = {}
        self._tickets = 0
        self.refused = 0

    async def fetch(self, request: Request, need: Need) -> bytes:
        """The body of a good answer, when the budget allows. Raises SessionError where none is to be had."""
        prefix = max((p for p in self._limits if request.url.startswith(p)), key=len, default=_host(request.url))
        line = self._line(prefix)
        await self._turn(line, request.weight, need)
        answer = await self._network.fetch(request)
        if answer.status in REFUSALS:
            self._back_off(line, answer)
            raise SessionError(f"{request.url}: too many requests (HTTP {answer.status})")
        if answer.status not in HTTP_OK:
            said = answer.body[:200].decode(errors="replace")
            raise SessionError(f"{request.url}: HTTP {answer.status}: {said}")
        line.pause = FIRST_PAUSE
        return answer.body

    def _line(self, prefix: str) -> Line:
        line = self._lines.get(prefix)
        if line is None:
            budgets = self._limits.get(prefix, UNKNOWN_LIMIT)
            line = self._lines[prefix] = Line(tuple(Window(budget) for budget in budgets), [])
        return line

    async def _turn(self, line: Line, weight: int, need: Need) -> None:
        """Wait until this call is the first in line and its weight is there."""
        self._tickets += 1
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(line.waiting, (int(need), self._tickets, weight, turn))
        self._serve(line)
        await turn

    def _serve(self, line: Line) -> None:
        """Let those go whose turn it is; come back when the next one's weight will be there."""
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
        while line.waiting:
            _, _, weight, turn = line.waiting[0]
            delay = 0 if turn.done() else self._delay(line, weight)
            if delay > 0:
                line.timer = asyncio.get_running_loop().call_later(delay, self._serve, line)
                return
            heapq.heappop(line.waiting)
            if not turn.done():  # one that is done was given up by its caller
                now = self._network.now().mono
                for window in line.windows:
                    window.spend(weight, now)
                turn.set_result(None)

    def _delay(self, line: Line, weight: int) -> float:
        now = self._network.now().mono
        wait = max(window.wait(weight, now) for window in line.windows)
        return max(line.paused_until - now, wait) / SECOND

    def _back_off(self, line: Line, answer: Answer) -> None:
        self.refused += 1
        said = answer.headers.get("retry-after", "")
        seconds = float(said) if said.isdecimal() else line.pause
        line.pause = min(line.pause * 2, LONGEST_PAUSE)
        line.paused_until = self._network.now().mono + int(min(seconds, LONGEST_PAUSE) * SECOND)


def _host(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])
