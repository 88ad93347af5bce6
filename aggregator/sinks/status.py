"""How a sink fares, for whoever asks."""

from typing import Literal

from msgspec import Struct

State = Literal["opening", "running", "waiting", "ended"]


class SinkStatus(Struct, frozen=True, kw_only=True):
    """One sink at one moment. Counts are since the start.

    Each record is in one place: `received` = `written` + `refused` + `dropped` + `held`.

    name: as logs call it
    type: as the configuration calls it
    state: `opening`: it is not open yet, or again; `running`; `waiting`: to try a write again; `ended`
    failing: what keeps it, or a part of it, from writing; null: nothing
    received: records that came for it, by its patterns
    written: records that it took, and kept
    refused: records that it refused, and that stand in the dead letters with the reason
    dropped: records that are lost to it; each is told to it by a gap, or it ended before that
    held: records that wait, or are being written
    held_bytes: about how much memory those take
    spilled: how many of them wait in the journal, of those that were published since the start
    bytes: of the lines of what it took
    batches: that it took
    retried: writes that failed and were tried again
    restarts: how often it was opened anew after a failure
    removed: files that were removed to make room
    """

    name: str
    type: str
    state: State
    failing: str | None = None
    received: int = 0
    written: int = 0
    refused: int = 0
    dropped: int = 0
    held: int = 0
    held_bytes: int = 0
    spilled: int = 0
    bytes: int = 0
    batches: int = 0
    retried: int = 0
    restarts: int = 0
    removed: int = 0
