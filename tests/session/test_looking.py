"""Which topics a tick looks at: those to which something has happened, and those that time alone makes due."""

import gc
import json
from collections.abc import Iterable, Sequence
from types import FrameType

import pytest

from aggregator.exchange import Accepted, Event, Stream, Subscription
from aggregator.records import SECOND_NS, Health, Record, Ticker
from aggregator.session.moment import NEVER_NS, Now
from aggregator.session.requested import Asked, RequestQueue
from aggregator.session.session import Session
from aggregator.session.table import TopicTable
from aggregator.session.topics import Topic

NAMES = tuple(f"M{number}" for number in range(120))


def parse(frame: bytes) -> Iterable[Event]:
    said = json.loads(frame)
    if said is None:  # a heartbeat
        return ()
    return (Accepted(id=said),) if isinstance(said, int) else (Ticker(raw_symbol=said, last="1"),)


def subscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    yield json.dumps([id, *(s.raw_symbol for s in wanted)]).encode()


def unsubscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    yield json.dumps([-id, *(s.raw_symbol for s in wanted)]).encode()


STREAM = Stream(
    url="wss://toy.example",
    channels={"ticker": "t"},
    subscribe=subscribe,
    unsubscribe=unsubscribe,
    parse=parse,
    batch=50,
    patience=1e9,
)


class Talk:
    """A session of many topics, and the time, second by second."""

    def __init__(self, most: int | None = None) -> None:
        wanted = [Subscription("ticker", name) for name in NAMES]
        self.session = Session("toy", STREAM, conn="c", instruments={}, subscriptions=wanted)
        self.second = 100
        self.asked: list[list[object]] = []
        self.turns: list[int] = []  # how many calls each tick took
        self._most = most
        self.records: list[Record] = self.session.open(self.now)
        self._answer()

    @property
    def now(self) -> Now:
        return Now(self.second * SECOND_NS, self.second * SECOND_NS)

    def say(self, *said: object) -> None:
        self.records += self.session.receive([json.dumps(one).encode() for one in said], self.now)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.second += 1
            self.turns.append(1)
            self.records += self.session.tick(self.now, self._most)
            while self.session.is_looking:
                self.turns[-1] += 1
                self.records += self.session.tick(self.now, self._most)
            self._answer()

    def _answer(self) -> None:
        while self.session.outbox:
            frame = self.session.outbox.popleft()
            self.session.sent(frame, self.now)
            self.asked.append(json.loads(frame))
            if self.asked[-1][0] > 0:  # type: ignore[operator]
                self.say(self.asked[-1][0])

    def told(self, name: str) -> list[tuple[str, str | None]]:
        return [(r.state, r.reason) for r in self.records if isinstance(r, Health) and r.raw_symbol == name]


def test_what_is_dead_at_one_tick_is_asked_for_again_together() -> None:
    talk = Talk()
    talk.asked.clear()
    talk.wait(11)
    assert [(one[0] > 0, len(one) - 1) for one in talk.asked] == [  # type: ignore[operator]
        (False, 50), (True, 50), (False, 50), (True, 50), (False, 20), (True, 20),
    ]  # fmt: skip


