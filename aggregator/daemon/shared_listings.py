"""The listing of an exchange whose parts several workers gather: one of them asks for it, the others read what it got.

Whoever is to ask has the turn of the hub. It writes the answer to a file before it says that it has it; those that
have waited read that file, and so does whoever comes within a minute.
"""

import asyncio
from collections.abc import Callable
from itertools import count

from aggregator.daemon.words import AskListing, FromHub, FromWorker, ListingRead, ListingTurn

FRESH_S = 60.0  # parts ask again and again at about the same time; a listing that is no older is that of all

Say = Callable[[FromHub], object]


class BorrowedListings:
    """The turns as a worker has them."""

    def __init__(self, say: Callable[[FromWorker], object]) -> None:
        """Begin; `say` tells the hub."""
        self._say = say
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[bool]] = {}

    async def is_ours(self, exchange: str) -> bool:
        """Wait until this worker is to ask for a listing, which `read` ends, or a file has what another one got."""
        number = next(self._numbers)
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked[number] = turn
        self._say(AskListing(number, exchange))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.read(exchange, is_there=False)
            raise
        finally:
            del self._asked[number]

    def heard(self, word: ListingTurn) -> None:
        """Take the hub's answer; whoever asked may have given up."""
        asked = self._asked.get(word.id)
        if asked is not None and not asked.done():
            asked.set_result(word.is_yours)
        elif word.is_yours:
            self.read(word.exchange, is_there=False)

    def read(self, exchange: str, *, is_there: bool) -> None:
        """End a turn: the file has the listing, or nobody has it."""
        self._say(ListingRead(exchange, is_there))


class _Turns:
    """Whoever asks for one listing."""

    def __init__(self) -> None:
        self.holder: object = None
        self.waiting: list[tuple[object, AskListing, Say]] = []
        self.read_at = -FRESH_S  # by the loop's clock
        self.have: set[object] = set()  # those that have it


class LentListings:
    """The turns as the hub lends them."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turns] = {}

    def ask(self, who: object, word: AskListing, say: Say) -> None:
        """Have a worker ask for a listing, wait for another one that does, or read what that has got."""
        turns = self._turns.setdefault(word.exchange, _Turns())
        if turns.holder is not None:
            turns.waiting.append((who, word, say))
        elif who not in turns.have and _now() - turns.read_at < FRESH_S:
            turns.have.add(who)
            say(ListingTurn(word.id, word.exchange, is_yours=False))
        else:
            turns.holder = who
            say(ListingTurn(word.id, word.exchange, is_yours=True))

    def told(self, who: object, word: ListingRead) -> None:
        """Hear that a worker has got a listing, or has not."""
        turns = self._turns.get(word.exchange)
        if turns is None or turns.holder is not who:
            return
        turns.holder = None
        if word.is_there:
            turns.read_at, turns.have = _now(), {who}
        waiting, turns.waiting = turns.waiting, []
        for other, asked, say in waiting:
            self.ask(other, asked, say)

    def leave(self, who: object) -> None:
        """Whoever asked is gone."""
        for exchange, turns in self._turns.items():
            turns.waiting = [each for each in turns.waiting if each[0] is not who]
            turns.have.discard(who)
            self.told(who, ListingRead(exchange, is_there=False))


def _now() -> float:
    return asyncio.get_running_loop().time()
