"""Batches gathered into groups, so that a sink writes seldom and much; an empty group is a tick."""

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

from aggregator.bus import Batch, Lost, Tap

MOST = 8192  # records; a group ends with the batch that takes it there

Group = list[tuple[Lost | None, Batch]]


async def gathered(tap: Tap, *, pause: float, tick: float | None = None) -> AsyncGenerator[Group, None]:
    """What waits in the tap, in groups, until its stream ends.

    pause: seconds after a first batch in which more may come
    tick: seconds without a batch after which an empty group is given
    """
    batches = cast("AsyncGenerator[tuple[Lost | None, Batch], None]", aiter(tap))
    coming = asyncio.ensure_future(anext(batches, None))
    try:
        while True:
            await asyncio.wait([coming], timeout=tick)
            if not coming.done():
                yield []
                continue
            first = coming.result()
            if first is None:
                return
            if tap.held < MOST:
                await asyncio.sleep(pause)
            group = [first]
            records = len(first[1].records)
            while tap.held and records < MOST:
                group.append(await anext(batches))  # there is one, so this does not wait
                records += len(group[-1][1].records)
            coming = asyncio.ensure_future(anext(batches, None))
            yield group
    finally:
        coming.cancel()
        await asyncio.wait([coming])
        await batches.aclose()
