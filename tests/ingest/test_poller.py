"""One poll in virtual time: who is asked when, how many at once, and what becomes of answers that do not come."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

import pytest
from msgspec import structs

from aggregator.bus.bus import Bus
from aggregator.errors import SessionError
from aggregator.exchange import Poll, Request
from aggregator.ingest.network import Network
from aggregator.ingest.poller import MOST_ASKED_AT_ONCE, Poller
from aggregator.ingest.rest import Need, Rest
from aggregator.records import SECOND_NS, Gap, Health, Instrument, Record, Ticker
from aggregator.session.moment import Now
from aggregator.session.subscriptions import Key
from tests.support.hurry import hurried, seconds
from tests.support.toy import toy

INSTRUMENTS = {name: Instrument(raw_symbol=name, symbol=f"{name}/USD", base=name, quote="USD") for name in "ABCDEFGH"}


def read(raw_symbol: str, body: bytes) -> Iterable[Record]:
    names = body.decode().split() if not raw_symbol else [raw_symbol]
    return [Ticker(raw_symbol=name, last="1") for name in names]


POLL = Poll(channels=("ticker",), every=10, request=lambda s: Request(f"ticker/{s}"), parse=read)
MANY = structs.replace(POLL, many=True)


def tickers(names: str) -> list[Key]:
    return [("ticker", name) for name in names]


class Answering(Rest):
    """An exchange that answers after so many seconds, but for the symbols that are `failing`."""

    def __init__(self, *, takes: float = 0, busy: bool = False) -> None:
        self.asked: list[tuple[float, str]] = []
        self.failing: set[str] = set()
        self.at_once = self.most = 0
        self._takes = takes
        self._busy = busy

    async def fetch(self, request: Request, need: Need, **_: object) -> bytes:
        assert need is Need.POLL
        raw_symbol = request.url.removeprefix("ticker/")
        self.asked.append((seconds(), raw_symbol))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(self._takes)
        self.at_once -= 1
        if raw_symbol in self.failing:
            raise SessionError("it does not answer", is_busy=self._busy)
        return b"A B"


class Scene:
    """A poller, what it asks, and what it publishes."""

    def __init__(self, rest: Answering, poll: Poll = POLL) -> None:
        self.rest = rest
        self.records: list[Record] = []
        bus = Bus("test")
        bus.attach(lambda batch: self.records.extend(batch.records))
        network = Network(dial=nobody, fetch=nobody, now=now)
        self.poller = Poller(toy(), poll, "toy", network=network, rest=rest, bus=bus)

    def want(self, names: str) -> None:
        self.poller.want(tickers(names), {name: INSTRUMENTS[name] for name in names}, {})

    def times(self, name: str) -> list[float]:
        return [at for at, asked in self.rest.asked if asked == name]


async def nobody(*_: object) -> NoReturn:
    raise AssertionError("a poll asks through the budget of its host alone")


def now() -> Now:
    passed = int(asyncio.get_running_loop().time() * SECOND_NS)
    return Now(1_760_000_000 * SECOND_NS + passed, 1000 * SECOND_NS + passed)


@asynccontextmanager
async def going(scene: Scene) -> AsyncIterator[None]:
    task = asyncio.create_task(scene.poller.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@hurried
async def test_each_symbol_is_asked_for_once_an_interval_and_they_are_spread_over_it() -> None:
    scene = Scene(Answering())
    scene.want("ABCD")
    async with going(scene):
        await asyncio.sleep(29)
    assert {name: scene.times(name) for name in "ABCD"} == {
        "A": [0, 10, 20],
        "B": [2.5, 12.5, 22.5],
        "C": [5, 15, 25],
        "D": [7.5, 17.5, 27.5],
    }
    assert [r.symbol for r in scene.records if isinstance(r, Ticker)][:4] == ["A/USD", "B/USD", "C/USD", "D/USD"]


@hurried
async def test_an_answer_of_every_symbol_is_asked_for_once_for_all() -> None:
    scene = Scene(Answering(), MANY)
    scene.want("AB")
    async with going(scene):
        await asyncio.sleep(19)
    assert scene.rest.asked == [(0, ""), (10, "")]
    assert [r.raw_symbol for r in scene.records if isinstance(r, Ticker)] == ["A", "B", "A", "B"]


@hurried
async def test_nothing_is_asked_where_nothing_is_wanted() -> None:
    for poll in (POLL, MANY):
        scene = Scene(Answering(), poll)
        async with going(scene):
            await asyncio.sleep(30)
        assert scene.rest.asked == []


@hurried
async def test_what_is_wanted_later_is_asked_for_and_what_is_not_is_left_alone() -> None:
    scene = Scene(Answering())
    scene.want("A")
    async with going(scene):
        await asyncio.sleep(5)
        scene.want("AB")
        await asyncio.sleep(20)
        scene.want("B")
        before = scene.times("A")
        await asyncio.sleep(30)
    assert (before, scene.times("A")) == ([0, 10, 20], [0, 10, 20])
    assert scene.times("B") == [5, 15, 25, 35, 45, 55]
    assert not scene.poller.carries(("ticker", "A"))
    assert scene.poller.carries(("ticker", "B"))


@hurried
async def test_no_more_wait_for_an_answer_together_than_may_and_nothing_piles_up() -> None:
    scene = Scene(Answering(takes=30))
    scene.want("ABCDEFGH")
    async with going(scene):
        await asyncio.sleep(600)
    assert scene.rest.most == MOST_ASKED_AT_ONCE
    counts = {len(scene.times(name)) for name in "ABCDEFGH"}
    assert counts <= {10, 11}, "eight that each take half a minute, four at a time: one a minute"


@hurried
async def test_answers_that_do_not_come_are_logged_once_and_when_they_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="aggregator.runner")
    scene = Scene(Answering())
    scene.rest.failing |= {"A", "B"}
    scene.want("AB")
    async with going(scene):
        await asyncio.sleep(29)
        assert scene.poller.status().silent == 2
        scene.rest.failing.clear()
        await asyncio.sleep(10)
        assert scene.poller.status().silent == 0
    assert caplog.messages == [
        "toy/rest: it does not answer; it is asked again every 10 s",
        "toy/rest: answers again",
    ]


@hurried
async def test_that_a_host_is_asked_too_much_is_logged_elsewhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(Answering(busy=True))
    scene.rest.failing |= {"A"}
    scene.want("A")
    async with going(scene):
        await asyncio.sleep(29)
    assert caplog.messages == []
    assert scene.poller.status().silent == 1


@hurried
async def test_the_end_opens_a_gap_for_what_was_followed() -> None:
    scene = Scene(Answering())
    scene.want("AB")
    async with going(scene):
        await asyncio.sleep(3)  # A has come, B is not due yet
        health = scene.poller.health("ticker", "A")
        assert isinstance(health, Health)
    assert [(gap.raw_symbol, gap.phase, gap.cause) for gap in scene.records if isinstance(gap, Gap)] == [
        ("A", "open", "restart")
    ]
