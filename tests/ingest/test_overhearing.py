"""Overhearing: a frame beside the records that it became, and nothing lost or doubled by it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aggregator.ingest.drift import Drift
from aggregator.ingest.lines import LineListener
from aggregator.ingest.network import Network
from aggregator.ingest.overhearing import Ear, Overheard
from aggregator.ingest.runner import ExchangeRunner
from aggregator.records import Gap, Health, Record, Trade
from tests.support import toy as toys
from tests.support.toy import Seen, Server, running, toy

pytestmark = pytest.mark.waits


@asynccontextmanager
async def overheard(
    monkeypatch: pytest.MonkeyPatch, measured: list[Record]
) -> AsyncIterator[tuple[Server, Seen, Ear, list[Overheard]]]:
    """A runner on the toy exchange whose trades are all heard."""
    ears: list[Ear] = []

    class Listened(ExchangeRunner):
        def __init__(self, exchange: object, *rest: object, network: Network, bus: object, **others: object) -> None:
            ears.append(Ear(network, bus, Drift(), measured.extend))  # type: ignore[arg-type]
            super().__init__(exchange, *rest, network=ears[0].network(), bus=bus, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(toys, "ExchangeRunner", Listened)
    async with running(toy(), channels=("trades",)) as (server, seen, _):
        await seen.until(Health, state="syncing")
        heard: list[Overheard] = []
        (ear,) = ears
        ear.tap("toy/main.1#1", heard.append)
        yield server, seen, ear, heard


async def test_a_frame_is_heard_beside_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Record] = []
    async with overheard(monkeypatch, measured) as (server, seen, ear, heard):
        ear.prick_up()
        for number in range(1, 4):
            await server.trade(number)
        await seen.until(Trade, 3)
        assert [each.frame for each in heard] == [b'{"s": "A", "n": %d, "price": "5"}' % n for n in (1, 2, 3)]
        assert [[type(r) for r in each.records if type(r) is Trade] for each in heard] == [[Trade]] * 3
        assert [record.sequence for record in seen.of(Trade)] == [1, 2, 3]
        assert measured == [record for each in heard for record in each.records]
        assert ear.drift.normal.kinds[""].channels == {"trades"}


async def test_without_a_tap_one_read_is_heard_and_the_next_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Record] = []
    async with overheard(monkeypatch, measured) as (server, seen, ear, heard):
        ear.untap("toy/main.1#1", heard.append)
        (listener,) = ear._listeners
        assert listener.frames == listener.connection.frames
        ear.prick_up()
        assert listener.frames != listener.connection.frames
        await server.trade(1)
        await seen.until(Trade)
        assert listener.frames == listener.connection.frames
        await server.trade(2)
        await seen.until(Trade, 2)
        assert (heard, sum(type(record) is Trade for record in measured)) == ([], 1)


async def test_a_frame_that_cannot_be_read_is_heard_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with overheard(monkeypatch, []) as (server, seen, ear, heard):
        ear.untap("toy/main.1#1", heard.append)
        await server.say(rubbish=1)
        await server.trade(1)
        await seen.until(Gap, cause="parse_error")
        ear.prick_up()  # from now on more than one frame of it is looked at
        for number in (2, 3):
            await server.say(s="A", n=number, cost="5")
            await server.trade(number)
        await seen.until(Trade, 3)
        (unread, *_) = ear.drift.findings.values()
        assert (unread.what, unread.reason, unread.count) == ("unread frame", "KeyError: 'bid'", 2)


async def test_a_connection_that_has_ended_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async with overheard(monkeypatch, []) as (server, seen, ear, _):
        await server.sockets[0].close()
        await seen.until(Health, state="syncing", conn="toy/main.1#2")
        assert [listener.name for listener in ear._listeners] == ["toy/main.1#2"]
        listener: LineListener = next(iter(ear._listeners))
        assert listener.name == "toy/main.1#2"
