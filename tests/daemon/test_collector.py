"""The collector of garbage: what is new is freed, what lives is not looked at, and memory tells when it must be."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from aggregator.daemon import collector
from aggregator.daemon.collector import Collector

pytestmark = pytest.mark.waits

PATIENCE = 60.0  # seconds; nothing here takes nearly as long


class Knot:
    """It refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that looks all the time."""
    monkeypatch.setattr(collector, "LOOK_S", 0.01)
    monkeypatch.setattr(collector, "SWEEP_LOOKS", 2)
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(1000, 10**6, 10**6)
    yield Collector()
    gc.unfreeze()
    gc.set_threshold(*before)


async def until_gone(kept: "weakref.ref[Knot]") -> None:
    async with asyncio.timeout(PATIENCE):
        while kept() is not None:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def until_frozen(more_than: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while gc.get_freeze_count() <= more_than:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)


async def test_what_is_new_is_freed(found: Collector) -> None:
    task = asyncio.create_task(found.sweep())
    kept = weakref.ref(Knot())
    await until_gone(kept)
    task.cancel()


async def test_where_much_that_is_new_lives_it_is_frozen_and_freed_only_once_memory_has_grown(
    monkeypatch: pytest.MonkeyPatch, found: Collector
) -> None:
    task = asyncio.create_task(found.sweep())
    frozen = gc.get_freeze_count()
    knot, alone = Knot(), Knot()
    alone.itself = knot
    many: list[list[int]] = [[] for _ in range(5000)]
    await until_frozen(frozen + len(many) // 2)
    kept, other = weakref.ref(knot), weakref.ref(alone)
    del alone
    assert other() is None, "nothing refers to it: the collector is not needed"
    del knot
    await asyncio.sleep(0.2)
    assert kept() is not None
    monkeypatch.setattr(collector, "FULL_LOOKS", 2)
    sizes = iter([100])  # bytes at the first look, and ever after
    monkeypatch.setattr(collector, "memory", lambda: next(sizes, 126))
    await until_gone(kept)
    assert gc.get_freeze_count() > len(many) // 2, "what lives is frozen again"
    task.cancel()


async def test_a_sweep_that_takes_long_is_not_repeated(monkeypatch: pytest.MonkeyPatch, found: Collector) -> None:
    gc.disable()
    monkeypatch.setattr(collector, "LONG_S", 0.0)
    task = asyncio.create_task(found.sweep())
    frozen = gc.get_freeze_count()
    many: list[list[int]] = [[] for _ in range(500)]
    await until_frozen(frozen + len(many) // 2)
    gc.enable()
    task.cancel()


async def test_it_listens_no_more_when_it_has_ended(found: Collector) -> None:
    task = asyncio.create_task(found.sweep())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task})
    assert found._heard not in gc.callbacks
