"""The file that one run leaves to the next for each exchange: every topic's open gap and last number.

A run that ends by itself leaves how it ended. One that is killed leaves its last mark (`marks.py`): then what was
followed is missing from the last moment at which the program is known to have lived.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from aggregator.ingest import state
from aggregator.records import Channel, Gap
from aggregator.session.subscriptions import Key
from aggregator.session.topics import TopicCheckpoint


class CheckpointRow(Struct, frozen=True, omit_defaults=True):
    """One topic of one feed.

    is_followed: whether what comes after the mark is missing
    slot: where its last number stands in the file of numbers, which is newer than the mark
    restart: from when on its last gap of a restart is, ns, as long as a sink may not have written it yet
    """

    feed: str
    channel: Channel
    raw_symbol: str | None
    carried: TopicCheckpoint
    symbol: str | None = None
    is_followed: bool = False
    slot: int | None = None
    restart: int | None = None


class CheckpointFile(Struct, frozen=True):
    """One exchange's file.

    ts: when it was written
    epoch: the run whose mark it is; null: a run that ended by itself, all of whose gaps are told
    version: of the file
    """

    ts: int
    epoch: str | None
    version: int = state.VERSION
    rows: list[CheckpointRow] = []


Topics = dict[str, dict[Key, TopicCheckpoint]]  # the keys are names of sources

PIECE = 200  # topics that are encoded at once

encode = msgspec.json.Encoder().encode


def rows_of(
    left: Mapping[str, Mapping[Key, TopicCheckpoint]], restarts: Mapping[tuple[str, Key], int] | None = None
) -> list[CheckpointRow]:
    """Topics of an end that is told; `restarts`: by feed and topic, since when sinks may not have written all."""
    since = restarts or {}
    return [
        CheckpointRow(feed, channel, raw_symbol, carried, restart=since.get((feed, (channel, raw_symbol))))
        for feed, topics in left.items()
        for (channel, raw_symbol), carried in topics.items()
    ]


def save(pieces: Iterable[bytes], path: Path, ts: int, epoch: str | None = None) -> None:
    """Write what is left over, in pieces; whole or not at all. Raises OSError."""
    state.write(path, state.listed(encode(CheckpointFile(ts, epoch)), pieces))


def pieces_of(rows: Sequence[CheckpointRow]) -> Iterator[bytes]:
    """All of these rows, in pieces."""
    return (piece_of(rows[at : at + PIECE]) for at in range(0, len(rows), PIECE))


def piece_of(rows: Sequence[CheckpointRow]) -> bytes:
    """A few rows, encoded."""
    try:
        return encode(rows)[1:-1]
    except OverflowError:  # numbers of an exchange that are larger than any counter
        return encode([structs.replace(row, carried=_without_numbers(row.carried)) for row in rows])[1:-1]


def _without_numbers(carried: TopicCheckpoint) -> TopicCheckpoint:
    gap = carried.gap
    if gap is not None:
        gap = structs.replace(gap, expected=None, got=None, missed=None)
    return TopicCheckpoint(gap, asked=carried.asked, is_unsure=carried.is_unsure)


def load(path: Path) -> CheckpointFile | None:
    """Read what an earlier run left over; it stays there until it is written over: a start may be killed too.

    A file that cannot be read is set aside, as is one of a later version. Raises OSError.
    """
    blob = state.read(path)
    if blob is None or state.is_newer(path, blob):
        return None
    try:
        if blob.startswith(b"["):  # until the autumn of 2026 the rows stood alone, and only a good end wrote them
            return CheckpointFile(0, None, rows=msgspec.json.decode(blob, type=list[CheckpointRow]))
        return msgspec.json.decode(blob, type=CheckpointFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        state.set_aside(path, f"it cannot be read: {error}")
        return None


def topics_of(left: CheckpointFile) -> Topics:
    """By feed and topic, as the runner takes them."""
    found: Topics = {}
    for row in left.rows:
        found.setdefault(row.feed, {})[row.channel, row.raw_symbol] = row.carried
    return found


def after_a_kill(
    exchange: str,
    left: CheckpointFile,
    died: int,
    numbers: Mapping[int, int],
    *,
    is_sure: bool = True,
    goes_on: bool = False,
) -> tuple[CheckpointFile, list[Gap]]:
    """The checkpoints of a run that was killed: each followed topic has a gap, open since the run died.

    A gap that was open already may have grown since the mark, and it is not known how much of it was recovered. So
    nothing of it is asked for again, and it is never told as recovered in full. Where the run died so soon that a sink
    may not have written the gap that it began with, the new one begins where that one did; and where another gap is
    open by then, what lies before that is told for itself.

    numbers: the last number by slot; a topic that is numbered and has none goes on from nothing known
    is_sure: whether all records of these numbers were published
    goes_on: whether the stream does, because a worker has died alone: sinks write what they have not written yet
    """
    gaps: list[Gap] = []
    rows: list[CheckpointRow] = []
    for row in left.rows:
        carried = structs.replace(row.carried, holes=(), missed=0, recovered=0)
        since = None if goes_on else row.restart
        is_known = is_sure and carried.gap is None and since is None
        carried.is_unsure = carried.is_unsure or not is_known
        carried.last = None if row.slot is None else numbers.get(row.slot)
        if row.is_followed and carried.gap is None:
            carried.gap = _opened(exchange, row, died if since is None else since)
            gaps.append(carried.gap)
        elif since is not None and since < (end := died if carried.gap is None else carried.gap.ts_from):
            unwritten = _opened(exchange, row, since)
            gaps.append(structs.replace(unwritten, phase="close", ts_to=end, repair="none"))
        rows.append(structs.replace(row, carried=carried))
    return structs.replace(left, rows=rows), gaps


def _opened(exchange: str, row: CheckpointRow, ts_from: int) -> Gap:
    """The gap that a topic has because a run died; one that is told again has its id, so that one end ends both."""
    conn = f"{exchange}/{row.feed}"
    return Gap(
        exchange=exchange,
        symbol=row.symbol,
        raw_symbol=row.raw_symbol,
        conn=conn,
        source="derived",
        gap_id=f"{conn}:{row.channel}:{row.raw_symbol or '*'}:{ts_from}",
        phase="open",
        channel=row.channel,
        cause="restart",
        ts_from=ts_from,
    )
