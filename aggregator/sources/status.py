"""How a source fares, for whoever asks."""

from typing import Literal

from msgspec import Struct

State = Literal["connecting", "catching up", "live", "waiting", "refused", "ended"]


class SourceStatus(Struct, frozen=True, kw_only=True):
    """One source at one moment. Counts are since the start.

    name: as logs call it
    type: as the configuration calls it
    state: `connecting`; `catching up`: what was missed is being told; `live`; `waiting`: to try again; `refused`:
        somebody has to act before it can go on, and it is tried again later; `ended`
    trouble: why it waits, or did the last time; null: it never has
    daemon: the name of the other daemon; null: it is not known yet
    epoch: the other daemon's life of which the last record was that came
    offset: that it has there
    links: how often a link was made
    resumed: how often one has gone on where the one before had ended
    records: that were passed on
    unread: lines that could not be read; each is a gap by itself
    left_out: records that were not passed on, because their topic comes another way
    left_out_for: the way by which such a topic comes, of the last of them; null: none was left out
    topics: how many are in each state
    gaps: topics of which a gap is open since the link has broken
    age_ms: milliseconds since something came; null: nothing yet
    """

    name: str
    type: str
    state: State
    trouble: str | None = None
    daemon: str | None = None
    epoch: str | None = None
    offset: int | None = None
    links: int = 0
    resumed: int = 0
    records: int = 0
    unread: int = 0
    left_out: int = 0
    left_out_for: str | None = None
    topics: dict[str, int] = {}
    gaps: int = 0
    age_ms: int | None = None
