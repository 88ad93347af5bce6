"""The REST requests of a connection: what is asked for, once for each need, and what answers say."""

from collections.abc import Iterable

import msgspec
import pytest

from aggregator.exchange import Backfill, Request, Since, Snapshot, Stream
from aggregator.records import SECOND_NS, BookSnapshot, Channel, Gap, Record, Trade
from aggregator.sequence import Rule, contiguous, ordered
from aggregator.session.fetches import BACKFILL_NS, Fetch, Fetches
from aggregator.session.moment import Now
from aggregator.session.topics import Origin, Topic, TopicCheckpoint
from aggregator.session.trades import Numbered

NOW = Now(1_760_000_000 * SECOND_NS, 1000 * SECOND_NS)
PLACE = Origin("toy", "toy/main.1#1")


def read_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    return BookSnapshot(raw_symbol=raw_symbol, sequence=int(body), bids=[("1", "1")], asks=[])


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    return [Trade(raw_symbol=raw_symbol, price="1", size="1", sequence=n) for n in msgspec.json.decode(body)]


STREAM = Stream(
    url="wss://toy.example",
    channels={"trades": "t", "book": "b"},
    subscribe=lambda _, __: (),
    parse=lambda _: (),
    sequence={"trades": contiguous, "book": contiguous},
    snapshot=Snapshot(request=lambda s: Request(f"book/{s}"), parse=read_book),
    backfill=Backfill(lambda s, since: Request(f"trades/{s}?after={since.sequence}&from={since.ts}"), read_trades),
)
NEITHER = msgspec.structs.replace(STREAM, snapshot=None, backfill=None)


def asked(fetches: Fetches) -> list[tuple[str, str]]:
    """What is wanted since: the purpose and the address."""
    found: list[tuple[str, str]] = [(fetch.purpose, fetch.request.url) for fetch in fetches.wanted]
    fetches.wanted.clear()
    return found


def numbered(*numbers: int) -> Numbered:
    """Trades of which these have come."""
    topic = Numbered("trades", "A", None, PLACE, TopicCheckpoint(), contiguous)
    out: list[Record] = []
    for number in numbers:
        topic.accept(Trade(raw_symbol="A", price="1", size="1", sequence=number), out, NOW)
    topic.heard = NOW.mono
    return topic


def silent(channel: Channel, *, last: int | None = 7) -> Topic:
    """A topic that was heard of ten seconds ago."""
    topic = Topic(channel, "A", None, PLACE, TopicCheckpoint(last=last))
    topic.last = last
    topic.heard = NOW.mono - 10 * SECOND_NS
    return topic


def test_a_book_is_asked_for_where_the_exchange_has_it() -> None:
    fetches = Fetches(STREAM)
    fetches.want_book("A")
    fetches.want_audit("A")
    assert asked(fetches) == [("snapshot", "book/A"), ("audit", "book/A")]
    nowhere = Fetches(NEITHER)
    nowhere.want_book("A")
    nowhere.want_audit("A")
    assert asked(nowhere) == []


def test_missing_trades_are_asked_for_once_for_each_hole() -> None:
    fetches, topic = Fetches(STREAM), numbered(1, 5)
    assert topic.gap is not None
    fetches.want_missing(topic, NOW)
    fetches.want_missing(topic, NOW)
    assert asked(fetches) == [("backfill", f"trades/A?after=1&from={topic.gap.ts_from}")]
    topic.backfill(read_trades("A", b"[2,3,4]"), [], NOW)
    topic.accept(Trade(raw_symbol="A", price="1", size="1", sequence=9), [], NOW)
    fetches.want_missing(topic, NOW)
    assert [url.partition("&")[0] for _, url in asked(fetches)] == ["trades/A?after=5"]


def test_a_gap_stays_open_while_an_answer_is_awaited() -> None:
    fetches, topic = Fetches(STREAM), numbered(1, 5)
    fetches.want_missing(topic, NOW)
    out: list[Record] = []
    topic.tick(out, Now(NOW.wall, NOW.mono + BACKFILL_NS - 1))
    assert out == []
    topic.tick(out, Now(NOW.wall, NOW.mono + BACKFILL_NS))
    assert [record.phase for record in out if isinstance(record, Gap)] == ["close"]


def test_nothing_is_asked_for_where_nothing_is_missing_or_nobody_answers() -> None:
    fetches, nowhere = Fetches(STREAM), Fetches(NEITHER)
    fetches.want_missing(numbered(1, 2), NOW)
    nowhere.want_missing(numbered(1, 5), NOW)
    assert asked(fetches) == asked(nowhere) == []


def test_of_a_silent_topic_it_is_asked_what_came_after_its_last_record() -> None:
    fetches = Fetches(STREAM)
    assert fetches.probe(silent("trades"), NOW)
    assert fetches.probe(silent("book"), NOW)
    heard = NOW.wall - 10 * SECOND_NS
    assert asked(fetches) == [("probe", f"trades/A?after=7&from={heard}"), ("probe", "book/A")]


@pytest.mark.parametrize("channel", ["trades", "book"])
def test_what_has_no_number_or_no_address_cannot_be_asked_about(channel: Channel) -> None:
    assert not Fetches(STREAM).probe(silent(channel, last=None), NOW)
    assert not Fetches(STREAM).probe(silent("ticker"), NOW)
    assert not Fetches(NEITHER).probe(silent(channel), NOW)


@pytest.mark.parametrize(("rule", "sure"), [(contiguous, True), (ordered, False)])
def test_only_a_book_whose_numbers_show_every_hole_is_compared(rule: Rule, sure: bool) -> None:
    fetches = Fetches(msgspec.structs.replace(STREAM, sequence={"book": rule}))
    assert fetches.can_audit is sure
    assert fetches.probe(silent("book"), NOW) is sure


def test_the_newest_number_of_an_answer() -> None:
    fetches = Fetches(STREAM)
    book = Fetch("probe", "book", "A", Request("book/A"))
    trades = Fetch("probe", "trades", "A", Request("trades/A"))
    assert fetches.newest(book, b"12") == 12
    assert fetches.newest(trades, b"[3,9,4]") == 9
    assert fetches.newest(trades, b"[]") is None


def test_since_is_what_a_connector_is_given() -> None:
    """A number before the first that is missing, and a time before it."""
    seen: list[Since] = []

    def request(_: str, since: Since) -> Request:
        seen.append(since)
        return Request("trades")

    stream = msgspec.structs.replace(STREAM, backfill=Backfill(request, read_trades))
    Fetches(stream).want_missing(numbered(1, 5), NOW)
    assert [since.sequence for since in seen] == [1]