def test_how_often_a_dead_topic_was_asked_for_is_told_ever_more_rarely() -> None:
    talk = Talk()
    talk.wait(24 * 3600)
    told = talk.told("M0")
    assert [reason for state, reason in told if state == "stalled"] == [
        "nothing has come since the subscription",
        "a new connection is tried",
        *(f"asked for again ({times})" for times in (8, 16, 32, 64, 128)),
    ]
    topic = talk.session.topics.get("ticker", "M0")
    assert topic is not None
    assert topic.asked == 148


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_a_tick_in_parts_tells_what_a_whole_one_does(most: int) -> None:
    whole, parts = Talk(), Talk(most)
    for talk in (whole, parts):
        talk.say("M3", "M5", "M3")
        talk.wait(3)
        talk.say("M3")
        talk.wait(40)
        talk.say("M5", "M7")
        talk.wait(700)
    assert parts.records == whole.records
    assert parts.asked == whole.asked
    assert max(parts.turns) == max(1, len(NAMES) // most + (len(NAMES) % most > 0))


def test_a_topic_that_is_removed_within_a_tick_is_not_looked_at_any_more() -> None:
    talk = Talk(1)
    talk.second += 11
    talk.session.tick(talk.now, 1)
    gone = [Subscription("ticker", name) for name in NAMES]
    talk.session.unsubscribe(gone, talk.now)
    assert talk.session.is_looking
    assert [r for r in talk.session.tick(talk.now) if isinstance(r, Health)] == []


def test_only_topics_that_something_happens_to_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk()
    talk.say(*NAMES)
    talk.wait(20)
    assert {topic.state for topic in talk.session.topics} == {"quiet"}
    looked: list[str | None] = []
    learn = Topic.learn

    def noted(topic: Topic) -> None:
        looked.append(topic.raw_symbol)
        learn(topic)

    monkeypatch.setattr(Topic, "learn", noted)
    talk.wait(30)
    assert len(looked) <= 2 * len(NAMES), "each is due once or twice in half a minute"
    looked.clear()
    talk.say("M9")
    talk.wait(2)
    assert set(looked) == {"M9"}
    assert talk.told("M9")[-1][0] == "live"


def test_heartbeats_have_no_topic_compared_and_any_record_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk()
    talk.wait(2)
    compared: list[int] = []
    fresh = TopicTable.fresh

    def noted(table: TopicTable) -> list[Topic]:
        compared.append(talk.second)
        return fresh(table)

    monkeypatch.setattr(TopicTable, "fresh", noted)
    for _ in range(5):
        talk.say(None)
        talk.wait(1)
    assert compared == []
    reads: list[tuple[object, ...]] = [("M3",), ("M4", {}), ({}, "M5"), ("M6", "none of ours", None)]
    for said in reads:  # nothing can be made of {}
        talk.say(*said)
        talk.wait(1)
        assert compared[-1] == talk.second
        talk.say(None)
        talk.wait(1)
    assert {topic.raw_symbol for topic in talk.session.topics if topic.pulse.count} == {"M3", "M4", "M5", "M6"}


def test_no_object_for_the_collector_says_when_a_topic_is_due() -> None:
    talk = Talk()
    talk.wait(1300)
    topic = talk.session.topics.get("ticker", "M0")
    assert topic is not None
    assert topic.due < NEVER_NS
    assert {type(holder) for holder in gc.get_referrers(topic)} <= {dict, FrameType}


def test_a_topic_that_was_removed_has_left_nothing_of_when_it_was_due_to_another() -> None:
    talk = Talk()
    talk.wait(30)
    again = [Subscription("ticker", "M0")]
    talk.session.unsubscribe(again, talk.now)
    talk.session.subscribe(again, talk.now)
    talk._answer()
    talk.asked.clear()
    talk.wait(9)
    assert not [one for one in talk.asked if "M0" in one], "it has ten seconds of its own"
    talk.wait(2)
    assert [one[0] > 0 for one in talk.asked if "M0" in one] == [False, True]  # type: ignore[operator]


def test_topics_of_a_connection_that_is_over_are_free_without_the_collector() -> None:
    talk = Talk()
    talk.session.topics.known("ticker", "M0", talk.now).place.conn = "over"
    talk.say(*NAMES)
    talk.wait(15)
    talk.session.close("disconnect", talk.now)
    gc.disable()
    try:
        del talk
        # the class is asked of the type: to ask a proxy whose object is gone would fail
        assert not [o for o in gc.get_objects() if issubclass(type(o), Topic) and o.conn == "over"]
    finally:
        gc.enable()


# --- the queue of requests


A, B, C = (Subscription("ticker", name) for name in "ABC")


def test_a_queue_knows_what_it_names() -> None:
    queue = RequestQueue()
    queue.append(Asked(1, [A, B]))
    queue.append(Asked(2, [A], leave=9))
    assert [queue.names(s) for s in (A, B, C)] == [True, True, False]
    assert [queue.leaves(s) for s in (A, B, C)] == [True, False, False]
    assert [queue.asks_first(s) for s in (A, B, C)] == [True, True, False]
    assert queue.popleft().id == 1
    assert [queue.names(s) for s in (A, B)] == [True, False]
    assert not queue.asks_first(A)
    queue.popleft()
    assert not any(map(queue.names, (A, B, C)))
    assert not queue.leaves(A)
    assert not queue


def test_what_goes_in_front_comes_in_its_own_order() -> None:
    queue = RequestQueue()
    queue.append(Asked(1, [A]))
    queue.appendleft(Asked(2, [B]), Asked(3, [C]))
    assert [queue.popleft().id for _ in range(3)] == [2, 3, 1]


def test_what_nobody_wants_is_named_no_more() -> None:
    queue = RequestQueue()
    queue.append(Asked(1, [A, B], leave=8))
    queue.append(Asked(2, [B]))
    queue.drop({B})
    assert [one.topics for one in (queue.popleft(), queue.popleft())] == [[A], []]
    assert not queue.names(B)
