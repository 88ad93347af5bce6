"""Connections that follow each other or stand side by side: nothing is lost and nothing comes twice."""

import asyncio
import gc
from contextlib import suppress

import pytest
from msgspec import structs

from aggregator.exchange import Exchange, Limits, Stream
from aggregator.ingest import shard
from aggregator.ingest.budget import SLACK_S, STRETCH
from aggregator.ingest.rest import Hosts
from aggregator.ingest.runner import ExchangeRunner, for_rest, for_streams
from aggregator.ingest.shard import ConnectionPolicy
from aggregator.records import BookDelta, BookSnapshot, Gap, Health, Record, Trade
from aggregator.session import arbiter
from aggregator.session.session import Session
from tests.support.hurry import hurried, seconds
from tests.support.toy import HOST, PATIENCE, Seen, Server, running, toy
from tests.support.views import every_health

pytestmark = pytest.mark.waits


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a second or more in life takes less here."""
    monkeypatch.setattr(shard, "LOOK_S", 0.02)
    monkeypatch.setattr(shard, "LINGER_S", 0.05)
    monkeypatch.setattr(shard, "FIRST_BACKOFF_S", 0.05)


async def trading(server: Server, every: float = 0.01) -> None:
    """One trade and one delta after another, on every connection."""
    number = 0
    while True:
        number += 1
        server.sequence = number
        await server.say_to_all(s="A", n=number, price="5")
        await server.say_to_all(s="A", n=number, bid="2" if number % 2 else "3")
        await asyncio.sleep(every)


def numbers(records: list[Record]) -> list[int]:
    return [record.sequence for record in records if isinstance(record, Trade | BookDelta) and record.sequence]


def assert_whole(seen: Seen) -> None:
    """Every number once from the first on, in order; books continue from their snapshots."""
    trades = numbers(seen.of(Trade))
    assert trades == list(range(trades[0], trades[0] + len(trades)))
    last = None
    for record in seen.records:
        if isinstance(record, BookSnapshot):
            assert last is None or record.sequence is None or record.sequence >= last
            last = record.sequence
        elif isinstance(record, BookDelta):
            assert last is None or record.sequence == last + 1
            last = record.sequence


async def test_a_connection_is_replaced_before_its_lifetime_ends() -> None:
    async with running(toy(), policy=ConnectionPolicy(lifetime=0.6)) as (server, seen, runner):
        task = asyncio.create_task(trading(server))
        await seen.until(Health, 10, state="subscribing")  # two topics on each of five connections
        task.cancel()
        assert seen.of(Gap) == []
        assert_whole(seen)
        assert len(numbers(seen.of(Trade))) > 20
        assert len({trade.conn for trade in seen.of(Trade)}) >= 4
        book = runner.book("A")
        assert book is not None
        assert book.sequence == numbers(seen.of(BookDelta))[-1]


def sessions() -> set[str]:
    """The connections of which anything is still in memory."""
    return {found.conn for found in gc.get_objects() if type(found) is Session}


@pytest.mark.parametrize("policy", [ConnectionPolicy(lifetime=0.6), ConnectionPolicy()], ids=["replaced", "lost"])
async def test_a_connection_that_is_over_is_freed_without_the_collector(
    monkeypatch: pytest.MonkeyPatch, policy: ConnectionPolicy
) -> None:
    monkeypatch.setattr(arbiter, "BEHIND_NS", 0)  # the one that is left is compared with it for no longer
    gc.collect()
    before = sessions()
    gc.disable()
    try:
        async with running(toy(), policy=policy) as (server, seen, runner):
            task = asyncio.create_task(trading(server))
            for count in range(3):
                await seen.until(Health, 2 * (count + 1), state="subscribing")
                if policy.lifetime is None:
                    await seen.until(BookDelta)
                    await server.sockets[-1].close()
            await seen.until(Health, 8, state="subscribing")
            (only,) = runner.shards
            async with asyncio.timeout(PATIENCE):
                while sessions() - before != {c.session.conn for c in only._connections}:  # noqa: ASYNC110 - likewise
                    await asyncio.sleep(0.02)
            task.cancel()
    finally:
        gc.enable()


async def both_are_good(runner: ExchangeRunner, server: Server, connections: int) -> None:
    """So many connections have been made, and the two that live carry both topics."""
    (only,) = runner.shards
    async with asyncio.timeout(PATIENCE):
        while server.connections < connections or sum(len(c.session.topics.good()) for c in only._connections) < 4:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("which", [0, -1])
async def test_the_death_of_one_line_of_two_is_no_gap(which: int) -> None:
    async with running(toy(), policy=ConnectionPolicy(redundancy=2)) as (server, seen, runner):
        await seen.until(Health, 4, state="syncing")
        task = asyncio.create_task(trading(server))
        await seen.until(BookDelta)
        for turn in range(4):
            await both_are_good(runner, server, turn + 2)
            open_ones = [socket for socket in server.sockets if not socket.closed]
            assert len(open_ones) == 2, turn
            await open_ones[which].close()
        await asyncio.sleep(0.2)
        task.cancel()
        assert server.connections >= 5
        assert seen.of(Gap) == []
        assert_whole(seen)


async def test_the_death_of_both_lines_is_one_gap() -> None:
    async with running(toy(), channels=("trades",), policy=ConnectionPolicy(redundancy=2)) as (server, seen, _):
        await seen.until(Health, 2, state="syncing")
        await server.say_to_all(s="A", n=1, price="5")
        await seen.until(Trade)
        for socket in list(server.sockets):
            await socket.close()
        await seen.until(Gap, phase="open")
        await seen.until(Health, 4, state="syncing")
        await server.say_to_all(s="A", n=4, price="5")
        await seen.until(Gap, phase="close")
        await asyncio.sleep(0.1)
        opened, closed = seen.of(Gap)
        assert isinstance(opened, Gap)
        assert isinstance(closed, Gap)
        assert (opened.gap_id, opened.cause) == (closed.gap_id, closed.cause)
        assert numbers(seen.of(Trade)) == [1, 4]


async def test_what_is_open_at_the_end_is_closed_by_the_next_run() -> None:
    async with running(toy(), channels=("trades",)) as (server, seen, runner):
        await seen.until(Health, state="syncing")
        await server.trade(1)
        await seen.until(Trade)
        first = seen
    (opened,) = first.of(Gap)
    assert isinstance(opened, Gap)
    assert (opened.phase, opened.cause) == ("open", "restart")
    async with running(toy(), channels=("trades",), left=runner.carried()) as (server, seen, _):
        await seen.until(Health, state="syncing")
        await server.trade(4)
        (closed,) = await seen.until(Gap, phase="close")
        assert isinstance(closed, Gap)
        assert (closed.gap_id, closed.cause, closed.missed) == (opened.gap_id, "restart", 2)


async def test_a_gap_that_nobody_can_close_is_reported_at_the_next_start() -> None:
    async with running(toy(), channels=("trades",)) as (server, seen, runner):
        await seen.until(Health, state="syncing")
        await server.trade(1)
        await seen.until(Trade)
    async with running(toy(), channels=("book",), left=runner.carried()) as (_, seen, _):
        (closed,) = await seen.until(Gap, phase="close")
        assert isinstance(closed, Gap)
        assert (closed.channel, closed.repair) == ("trades", "none")


async def test_the_next_host_is_tried_where_one_fails() -> None:
    exchange = toy(url="wss://dead.example/ws", mirrors=(f"{HOST}/ws",))
    assert isinstance(exchange.feeds[0], Stream)
    async with running(exchange, channels=("trades",)) as (server, seen, _):
        await seen.until(Health, state="syncing")
        assert server.connections == 1


@hurried
async def test_connects_are_paced() -> None:
    gate = shard.ConnectLimiter((2, 0.3), Hosts())
    passed: list[float] = []

    async def connect() -> None:
        await gate.wait("wss://toy.example")
        passed.append(seconds())

    await asyncio.gather(*(connect() for _ in range(4)))
    assert passed == [0, 0, *[round(0.3 * STRETCH + SLACK_S, 6)] * 2]
    with suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await gate.wait("wss://toy.example")
    await gate.wait("wss://toy.example")  # one that gave up does not hold the others


@hurried
async def test_two_exchanges_of_one_host_pass_no_more_together_than_it_allows() -> None:
    hosts = Hosts()
    gates = [shard.ConnectLimiter((1, 1.0), hosts) for _ in range(3)]
    passed: list[float] = []

    async def connect(gate: shard.ConnectLimiter) -> None:
        await gate.wait("toy.example")
        passed.append(seconds())

    await asyncio.gather(*(connect(gate) for gate in gates for _ in range(2)))
    window = STRETCH + SLACK_S
    assert passed == [pytest.approx(n * window, abs=0.01) for n in range(6)]


@hurried
async def test_a_host_that_wants_rest_holds_up_no_other() -> None:
    hosts = Hosts()
    gate = shard.ConnectLimiter((1, 1.0), hosts)
    hosts.leave_alone("busy.example", "too many", 20.0, 0)
    waiting = asyncio.create_task(gate.wait("busy.example"))
    await asyncio.sleep(1)
    await gate.wait("toy.example")
    assert seconds() == 1
    hosts.leave_alone("busy.example", "too many again", 25.0, int(seconds() * 1e9))
    await waiting
    assert seconds() == pytest.approx(26, abs=0.01)


def narrow(connections: int) -> Exchange:
    """A toy exchange that allows so many connections; each carries one topic."""
    exchange = toy(per_connection=1)
    return structs.replace(exchange, limits=structs.replace(exchange.limits, connections=connections))


SHARES = [(None, 32, None), (100, 4, 96), (32, 4, 28), (5, 1, 4), (1, 1, 1)]


@pytest.mark.parametrize(("allowed", "rest", "streams"), SHARES)
def test_rest_has_a_share_of_the_connections(allowed: int | None, rest: int, streams: int | None) -> None:
    limits = Limits(connections=allowed)
    assert (for_rest(limits), for_streams(limits)) == (rest, streams)


def open_sockets(server: Server) -> int:
    return sum(not socket.closed for socket in server.sockets)


async def test_no_more_connections_are_open_than_the_exchange_allows() -> None:
    """Of five, four are for streams: two of six topics say what they wait for, and get the next that is free."""
    async with running(narrow(5), ("trades",), ("A", "B", "C", "D", "E", "F")) as (server, seen, runner):
        await seen.until(Health, 4, state="syncing")
        waiting = [h for h in every_health(runner) if h.reason and "4 connections are open" in h.reason]
        assert (server.connections, open_sockets(server), len(waiting)) == (4, 4, 2)
        await server.sockets[0].close()
        await seen.until(Health, 5, state="syncing")
        assert (server.connections, open_sockets(server)) == (5, 4)


async def test_where_all_places_are_taken_the_old_connection_goes_first() -> None:
    """A successor would wait for the place of the very connection that it is to replace."""
    most = 0
    async with running(narrow(2), ("trades",), policy=ConnectionPolicy(lifetime=0.6)) as (server, seen, _):
        while server.connections < 3:
            await asyncio.sleep(0.01)
            most = max(most, open_sockets(server))
        assert most == 1
        assert {h.state for h in seen.of(Health) if isinstance(h, Health)} >= {"syncing", "down"}


async def test_who_waits_for_a_place_longer_than_a_lifetime_dials_once_it_has_one_and_not_for_nothing() -> None:
    """A lifetime begins when the connection is made: each of them lasts for half of it, as only then it is replaced."""
    begun = asyncio.get_running_loop().time()
    async with running(narrow(2), ("trades",), ("A", "B", "C"), policy=ConnectionPolicy(lifetime=0.4)) as (
        server,
        _,
        __,
    ):
        async with asyncio.timeout(PATIENCE):
            while server.connections < 7:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
    lived = asyncio.get_running_loop().time() - begun
    assert server.connections <= 1 + lived / 0.2  # however slow the machine is: it only lives longer


async def test_the_old_connection_stays_until_the_new_one_has_asked_for_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long its pace makes that: silence is excused only of what was asked for."""
    monkeypatch.setattr(shard, "JOINING_S", 0.1)
    paced = toy(batch=1, pace=0.1)
    async with running(paced, ("trades",), ("A", "B", "C", "D", "E"), policy=ConnectionPolicy(lifetime=2)) as ran:
        server, _, _ = ran
        async with asyncio.timeout(PATIENCE):
            await server.ended.wait()
        assert len(server.asked) >= 10
