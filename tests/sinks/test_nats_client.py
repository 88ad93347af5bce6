"""Whoever waits for the client of NATS ends when it is told to, whatever the client does with that."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from aggregator.sinks.brokers.nats_client import Watch, answered

pytestmark = pytest.mark.waits


async def with_the_answer(answer: asyncio.Future[None]) -> None:
    """A request: Python 3.11 has its answer go before a cancellation that comes together with it."""
    await asyncio.wait_for(answer, 30)


async def while_it_flushes(answer: asyncio.Future[None]) -> None:
    """A flush: the client passes over that it is cancelled."""
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        await answer


@pytest.mark.parametrize("call", [with_the_answer, while_it_flushes])
async def test_a_cancellation_is_not_lost(call: Callable[[asyncio.Future[None]], Coroutine[None, None, None]]) -> None:
    answer = asyncio.get_running_loop().create_future()
    went_on = []

    async def asks() -> None:
        await answered(call(answer))
        went_on.append(call)

    await is_ended(asks(), answer)
    assert went_on == []


async def test_a_connection_that_is_gone_is_told_though_the_client_goes_on() -> None:
    watch, answer = Watch(), asyncio.get_running_loop().create_future()

    async def asks() -> None:
        await watch.while_connected(asyncio.ensure_future(while_it_flushes(answer)))

    await watch.note_end()
    task = asyncio.create_task(asks())
    with pytest.raises(ConnectionResetError):
        await task
    answer.set_result(None)


async def is_ended(asks: Coroutine[None, None, None], answer: asyncio.Future[None]) -> None:
    """Cancel a task as its answer comes: it has to be cancelled."""
    task = asyncio.create_task(asks)
    for _ in range(5):
        await asyncio.sleep(0)
    answer.set_result(None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_client_gives_and_what_it_raises_come_through() -> None:
    async def fails() -> None:
        raise ConnectionResetError("gone")

    async def gives() -> int:
        return 7

    assert await answered(gives()) == 7
    with pytest.raises(ConnectionResetError, match="gone"):
        await answered(fails())
