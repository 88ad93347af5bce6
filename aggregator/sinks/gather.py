"""Batches gathered into groups, so that a sink works seldom and much."""

from collections.abc import AsyncIterator

from aggregator.bus import Batch, Lost, Tap

ENOUGH = 256  # records that are worked on without waiting for more
MOST = 8192  # records; a group ends with the batch that takes it there

Group = list[tuple[Lost | None, Batch]]


async def gathered(tap: Tap, *, pause: float) -> AsyncIterator[Group]:
    """What waits in the tap, in groups, until its stream ends.

    pause: seconds after a first batch in which more may come
    """
    while await tap.filled():
        await tap.filled(ENOUGH, within=pause)
        if tap.held:  # others may have taken it meanwhile
            yield held(tap)


def held(tap: Tap) -> Group:
    """What waits in the tap now."""
    group: Group = []
    records = 0
    while tap.held and records < MOST:
        group.append(tap.take())
        records += len(group[-1][1].records)
    return group
