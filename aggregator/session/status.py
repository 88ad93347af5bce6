"""How topics and connections fare at one moment: plain values for whoever asks, and nothing changes by asking."""

from typing import Literal

from msgspec import Struct

from aggregator.records import MS_NS, Cause, Channel, DemandState, TopicState
from aggregator.session.moment import Now
from aggregator.session.order_book import BookTopic
from aggregator.session.topics import Topic


class TopicStatus(Struct, frozen=True, kw_only=True, gc=False):
    """One topic that is wanted. Counts are of its connection.

    exchange: the exchange's id
    channel: of the topic
    symbol: unified name; null: not known
    raw_symbol: the exchange's own name
    state: as in `health`; `absent`: nothing carries it, and `reason` says why
    reason: in words, where there is something to say
    since: since when it is in this state (ns); null: not known
    age_ms: milliseconds since its last record; null: none yet
    rate: records per second, lately; null: not known
    conn: the connection that carries it; null: none
    gap: cause of the gap that is open; null: none is
    gap_since: since when something may be missing (ns)
    records: that were published
    duplicates: records that were dropped because they had come before
    withheld: changes of a book that are held back until it is whole
    gaps_opened: gaps that were opened
    gaps_closed: gaps that were closed
    asked_again: how often it was asked for again in vain since it was last live
    demand: of a topic on demand: `wanted`: somebody asks for it, and it cannot be had now; `pending`: it is on its way;
        `live`: it is subscribed; `lingering`: nobody asks for it any more, and it is released soon
    """

    exchange: str
    channel: Channel
    symbol: str | None
    raw_symbol: str | None
    state: TopicState | Literal["absent"]
    reason: str | None = None
    since: int | None = None
    age_ms: int | None = None
    rate: float | None = None
    conn: str | None = None
    gap: Cause | None = None
    gap_since: int | None = None
    records: int = 0
    duplicates: int = 0
    withheld: int = 0
    gaps_opened: int = 0
    gaps_closed: int = 0
    asked_again: int = 0
    demand: DemandState | None = None


class SessionStatus(Struct, frozen=True, kw_only=True):
    """The yield of one connection, or of one poll. Counts are since its beginning.

    frames: frames, or answers of a poll, that have come
    bytes: their length, as they came
    unread: frames and answers that could not be read
    unwanted: records that belong to no topic that is wanted here
    refused: topics that the exchange has refused; of a poll, requests without a good answer
    unsent: frames that wait to be sent
    unasked: REST requests that wait to be made
    reconnect_reason: why a new connection is to take its place; null: none is
    """

    frames: int = 0
    bytes: int = 0
    unread: int = 0
    unwanted: int = 0
    refused: int = 0
    unsent: int = 0
    unasked: int = 0
    reconnect_reason: str | None = None


def topic_status(topic: Topic, now: Now, reason: str | None = None) -> TopicStatus:
    """A topic as it stands; `reason` is told where the topic itself gives none."""
    gap = topic.gap
    return TopicStatus(
        exchange=topic.exchange,
        channel=topic.channel,
        symbol=topic.symbol,
        raw_symbol=topic.raw_symbol,
        state=topic.state,
        reason=topic.reason or reason,
        since=topic.since or None,
        age_ms=(now.mono - topic.heard) // MS_NS if topic.heard else None,
        rate=topic.pulse.rate,
        conn=topic.conn,
        gap=gap.cause if gap is not None else None,
        gap_since=gap.ts_from if gap is not None else None,
        records=topic.count,
        duplicates=topic.duplicates,
        withheld=topic.withheld if isinstance(topic, BookTopic) else 0,
        gaps_opened=topic.opened,
        gaps_closed=topic.closed,
        asked_again=topic.asked,
    )
