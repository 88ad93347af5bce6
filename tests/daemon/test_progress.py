"""What the log and the service manager are told of the whole."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from aggregator.bus.bus import Bus
from aggregator.daemon import progress
from aggregator.daemon.progress import Progress, in_words
from aggregator.records import Health, Trade
from tests.support.toy import running, toy

pytestmark = pytest.mark.waits


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({}, "0 topics live"),
        ({"live": 92}, "92 topics live"),
        ({"live": 9, "quiet": 2}, "9 topics live, 2 quiet"),
        ({"live": 9, "stalled": 1, "down": 2, "subscribing": 1}, "9 topics live, 4 without data"),
    ],
)
def test_topics_in_words(states: dict[Any, int], words: str) -> None:
    assert in_words(states) == words


class Runner:
    """A runner whose topics are as the test wants."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def states(self) -> Iterator[Counter[str]]:
        yield self.found


async def test_an_exchange_is_said_to_be_live_once_each_time_that_it_becomes_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    runner = Runner()
    looking = Progress(Bus("e"), {"toy": runner}, lambda _: None)  # type: ignore[dict-item]
    said = []
    for states in (
        {"subscribing": 3},
        {"live": 1, "syncing": 2},
        {"live": 3},
        {"quiet": 3},
        {"live": 3},
        {"down": 3},
        {"live": 3},
    ):
        runner.found = Counter(states)
        said.append(await looking.look())
    assert [record.getMessage() for record in caplog.records] == [
        "toy: live: 1 topics live, 2 without data",
        "toy: live: 3 topics live",
    ]
    assert said[:2] == [
        "1 exchanges, 0 topics live, 3 without data (nothing of toy)",
        "1 exchanges, 1 topics live, 2 without data",
    ]


async def test_the_service_manager_is_told_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOOK_S", 0.05)
    bus, told = Bus("e"), asyncio.Queue[str]()
    task = asyncio.create_task(Progress(bus, {}, told.put_nowait).watch())
    await asyncio.sleep(0)
    bus.publish([Trade(price="1", size="1") for _ in range(3)])
    assert await told.get() == "STATUS=0 exchanges, 0 topics live"
    assert await told.get() == "STATUS=0 exchanges, 0 topics live, 60/s"
    assert await told.get() == "STATUS=0 exchanges, 0 topics live, 0/s"
    task.cancel()


async def test_a_poll_without_answers_is_logged_once_and_once_when_it_answers_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with running(toy(), channels=("ticker",), symbols=("A", "B")) as (server, seen, runner):
        await seen.until(Health, 2, state="live")
        assert list(runner.states()) == [{"live": 2}]
        server.polled = 404
        await seen.until(Health, 2, state="down")
        await asyncio.sleep(0.2)  # it is asked on all the while
        server.polled = 200
        await seen.until(Health, 4, state="live")
    said = [(record.levelname, record.getMessage()) for record in caplog.records if "toy/rest" in record.getMessage()]
    assert [level for level, _ in said] == ["WARNING", "INFO"]
    assert "HTTP 404" in said[0][1]
    assert said[1][1] == "toy/rest: answers again"


async def test_the_service_manager_is_told_from_the_first_moment() -> None:
    runner, told = Runner(), list[str]()
    runner.found = Counter(subscribing=3)
    watching = asyncio.create_task(Progress(Bus("e"), {"toy": runner}, told.append).watch())  # type: ignore[dict-item]
    async with asyncio.timeout(1):  # the next line comes after five
        while not told:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)
    watching.cancel()
    assert told == ["STATUS=1 exchanges, 0 topics live, 3 without data (nothing of toy)"]
