"""The wishes of subscribers, handed on to the processes that gather, and what these say of them."""

import asyncio
from collections.abc import Mapping

import pytest

from aggregator.bus.demand import Unmet
from aggregator.bus.selection import Pattern, parse_pattern
from aggregator.daemon import relayed_demand
from aggregator.daemon.relayed_demand import Relay, RelayedDemand

pytestmark = pytest.mark.waits


class Scene:
    """Two workers, of which the test says what they answer."""

    def __init__(self) -> None:
        self.demand = RelayedDemand(("x", "y"), {"z"}.__contains__)
        self.sent: list[tuple[str, int, list[str]]] = []
        self.is_up = True
        self.relays = {id: Relay([id], self._sender(id)) for id in ("x", "y")}
        self.demand.relays += self.relays.values()
        self.known: list[list[Unmet]] = []

    def _sender(self, id: str) -> relayed_demand.Send:
        def send(number: int, patterns: dict[str, Pattern]) -> bool:
            self.sent.append((id, number, list(patterns)))
            return self.is_up

        return send

    def foresee(self, *topics: str, who: str = "one") -> None:
        self.demand.foresee(
            who, patterns(topics), lambda: self.known.append(self.demand.want(who, patterns(topics), none))
        )

    def answer(self, id: str, *unmet: Unmet, number: int = 1) -> None:
        self.demand.told(number, unmet, self.relays[id])


def patterns(topics: tuple[str, ...]) -> Mapping[str, Pattern]:
    return {text: parse_pattern(text) for text in topics}


def none(unmet: object) -> None:
    pass


NO = Unmet("trades:x:NO", "x lists no 'NO'", ("NOT",))


async def test_it_is_known_once_every_worker_that_is_meant_has_said_so() -> None:
    it = Scene()
    it.foresee("trades:x:NO", "trades:*:A", "trades:nowhere:A")
    assert it.sent == [("x", 1, ["trades:x:NO", "trades:*:A"]), ("y", 1, ["trades:*:A"])]
    it.answer("x", NO)
    assert it.known == []
    it.answer("y")
    (unmet,) = it.known
    assert NO in unmet
    assert {each.topic for each in unmet} == {"trades:x:NO", "trades:nowhere:A"}
    it.answer("y")  # another process has taken its place, and says it again
    assert len(it.known) == 1
    assert len(it.sent) == 2, "it is not told twice"


async def test_where_nobody_is_to_answer_it_is_known_at_once() -> None:
    it = Scene()
    it.foresee("trades:z:A", "trades:nowhere:A")
    it.is_up = False
    it.foresee("trades:x:A", who="other")
    assert [[each.topic for each in unmet] for unmet in it.known] == [["trades:nowhere:A"], []]


async def test_a_worker_that_does_not_say_it_in_time_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relayed_demand, "FORESEE_S", 0.02)
    it = Scene()
    it.foresee("trades:x:NO")
    async with asyncio.timeout(10):
        while not it.known:  # noqa: ASYNC110 - it is called
            await asyncio.sleep(0.01)
    assert it.known == [[]]
    it.answer("x", NO)
    assert len(it.known) == 1
    assert it.demand.want("one", patterns(("trades:x:NO",)), none) == [NO]
