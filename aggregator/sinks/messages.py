"""Batches as messages: records that travel together, because they have one place at the target.

A batch of records per message is some thirty times as fast for every broker as a message each. What a message is made
of is said once here: the order at one place stays, and no message is larger than the target takes.
"""

from collections.abc import Sequence

from msgspec import Struct

from aggregator.bus.bus import Batch
from aggregator.sinks.naming import MOST_PLACES


class Message(Struct, frozen=True):
    """Records of one batch that travel together.

    place: where they go: a subject, a topic, a key
    which: their positions in the batch
    first: the offset of the first of them
    last: the offset of the last of them
    payload: their lines
    """

    place: str
    which: Sequence[int]
    first: int
    last: int
    payload: bytes


class Chain:
    """Links each message to the one before it at its place, where readers may miss some and cannot ask.

    A message names the offset of the last record before it at the same place. A reader that has had another one last
    has missed something.
    """

    def __init__(self) -> None:
        """Begin: the first message at a place follows none."""
        self._last: dict[str, int] = {}

    def linked(self, messages: list[Message]) -> list[tuple[Message, int]]:
        """Each of a batch's messages with the offset of the last record before it at its place; 0: it is the first."""
        last: dict[str, int] = {}
        found = []
        for message in messages:
            found.append((message, last.get(message.place) or self._last.get(message.place, 0)))
            last[message.place] = message.last
        return found

    def passed(self, messages: list[Message]) -> None:
        """Note that these were given, and will not be given again."""
        if len(self._last) > MOST_PLACES:
            self._last.clear()
        self._last.update((message.place, message.last) for message in messages)


def messages_of(
    batch: Batch, places: Sequence[str], *, most_bytes: int, most_records: int | None = None
) -> tuple[list[Message], list[int]]:
    """The messages of a batch, and the positions of the records that are too large for any.

    places: of each record
    most_bytes: of the lines in a message
    most_records: in a message; null: as many as there are
    """
    most_records = most_records or len(places)
    is_one = batch.size <= most_bytes and len(places) <= most_records and places.count(places[0]) == len(places)
    if is_one:  # nothing to part
        return [Message(places[0], range(len(places)), batch.first, batch.last, batch.blob)], []
    if most_records == 1:
        return _singly(batch, places, most_bytes)
    sizes = list(map(len, batch.lines))
    groups: dict[str, list[int]] = {}
    too_large = []
    for at, place in enumerate(places):
        if sizes[at] > most_bytes:
            too_large.append(at)
        else:
            groups.setdefault(place, []).append(at)
    messages = []
    for place, group in groups.items():
        for which in _split(group, sizes, most_bytes, most_records):
            first, last = batch.records[which[0]].offset, batch.records[which[-1]].offset
            payload = b"".join([batch.lines[at] for at in which])
            messages.append(Message(place, which, first, last, payload))
    return messages, too_large


def _singly(batch: Batch, places: Sequence[str], most_bytes: int) -> tuple[list[Message], list[int]]:
    """A message for each record, in their order."""
    told = enumerate(zip(places, batch.records, batch.lines, strict=True))
    messages = [
        Message(place, [at], record.offset, record.offset, line)
        for at, (place, record, line) in told
        if len(line) <= most_bytes
    ]
    if len(messages) == len(places):
        return messages, []
    return messages, [at for at, line in enumerate(batch.lines) if len(line) > most_bytes]


def _split(which: list[int], sizes: list[int], most_bytes: int, most_records: int) -> list[list[int]]:
    """These positions in order, in as few parts as their records allow."""
    if len(which) <= most_records and sum([sizes[at] for at in which]) <= most_bytes:
        return [which]
    parts: list[list[int]] = []
    size = most_bytes
    for at in which:
        if size + sizes[at] > most_bytes or len(parts[-1]) == most_records:
            parts.append([])
            size = 0
        parts[-1].append(at)
        size += sizes[at]
    return parts
