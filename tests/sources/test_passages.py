"""The lines of another daemon's feed, sorted: no socket has a part in it."""

import msgspec
import pytest

from aggregator.bus.history import Cursor
from aggregator.client.conversation import Conversation
from aggregator.client.errors import NoFeed
from aggregator.feed.protocol import Hello, Live, Reached, Resuming, Subscribed
from aggregator.records import BookSnapshot, Gap, Health, Instrument, Lag, Record, Trade
from aggregator.sources.passages import Passages
from aggregator.sources.source import LinkBroken, Passage

OLD, NEW = "20260101T000000.000000Z", "20260102T000000.000000Z"
NAMES = {"exchange": "alpha", "symbol": "BTC/USDT", "raw_symbol": "BTCUSDT", "source": "ws", "conn": "alpha/main.1#1"}


def trade(offset: int) -> Trade:
    return Trade(**NAMES, price="1.50", size="2", ts_recv=offset, offset=offset)  # type: ignore[arg-type]


def health(offset: int) -> Health:
    return Health(**NAMES, channel="trades", state="live", offset=offset)  # type: ignore[arg-type]


def hole(cause: str = "expired") -> Gap:
    """A gap as a journal tells it."""
    gap = Gap(symbol=None, gap_id="journal:1", phase="close", cause="expired", ts_from=1, ts_to=2, offset=0)
    gap.exchange, gap.conn, gap.source, gap.cause = "", "journal", "derived", cause  # type: ignore[assignment]
    return gap


def sort(*said: object, behind: Cursor | None = None) -> list[Passage]:
    """The passages that the lines of a feed make, behind its greeting; bytes are lines as they are."""
    passages = Passages()
    talk = Conversation(on_notice=passages.note)
    talk.begin(None)
    lines = [each if isinstance(each, bytes) else msgspec.json.encode(each) for each in (Hello(1, NEW, 10, "1"), *said)]
    talk.receive(b"".join(line + b"\n" for line in lines))
    passages.begin(behind or Cursor(NEW, 10))
    return passages.take(talk)


def offsets(records: list[Record]) -> list[int]:
    return [record.offset for record in records]


def test_records_are_published_as_long_as_their_offsets_grow() -> None:
    (found,) = sort(trade(11), trade(14), Reached("opaque"))
    assert offsets(found.records) == [11, 14]
    assert found.cursor == Cursor(NEW, 14)
    assert (found.standing, found.gap, found.is_live) == ([], None, False)


def test_what_stands_there_was_not_published() -> None:
    book = BookSnapshot(**NAMES, bids=[("1", "2")], asks=[], offset=12, reason="request")  # type: ignore[arg-type]
    instrument = Instrument(exchange="alpha", symbol="BTC/USDT", raw_symbol="BTCUSDT", source="rest")
    one, other = sort(trade(12), health(12), book, instrument, trade(13))
    assert offsets(one.records) == [12]
    assert [type(each) for each in one.standing] == [Health, BookSnapshot, Instrument]
    assert one.cursor == Cursor(NEW, 12)
    assert (offsets(other.records), other.standing) == ([13], [])


def test_a_record_that_is_told_again_is_taken_once() -> None:
    assert sort(trade(9), trade(10)) == []


def test_the_past_goes_on_in_the_next_life_of_the_daemon() -> None:
    told = (Subscribed(["*:*:*"], 1), Resuming(OLD, 900, 1), trade(901), Resuming(NEW, 0), trade(1), Live(NEW, 1, "x"))
    one, other = sort(*told, behind=Cursor(OLD, 900))
    assert (one.cursor, offsets(one.records)) == (Cursor(OLD, 901), [901])
    assert (other.cursor, offsets(other.records), other.is_live) == (Cursor(NEW, 1), [1], True)


def test_all_is_told_though_nothing_of_it_was_wanted() -> None:
    (found,) = sort(Resuming(NEW, 10, 1), Live(NEW, 500, "x"))
    assert (found.cursor, found.is_live, found.records) == (Cursor(NEW, 500), True, [])


def test_a_hole_of_the_journal_comes_before_what_follows_it() -> None:
    one, other = sort(trade(11), hole(), trade(31))
    assert (offsets(one.records), one.gap) == ([11], None)
    assert other.gap is not None
    assert (other.gap.cause, offsets(other.records)) == ("expired", [31])


def test_a_gap_of_a_topic_is_a_record_as_others_are() -> None:
    gap = Gap(**NAMES, gap_id="1", phase="open", channel="trades", cause="stalled", ts_from=1, offset=11)  # type: ignore[arg-type]
    (found,) = sort(gap)
    assert (found.gap, offsets(found.records)) == (None, [11])


def test_who_was_too_slow_has_lost_something() -> None:
    lag = Lag(symbol=None, missed=5, offset_from=11, offset_to=15, offset=15, ts_recv=7, source="derived")
    (found,) = sort(lag, trade(15), trade(16))
    assert found.gap is not None
    assert (found.gap.cause, found.gap.missed, offsets(found.records)) == ("overflow", 5, [16])


def test_a_record_of_a_later_version_is_known_to_be_missing() -> None:
    later = {"type": "novelty", "exchange": "alpha", "symbol": "BTC/USDT", "raw_symbol": None, "offset": 11}
    other = {
        "type": "gap",
        "exchange": "alpha",
        "symbol": None,
        "raw_symbol": None,
        "offset": 13,
        "cause": "unheard of",
    }
    (found,) = sort(later, {"type": "message of a later version"}, trade(12), other)
    assert [(each.exchange, each.symbol, each.offset) for each in found.unread] == [
        ("alpha", "BTC/USDT", 11),
        ("alpha", None, 13),
    ]
    assert found.cursor == Cursor(NEW, 13)


@pytest.mark.parametrize("line", [b"HTTP/1.1 400 Bad Request", b'"text"', b"[1]", b"\xff", b'{"type":7}', b"[" * 9999])
def test_what_is_no_feed_is_no_feed(line: bytes) -> None:
    with pytest.raises(NoFeed, match="does not speak as the feed does"):
        sort(line)


@pytest.mark.parametrize(
    "line", [b'{"type":"trade","exchange":7}', b'{"type":"subscribed","topics":7}', b'{"type":"live"}']
)
def test_a_message_that_is_not_what_it_should_be_is_refused(line: bytes) -> None:
    with pytest.raises((NoFeed, LinkBroken), match="feed"):
        sort(line)
