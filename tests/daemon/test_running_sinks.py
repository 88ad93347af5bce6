"""The sinks of a configuration together: each fails alone, the last that ends is told, and a stop waits so long."""

import asyncio
import logging

import pytest
from msgspec import Struct

from aggregator.bus.bus import Batch, Bus
from aggregator.daemon.running_sinks import RunningSinks
from aggregator.errors import ConfigError
from aggregator.records import Record, Trade
from aggregator.sinks.sink import Context, Delivery, Ended, Sink, Writer
from tests.support.hurry import hurried, seconds

PLAIN = Delivery(batch_age=0.0, backoff=1.0)


class NoSettings(Struct, frozen=True):
    """Nothing to set."""


class Scripted(Writer):
    """Keeps what it is given; raises `error` instead, or takes so many seconds for each batch."""

    def __init__(self, *, error: Exception | None = None, takes: float = 0) -> None:
        self.records: list[Record] = []
        self.is_closed = False
        self._error = error
        self._takes = takes

    async def write(self, batch: Batch) -> None:
        await asyncio.sleep(self._takes)
        if self._error is not None:
            raise self._error
        self.records += batch.records

    async def close(self) -> None:
        self.is_closed = True


def sink(name: str, writer: Writer | Exception) -> Sink:
    async def open_it(_: NoSettings, __: Context) -> Writer:
        if isinstance(writer, Exception):
            raise writer
        return writer

    return Sink(name, NoSettings, open_it, delivery=PLAIN)


class Scene:
    """Sinks on a bus, and how often it was told that none is left."""

    def __init__(self) -> None:
        self.bus = Bus("e1")
        self.idle = 0
        self.sinks = RunningSinks(self.bus, on_idle=self._note)

    def _note(self) -> None:
        self.idle += 1

    async def start(self, **writers: Writer | Exception) -> None:
        await self.sinks.start([sink(name, writer).configured() for name, writer in writers.items()])

    def publish(self, count: int = 1) -> None:
        self.bus.publish([Trade(exchange="alpha", price="1", size="1") for _ in range(count)])


@hurried
async def test_every_sink_gets_every_record_and_a_stop_drains_them() -> None:
    scene, one, other = Scene(), Scripted(), Scripted(takes=5)
    await scene.start(one=one, other=other)
    scene.publish(3)
    await asyncio.sleep(0)
    scene.publish(2)
    await scene.sinks.stop(60)
    assert [record.offset for record in one.records] == [record.offset for record in other.records] == [1, 2, 3, 4, 5]
    assert one.is_closed
    assert other.is_closed
    assert scene.idle == 0, "it was ended from outside"


@hurried
async def test_a_sink_whose_target_is_gone_leaves_the_others_alone_and_the_last_one_is_told() -> None:
    scene, one, other = Scene(), Scripted(error=Ended()), Scripted()
    await scene.start(one=one, other=other)
    scene.publish()
    await asyncio.sleep(5)
    scene.publish()
    await asyncio.sleep(5)
    assert [found.name for found in scene.sinks.status()] == ["other"]
    assert len(other.records) == 2
    assert scene.idle == 0
    await scene.sinks.stop(1)
    alone = Scene()
    await alone.start(one=Scripted(error=Ended()))
    alone.publish()
    await asyncio.sleep(5)
    assert alone.idle == 1


@hurried
async def test_a_sink_that_cannot_be_opened_is_a_reason_not_to_start() -> None:
    scene, one = Scene(), Scripted()
    with pytest.raises(ConfigError, match="no such directory"):
        await scene.start(one=one, other=OSError("no such directory"))
    await scene.sinks.stop(1)
    assert one.is_closed, "what was opened before is closed"


@hurried
async def test_a_stop_waits_no_longer_than_it_may_and_says_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="aggregator.outputs")
    scene, quick, slow = Scene(), Scripted(), Scripted(takes=1000)
    await scene.start(quick=quick, slow=slow)
    scene.publish(4)
    await asyncio.sleep(1)
    begun = seconds()
    await scene.sinks.stop(7)
    assert seconds() == begun + 7
    assert len(quick.records) == 4
    assert caplog.messages == ["sink slow could not write all that it held within 7 s: 4 left"]


@hurried
async def test_without_sinks_there_is_nothing_to_wait_for() -> None:
    scene = Scene()
    await scene.start()
    scene.publish()
    await scene.sinks.give([])
    await scene.sinks.stop(60)
    assert (scene.sinks.status(), scene.sinks.reopen(), seconds()) == ([], 0, 0)
