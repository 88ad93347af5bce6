"""The budgets of hosts over several processes: all of them together ask no more than one would."""

import asyncio
from collections.abc import Callable

import pytest

from aggregator.daemon.shared_hosts import BorrowedHosts, LentHosts
from aggregator.daemon.words import AskConnect, AskTurn, FromHub, FromWorker, Granted, HostRests
from aggregator.errors import SessionError
from aggregator.exchange import Budget, Request
from aggregator.ingest.budget import SLACK_S, STRETCH
from aggregator.ingest.network import Answer
from aggregator.ingest.rest import Hosts, Need, Rest
from aggregator.ingest.shard import ConnectLimiter
from tests.ingest.test_rest import URL, Host, toy
from tests.support.hurry import hurried, seconds

BUDGET: dict[str, tuple[Budget, ...]] = {"https://toy.example": ((2, 1.0),)}
WINDOW = STRETCH + SLACK_S


class Processes:
    """A hub and two workers, whose words come at once."""

    def __init__(self) -> None:
        self.hosts = Hosts()
        self.lent = LentHosts(self.hosts)
        self.workers = [self.begin(0), self.begin(1)]

    def begin(self, number: int) -> BorrowedHosts:
        def say(word: FromWorker) -> None:
            if isinstance(word, AskTurn | AskConnect):
                self.lent.ask(number, word, self.hears(worker))
            elif isinstance(word, HostRests):
                self.lent.rests(word)
                for other in self.workers:
                    self.hears(other)(word)

        worker = BorrowedHosts(say)
        return worker

    @staticmethod
    def hears(worker: BorrowedHosts) -> Callable[[FromHub], None]:
        def hear(word: FromHub) -> None:
            if isinstance(word, Granted):
                worker.heard(word)
            elif isinstance(word, HostRests):
                worker.rest_until(word.host, word.until, word.words)

        return hear


@hurried
async def test_two_processes_ask_no_more_than_one_would_and_what_is_needed_most_goes_first() -> None:
    processes, host = Processes(), Host()
    rests = [Rest(host.network(), toy(BUDGET), hosts) for hosts in processes.workers]
    needs = [Need.POLL, Need.POLL, Need.POLL, Need.BACKFILL, Need.POLL, Need.SNAPSHOT]
    async with asyncio.TaskGroup() as group:
        for at, need in enumerate(needs):
            group.create_task(rests[at % 2].fetch(Request(f"{URL}/{at}{need.name}"), need))
    assert host.times == pytest.approx([0, 0, WINDOW, WINDOW, 2 * WINDOW, 2 * WINDOW], abs=0.01)
    assert [asked.rpartition("/")[2] for asked in host.asked[2:4]] == ["5SNAPSHOT", "3BACKFILL"]
    (budget,) = processes.hosts.status(0).budgets
    assert (budget.of, budget.limit) == ("https://toy.example", 2)
    assert not any(worker.status(0).budgets for worker in processes.workers)


@hurried
async def test_connections_of_two_processes_to_a_host_are_paced_together() -> None:
    processes = Processes()
    passed: list[float] = []

    async def connect(hosts: Hosts) -> None:
        await ConnectLimiter((1, 1.0), hosts).wait("toy.example")
        passed.append(seconds())

    await asyncio.gather(*(connect(hosts) for hosts in processes.workers for _ in range(2)))
    assert passed == [pytest.approx(n * WINDOW, abs=0.01) for n in range(4)]


@hurried
async def test_a_host_that_wants_rest_is_left_alone_by_all() -> None:
    processes, host = Processes(), Host()
    first, second = (Rest(host.network(), toy(BUDGET), hosts) for hosts in processes.workers)
    host.answers = [Answer(429, b"slow down", {"retry-after": "50"})]
    with pytest.raises(SessionError, match="too many requests"):
        await first.fetch(Request(URL), Need.POLL)
    with pytest.raises(SessionError, match="the host wants rest for 50 s"):
        await second.fetch(Request(URL), Need.POLL)
    with pytest.raises(SessionError, match=r"toy\.example wants rest for 50 s"):
        await ConnectLimiter(None, processes.workers[1]).wait("toy.example")
    told: list[FromHub] = []
    processes.lent.tell(told.append)
    assert [(word.host, word.words) for word in told if isinstance(word, HostRests)] == [
        ("toy.example", "HTTP 429: slow down")
    ]
    assert len(host.asked) == 1


@hurried
async def test_whoever_gives_up_or_dies_holds_up_nobody() -> None:
    processes, host = Processes(), Host()
    first, second = (Rest(host.network(), toy(BUDGET), hosts) for hosts in processes.workers)
    for _ in range(2):
        await first.fetch(Request(URL), Need.POLL)
    waiting = [asyncio.create_task(first.fetch(Request(URL), Need.SNAPSHOT)) for _ in range(4)]
    await asyncio.sleep(0.1)
    waiting[0].cancel()
    processes.lent.leave(0)
    await second.fetch(Request(URL), Need.POLL)
    assert seconds() == pytest.approx(WINDOW, abs=0.01)
    for task in waiting:
        task.cancel()
