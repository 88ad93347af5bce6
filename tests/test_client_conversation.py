"""The conversation of a client with feeds that are cut: lines go in, and what is asked and given comes out."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from aggregator.client.conversation import Conversation
from aggregator.client.errors import FeedError, LockedOut
from aggregator.client.options import StreamPosition, SubscriptionOptions, beginning, subscription
from aggregator.feed.protocol import Unsubscribe
from aggregator.records import Gap, Health, Record

Row = dict[str, Any]
A = {"exchange": "alpha", "symbol": "A/USD", "raw_symbol": "A"}
B = {"exchange": "alpha", "symbol": "B/USD", "raw_symbol": "B"}
ONE, TWO = "20260101T000000.000000Z", "20260102T000000.000000Z"


class Talk:
    """A client that reconnects, and the far end, which says what a test has it say."""

    def __init__(self) -> None:
        self.talk = Conversation(resumes=True)
        self.asked: list[Row] = []
        self.last: Row = {}  # of what was asked
        self._taking: Iterator[list[tuple[int, bytes]]] | None = None
        self._waits: list[tuple[int, bytes]] = []

    def connect(self, epoch: str = ONE, offset: int = 0, **more: Any) -> list[Row]:
        """Begin a connection, the first or another; what the client asks then."""
        self.asked.clear()
        if self.talk.greeting is not None:
            self.talk.receive(b"")
            self.talk.lose()
        self.talk.begin(None)
        self.say({"type": "hello", "schema": 1, "epoch": epoch, "offset": offset, "version": "1", **more})
        if self.talk.has_lost:
            self._taking = self.talk.take_up()
            self._step()
        return self.new()

    def say(self, *rows: Row) -> None:
        self.talk.receive(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        self.asked += [json.loads(line) for line in self.talk.due()]
        while self._taking is not None and self.talk.are_answered(self._waits):
            self._step()

    def _step(self) -> None:
        assert self._taking is not None
        self._waits = next(self._taking, [])
        if not self._waits:
            self._taking = None
            self.asked += [json.loads(line) for line in self.talk.due()]
        self.asked += [json.loads(line) for _, line in self._waits]

    def subscribe(self, *topics: str, answer: Row | None = None, **options: Any) -> int:
        id, line = self.talk.ask(self.talk.subscription(topics, options))  # type: ignore[arg-type]
        self.asked += [json.loads(line)] if line else []
        if answer is not None:
            self.say({"type": "subscribed", "topics": topics, "matched": 1, **answer, "id": id})
        return id

    def granted(self, **more: Any) -> None:
        """Grant what was asked last but for what was taken back."""
        last = self.last
        self.say({"type": "subscribed", "topics": last["topics"], "matched": 1, "id": last["id"], **more})

    def new(self) -> list[Row]:
        """What was asked lately, without what says nothing."""
        found = [{key: value for key, value in row.items() if value is not None} for row in self.asked]
        self.last = found[-1] if found else self.last
        self.asked.clear()
        return found

    def taken(self) -> list[Record]:
        found = []
        while self.talk.has_line:
            found.append(self.talk.take_record()[0])
        return found


def trade(offset: int) -> Row:
    return {"type": "trade", **A, "offset": offset, "ts_recv": 1, "price": "1", "size": "1"}


def delta(offset: int, of: Row = A) -> Row:
    return {"type": "book_delta", **of, "offset": offset, "ts_recv": 1, "bids": [["1", str(offset)]], "asks": []}


def whole(offset: int, of: Row = A) -> Row:
    return {**delta(offset, of), "type": "book_snapshot"}


def health(offset: int, of: Row = A, state: str = "live") -> Row:
    return {"type": "health", **of, "offset": offset, "ts_recv": 1, "channel": "book", "state": state}


def resuming(epoch: str, offset: int) -> Row:
    return {"type": "resuming", "epoch": epoch, "offset": offset}


def live(epoch: str, offset: int) -> Row:
    return {"type": "live", "epoch": epoch, "offset": offset, "cursor": f"at-{offset}"}


def offsets(records: list[Record]) -> list[int]:
    return [record.offset for record in records if not isinstance(record, Gap | Health)]


def test_it_goes_on_behind_the_last_record_that_came() -> None:
    far = Talk()
    far.connect(ONE, 10)
    far.subscribe("trades:*:*", answer={}, policy="conflate", time="ns")
    far.say(trade(11), trade(12))
    (asked,) = far.connect(TWO, 3)
    assert [asked] == [
        {
            "op": "subscribe",
            "id": asked["id"],
            "topics": ["trades:*:*"],
            "snapshot": False,
            "policy": "conflate",
            "time": "ns",
            "from": {"epoch": ONE, "offset": 12, "ts": None},
        }
    ]
    far.granted()
    far.say(resuming(ONE, 12), trade(13), resuming(TWO, 0), trade(1))
    assert far.talk.is_live  # as far as the reader has taken it
    assert (offsets(far.taken()), far.talk.position, far.talk.is_live) == (
        [11, 12, 13, 1],
        StreamPosition(TWO, 1),
        False,
    )
    far.say(live(TWO, 3), trade(4), {"type": "cursor", "cursor": "at-4"})
    closed, last = far.taken()
    assert isinstance(closed, Gap)
    assert (closed.phase, closed.repair, closed.recovered, closed.offset) == ("close", "full", 2, 3)
    assert (far.talk.is_live, last.offset, far.talk.position, far.talk.cursor) == (
        True,
        4,
        StreamPosition(TWO, 4),
        "at-4",
    )
    assert far.connect(TWO, 9)[0]["from"] == "at-4"  # nothing came behind it


def test_a_break_within_what_was_missed_goes_on_there_and_stays_one_gap() -> None:
    far = Talk()
    far.connect(ONE, 10)
    far.subscribe("trades:*:*", answer={})
    far.say(trade(11))
    for offset in (12, 13, 14):
        far.connect(TWO)
        far.granted()
        far.say(resuming(ONE, offset - 1), trade(offset))
    assert far.connect(TWO)[0]["from"]["offset"] == 14
    far.granted()
    far.say(resuming(ONE, 14), live(TWO, 0))
    records = far.taken()
    assert offsets(records) == [11, 12, 13, 14]
    assert [(gap.phase, gap.gap_id, gap.recovered) for gap in records if isinstance(gap, Gap)] == [
        ("open", "client/1", None),
        ("close", "client/1", 3),
    ]


def test_a_break_before_the_answer_loses_no_place() -> None:
    far = Talk()
    far.connect(ONE, 10)
    far.subscribe("trades:*:*", answer={})
    far.say(trade(11))
    for _ in range(3):
        assert far.connect(TWO, 500)[0]["from"]["offset"] == 11
    far.granted()
    assert far.connect(TWO, 500)[0]["from"]["offset"] == 11  # the feed has not begun yet


def test_a_feed_that_cannot_go_on_begins_anew() -> None:
    far = Talk()
    far.connect(ONE, 10)
    far.subscribe("trades:*:*", answer={})
    far.subscribe("book:*:*", answer={}, snapshot=False)
    far.say(trade(11))
    far.connect(TWO, 500)
    far.say({"type": "error", "error": "no journal", "id": far.last["id"]})
    asked = far.new()
    assert [(row["topics"], row["snapshot"], "from" in row) for row in asked] == [
        (["trades:*:*"], True, False),
        (["book:*:*"], False, False),
    ]
    for row in asked:
        far.say({"type": "subscribed", "topics": row["topics"], "matched": 0, "id": row["id"]})
    far.say(trade(501))
    assert far.talk.why_anew == "no journal"
    opened, closed, last = far.taken()[1:]
    assert far.talk.is_live
    assert isinstance(opened, Gap)
    assert isinstance(closed, Gap)
    assert (opened.offset, closed.offset, closed.repair, last.offset) == (11, 500, "none", 501)
    assert far.talk.position == StreamPosition(TWO, 501)


def test_another_daemon_is_not_asked_for_what_it_does_not_have() -> None:
    far = Talk()
    far.connect(ONE, 10, daemon="tokyo")
    far.subscribe("trades:*:*", answer={})
    assert ["from" in row for row in far.connect(TWO, 5, daemon="osaka")] == [False]
    far.granted()
    assert far.talk.why_anew == "it is another daemon"
    assert [gap.repair for gap in far.taken() if isinstance(gap, Gap)] == [None, "none"]
    assert ["from" in row for row in far.connect(TWO, 9, daemon="osaka")] == [True]


def test_a_second_break_while_it_begins_anew_is_no_full_repair() -> None:
    far = Talk()
    far.connect(ONE, 10)
    far.subscribe("book:*:*", answer={})
    far.say(whole(10))
    far.connect(TWO, 500)
    far.say({"type": "error", "error": "no journal", "id": far.last["id"]})
    assert far.connect(TWO, 600)[0]["from"]["offset"] == 10
    far.granted()
    far.say(resuming(ONE, 10), delta(11), live(TWO, 600))
    assert [row["topics"] for row in far.new()] == [["book:alpha:A"]] * 2
    records = far.taken()
    assert offsets(records) == [10]
    assert [gap.repair for gap in records if isinstance(gap, Gap)] == [None, "partial"]


def test_a_hole_of_the_journal_makes_the_repair_partial() -> None:
    far = Talk()
    far.connect(ONE, 10)
    far.subscribe("trades:*:*", answer={})
    far.connect(TWO)
    far.granted()
    hole: Row = {
        "type": "gap",
        "exchange": "",
        "conn": "journal",
        "phase": "close",
        "cause": "restart",
        "repair": "none",
    }
    hole |= {"gap_id": f"journal:{ONE}:10-{TWO}:0", "ts_from": 1, "ts_recv": 1, "offset": 0}
    far.say(resuming(ONE, 10), resuming(TWO, 0), hole, live(TWO, 0))
    assert [gap.repair for gap in far.taken() if isinstance(gap, Gap)] == [None, "none", "partial"]


def test_what_is_computed_is_had_again_once_the_feed_is_live() -> None:
    far = Talk()
    far.connect(ONE, 10)
    far.subscribe("trades:*:*", answer={})
    far.subscribe("book:alpha:A", answer={"topics": ["book.5:alpha:A"]}, depth=5)
    assert far.connect(ONE, 20)[0]["topics"] == ["trades:*:*"]
    far.granted()
    far.say(resuming(ONE, 10))
    assert far.new() == []
    far.say(live(ONE, 20))
    assert [row["topics"] for row in far.new()] == [["book.5:alpha:A"]]
    assert [gap.repair for gap in far.taken() if isinstance(gap, Gap)] == [None, "partial"]
    with pytest.raises(LockedOut, match="refuses now: not allowed"):
        far.say({"type": "error", "error": "not allowed", "id": far.last["id"]})


def test_what_is_asked_while_the_past_is_told_waits() -> None:
    far = Talk()
    far.connect(ONE, 10)
    far.subscribe("trades:*:*", answer={}, start="earliest")
    far.new()
    far.say(resuming(ONE, 0))
    id = far.subscribe("ticker:*:*")
    assert far.new() == []
    far.say(live(ONE, 10))
    assert [row["topics"] for row in far.new()] == [["ticker:*:*"]]
    assert not far.talk.is_answered(id)
    far.granted()
    assert far.talk.is_answered(id)


def test_who_leaves_everything_while_the_past_is_told_waits_for_its_end_no_longer() -> None:
    far = Talk()
    far.connect(ONE, 10)
    far.subscribe("trades:*:*", answer={})
    far.connect(ONE, 20)
    far.granted()
    far.say(resuming(ONE, 10), trade(11))
    id, _ = far.talk.ask(Unsubscribe(["trades:*:*"]))  # of some topics: it waits for the end
    assert far.new() == []
    id, line = far.talk.ask(Unsubscribe())
    assert json.loads(line)["op"] == "unsubscribe"
    far.subscribe("ticker:*:*")
    assert far.new() == []
    far.say({"type": "unsubscribed", "topics": ["trades:*:*"], "id": id})
    assert [row["op"] for row in far.new()] == ["unsubscribe", "subscribe"]
    assert [gap.repair for gap in far.taken() if isinstance(gap, Gap)] == [None, "none"]
    assert far.talk.is_live


def test_a_reader_that_begins_in_the_past_begins_there_even_if_the_answer_is_cut() -> None:
    far = Talk()
    far.connect(ONE, 10)
    far.subscribe("book:*:*", answer={}, start="earliest")
    assert [(row["from"], row["snapshot"]) for row in far.connect(ONE, 12)] == [("earliest", True)]
    far.granted()
    far.say(resuming(ONE, 0), whole(1), delta(2))
    (row,) = far.connect(ONE, 12)
    assert (row["from"]["offset"], row["snapshot"]) == (2, False)


def test_changes_of_a_book_that_never_came_whole_are_withheld_until_it_does() -> None:
    """Connections are cut between the answer and the whole book, and within the past where a book had not begun."""
    for start in (None, "earliest"):
        far = Talk()
        far.connect(ONE, 10)
        far.subscribe("book:*:*", answer={}, start=start)
        if start is None:
            far.say(health(10, A), health(10, B), whole(10, B))
        else:
            far.say(resuming(ONE, 9), whole(10, B))
        far.connect(ONE, 20)
        far.granted()
        far.say(resuming(ONE, 10), delta(11, A), delta(12, B), live(ONE, 12))
        asked = far.new()
        assert [(row["op"], row["topics"]) for row in asked] == [
            ("subscribe", ["book:alpha:A"]),
            ("unsubscribe", ["book:alpha:A"]),
        ]
        far.say(delta(13, A), delta(14, B), whole(14, A), delta(15, A))
        assert offsets(far.taken()) == [10, 12, 14, 14, 15]
        assert far.new() == []


def test_behind_a_lag_and_a_cut_only_books_that_were_heard_of_since_go_on() -> None:
    far = Talk()
    far.connect(ONE, 10)
    far.subscribe("book:*:*", answer={})
    far.say(whole(10, A), whole(10, B))
    lag = {"type": "lag", "exchange": "", "offset": 90, "ts_recv": 1, "missed": 3, "offset_from": 11, "offset_to": 13}
    far.say(lag, delta(14, B))
    assert far.connect(ONE, 20)[0]["from"]["offset"] == 14  # not where the lag was told
    far.granted()
    far.say(resuming(ONE, 14), delta(15, A), delta(16, B), live(ONE, 16))
    assert [row["topics"] for row in far.new()] == [["book:alpha:A"]] * 2
    assert offsets(far.taken()) == [10, 10, 90, 14, 16]


def test_the_readers_own_name_of_a_book_is_not_taken_back() -> None:
    far = Talk()
    far.connect(ONE, 10)
    far.subscribe("book:alpha:A", answer={})
    far.say(health(10))
    far.connect(ONE, 20)
    far.granted()
    far.say(resuming(ONE, 10), live(ONE, 20))
    assert [row["op"] for row in far.new()] == ["subscribe"]


def test_what_cannot_be_had_any_more_is_told_once() -> None:
    far = Talk()
    far.connect(ONE, 10)
    topics = ("trades:alpha:A", "trades:alpha:B")
    gone = {"topic": topics[0], "reason": "alpha lists no 'A'"}
    other = {"topic": topics[1], "reason": "alpha has closed"}
    far.subscribe(*topics, answer={"absent": [gone]})
    for expected in ([("alpha", "B", "trades", "down", "alpha has closed")], []):
        far.connect(ONE, 10)
        far.granted(absent=[gone, other])
        far.say(resuming(ONE, 10), live(ONE, 10))
        told = [record for record in far.taken() if isinstance(record, Health)]
        assert [(h.exchange, h.symbol, h.channel, h.state, h.reason) for h in told] == expected


def test_a_kept_book_goes_on_and_is_in_doubt_while_the_past_is_told() -> None:
    far = Talk()
    far.connect(ONE, 10)
    book = far.talk.keep("alpha:A/USD")
    far.subscribe("book:alpha:A/USD", answer={})
    far.say(whole(10), delta(11))
    far.taken()
    assert book.is_whole
    far.connect(ONE, 20)
    far.taken()
    assert book.doubt == "a gap is open: disconnect"
    far.granted()
    far.say(resuming(ONE, 11), delta(12), health(12))
    far.taken()
    assert (book.doubt, book.bids()) == ("a gap is open: disconnect", [("1", "12")])
    far.say(live(ONE, 12), health(12, state="stalled"))
    far.taken()
    assert book.doubt == "stalled"
    far.say(health(12))
    far.taken()
    assert (book.is_whole, book.bids()) == (True, [("1", "12")])


def test_a_kept_book_starts_anew_behind_a_hole_of_the_journal() -> None:
    far = Talk()
    far.connect(ONE, 10)
    book = far.talk.keep("alpha:A")
    far.subscribe("book:alpha:A", answer={})
    far.say(whole(10))
    far.connect(ONE, 20)
    far.granted()
    hole: Row = {
        "type": "gap",
        "exchange": "",
        "conn": "journal",
        "phase": "close",
        "cause": "expired",
        "repair": "none",
    }
    hole |= {"gap_id": f"journal:{ONE}:10-15", "ts_from": 1, "ts_recv": 1, "offset": 15}
    far.say(resuming(ONE, 10), hole, live(ONE, 15))
    far.taken()
    assert book.doubt == "records are missing: expired"
    far.say(whole(16))
    far.taken()
    assert book.is_whole


def test_who_reconnects_without_resuming_asks_for_nothing_of_the_past() -> None:
    far = Talk()
    far.talk = Conversation()
    far.connect(ONE, 10)
    far.subscribe("trades:*:*", answer={})
    assert ["from" in row for row in far.connect(ONE, 20)] == [False]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("earliest", "earliest"),
        ("now", "now"),
        ("kwG7Mj", "kwG7Mj"),
        ((ONE, 7), {"epoch": ONE, "offset": 7}),
        (StreamPosition(ONE, 0), {"epoch": ONE, "offset": 0}),
        (1_767_323_045_000_000_001, {"ts": 1_767_323_045_000_000_001}),
        (datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC), {"ts": 1_767_323_045_678_901_000}),
        (datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1))), {"ts": 1_767_323_045_000_000_000}),
    ],
)
def test_where_to_begin_may_be_said_in_several_ways(given: Any, said: object) -> None:
    assert beginning(given) == said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": ""}, "start='': write a cursor, "),
        ({"start": True}, "start=True: write a cursor, "),
        ({"start": 1.5}, "start=1.5: write a cursor, "),
        ({"start": (ONE, -1)}, "write a cursor, "),
        ({"start": (ONE,)}, "write a cursor, "),
        ({"start": 1_767_323_045}, "start=1767323045: a time in nanoseconds since 1970 has 19 digits"),
        ({"start": datetime(2026, 1, 2)}, "a time without its time zone"),  # noqa: DTZ001 - it is refused
        ({"start": "now", "depth": 5}, "what is computed is not kept: leave start or depth out"),
        ({"start": "now", "interval_ms": 100}, "leave start or interval_ms out"),
        ({"policy": "newest"}, "policy='newest': there are drop_oldest, conflate, disconnect, lossless"),
        ({"numbers": "decimal"}, "numbers='decimal': there are text, float"),
        ({"time": "s"}, "time='s': there are ns, us, ms, iso"),
        ({"fields": "price"}, "write a list of names"),
        ({"depth": "5"}, r"no subscription: Expected `int \| null`, got `str` - at `\$.depth`"),
    ],
)
def test_what_no_feed_would_do_is_refused_before_it_is_asked(options: SubscriptionOptions, said: str) -> None:
    with pytest.raises(FeedError, match=said):
        subscription(["trades:*:*"], options)


def test_what_does_not_go_with_the_connection_is_refused_before_it_is_asked() -> None:
    far = Talk()
    far.connect()
    with pytest.raises(FeedError, match="with reconnect fields need offset"):
        far.subscribe("trades:*:*", fields=["price"])
    far.subscribe("trades:*:*", answer={}, fields=[])
    with pytest.raises(FeedError, match="start is for the first topics of a connection"):
        far.subscribe("ticker:*:*", start="now")
