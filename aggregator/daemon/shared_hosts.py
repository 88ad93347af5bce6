"""The budgets of hosts where several processes gather: the hub has them, and a worker asks for each turn.

An exchange counts what comes from an address, and not what comes from a process. So one process counts for all, in
the order of need as ever; and which hosts want rest is told to all.
"""

import asyncio
from collections.abc import Callable
from itertools import count

from aggregator.daemon.words import AskConnect, AskTurn, FromHub, FromWorker, Granted, HostRests
from aggregator.errors import SessionError
from aggregator.exchange import Budget
from aggregator.ingest.rest import Hosts, Need


class BorrowedHosts(Hosts):
    """The hosts as a worker has them."""

    def __init__(self, say: Callable[[FromWorker], object]) -> None:
        """Begin; `say` tells the hub."""
        super().__init__()
        self._say = say
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[None]] = {}

    async def turn(self, prefix: str, budgets: tuple[Budget, ...], host: str, weight: int, need: Need) -> None:
        """Wait until the hub lets a call be made."""
        number = next(self._numbers)
        await self._granted(number, AskTurn(number, prefix, budgets, host, weight, need))

    async def connect(self, host: str, budget: Budget) -> None:
        """Wait until the hub lets one more connect. Raises SessionError where the host wants a long rest."""
        number = next(self._numbers)
        await self._granted(number, AskConnect(number, host, budget))

    async def _granted(self, number: int, word: AskTurn | AskConnect) -> None:
        granted = self._asked[number] = asyncio.get_running_loop().create_future()
        self._say(word)
        try:
            await granted
        finally:
            del self._asked[number]

    def heard(self, word: Granted) -> None:
        """Take the hub's answer; whoever asked may have given up."""
        asked = self._asked.get(word.id)
        if asked is None or asked.done():
            return
        if word.refused is None:
            asked.set_result(None)
        else:
            asked.set_exception(SessionError(word.refused, word.wait))

    def leave_alone(self, host: str, words: str, seconds: float | None, now: int) -> float:
        """Let nobody ask a host that was asked too much, in whatever process."""
        wait = super().leave_alone(host, words, seconds, now)
        for found, until, said in self.resting():
            if found == host:
                self._say(HostRests(host, until, said))
        return wait


class LentHosts:
    """The hosts as the hub lends them."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._tasks: dict[object, set[asyncio.Task[None]]] = {}  # by whoever asks

    def ask(self, who: object, word: AskTurn | AskConnect, say: Callable[[FromHub], object]) -> None:
        """Grant a turn once there is room; `say` tells whoever asks."""
        tasks = self._tasks.setdefault(who, set())
        task = asyncio.get_running_loop().create_task(self._grant(word, say))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _grant(self, word: AskTurn | AskConnect, say: Callable[[FromHub], object]) -> None:
        try:
            if isinstance(word, AskTurn):
                await self._hosts.turn(word.prefix, word.budgets, word.host, word.weight, Need(word.need))
            else:
                await self._hosts.connect(word.host, word.budget)
        except SessionError as error:
            say(Granted(word.id, str(error), error.wait))
        else:
            say(Granted(word.id))

    def rests(self, word: HostRests) -> None:
        """Hear that a host wants rest."""
        self._hosts.rest_until(word.host, word.until, word.words)

    def tell(self, say: Callable[[FromHub], object]) -> None:
        """Tell a process that has just begun which hosts want rest."""
        for host, until, words in self._hosts.resting():
            say(HostRests(host, until, words))

    def leave(self, who: object) -> None:
        """Whoever asked is gone."""
        for task in self._tasks.pop(who, ()):
            task.cancel()
