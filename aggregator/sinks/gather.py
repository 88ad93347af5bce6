"""Batches gathered into groups, so that a sink writes seldom and much; an empty group is a tick."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import cast

from aggregator.bus import Batch, Lost, Tap

MOST = 8192  # records; a group ends with the batch that takes it there
AT_ONCE = 512  # records that are worked on in one go

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
                group.append(tap.take())
                records += len(group[-1][1].records)
            coming = asyncio.ensure_future(anext(batches, None))
            yield group
    finally:
        coming.cancel()
        await asyncio.wait([coming])
        await batches.aclose()


def parts(group: Group) -> Iterator[Group]:
    """A group in pieces, between which others may have their turn."""
    part: Group = []
    records = 0
    for lost, batch in group:
        part.append((lost, batch))
        records += len(batch.records)
        if records >= AT_ONCE:
            yield part
            part, records = [], 0
    if part:
        yield part
