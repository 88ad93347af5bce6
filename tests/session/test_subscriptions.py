"""What is asked for on one connection, and what an exchange's answers make of it."""

import json
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import structs

from aggregator.exchange import Accepted, Meaning, Refused, Stream, Subscription
from aggregator.session.moment import Now
from aggregator.session.refused import Memory
from aggregator.session.session import Session
from aggregator.session.subscriptions import Ask, Subscriptions

SECOND = 1_000_000_000


def frames(op: str) -> object:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield json.dumps([op, id, *(s.raw_symbol for s in wanted)]).encode()

    return ask


def whole_channel(_: Sequence[Subscription], __: int) -> Iterable[bytes]:
    yield b'["all"]'


STREAM = Stream(
    url="wss://toy.example",
    channels={"trades": "t"},
    subscribe=frames("+"),  # type: ignore[arg-type]
    unsubscribe=frames("-"),  # type: ignore[arg-type]
    parse=lambda _: (),
    batch=8,
)


class Talk:
    """Subscriptions and their outbox."""

    def __init__(self, memory: Memory | None = None, **changes: object) -> None:
        self.outbox: deque[bytes] = deque()
        self.now = 0
        self.topics = Subscriptions(structs.replace(STREAM, **changes), self.outbox, memory)

    def want(self, *names: str) -> None:
        self.topics.subscribe([Subscription("trades", name) for name in names], self.now)

    def leave(self, *names: str) -> None:
        self.topics.unsubscribe([Subscription("trades", name) for name in names], self.now)

    def said(self) -> list[str]:
        """What has left since: `+A B` or `-A`, the number of the request left out."""
        found = []
        while self.outbox:
            frame = self.outbox.popleft()
            assert isinstance(frame, Ask)
            self.topics.sent(frame, self.now)
            op, _, *names = json.loads(frame)
            found.append(op + " ".join(names))
        return found

    def refuse(self, id: int | None = None, name: str | None = None, meaning: Meaning = "unknown") -> list[str | None]:
        channel = None if name is None else "trades"
        event = Refused("no", id=id, channel=channel, raw_symbol=name, meaning=meaning)  # type: ignore[arg-type]
        return [s.raw_symbol for s in self.topics.refused(event, self.now)]

    def wait(self, seconds: float) -> list[str | None]:
        self.now += int(seconds * SECOND)
        self.topics.overdue(self.now)
        return [raw for _, raw in self.topics.again(self.now)]


def test_what_is_wanted_anew_is_asked_for_and_what_is_not_is_left() -> None:
    talk = Talk()
    talk.want("A", "B")
    assert talk.said() == ["+A B"]
    talk.want("B", "C")
    talk.leave("A")
    assert talk.said() == ["+B C", "-A"]
    assert len(talk.topics) == 2


def test_where_the_exchange_speaks_first_nothing_is_asked_for_before() -> None:
    talk = Talk(greets=True)
    talk.want("A", "B")
    talk.leave("B")
    talk.wait(60)
    assert talk.said() == []
    assert talk.topics.is_unsent(("trades", "A"))
    talk.topics.begin(talk.now)
    assert talk.said() == ["+A"]
    talk.topics.begin(talk.now)
    assert talk.said() == []
    talk.want("C")
    assert talk.said() == ["+C"]


def test_what_was_not_asked_for_yet_is_not_left() -> None:
    talk = Talk(acknowledges=False)
    talk.want("A")
    talk.want("B")
    talk.leave("B")
    talk.wait(3)
    assert talk.said() == ["+A"]


def test_a_request_without_a_number_that_is_refused_whole_for_one_topic_is_asked_again_without_it() -> None:
    """Coinbase Exchange numbers no requests, and names the one product that it does not know (2026-11)."""
    talk = Talk()
    talk.want(*"ABX")
    talk.want(*"CD")
    assert talk.said() == ["+A B X", "+C D"]
    refused = talk.topics.refused(Refused("no", raw_symbol="X", meaning="final", whole=True), talk.now)
    assert [s.raw_symbol for s in refused] == ["X"]
    assert talk.said() == ["+A B"]
    assert talk.topics.refused(Refused("no", raw_symbol="Y", whole=True), talk.now) == []
    assert talk.said() == []


def test_a_request_that_is_refused_whole_is_asked_in_halves_until_the_culprit_is_named() -> None:
    talk = Talk()
    talk.want(*"ABCDEFGX")
    assert talk.said() == ["+A B C D E F G X"]
    assert talk.refuse(id=1) == []
    assert talk.said() == ["+A B C D", "+E F G X"]
    talk.topics.accepted(Accepted(id=2))
    talk.refuse(id=3)
    assert talk.said() == ["+E F", "+G X"]
    talk.topics.accepted(Accepted(id=4))
    talk.refuse(id=5)
    assert talk.said() == ["+G", "+X"]
    talk.topics.accepted(Accepted(id=6))
    assert talk.refuse(id=7, meaning="final") == ["X"]
    assert all(talk.topics.is_confirmed(("trades", name)) for name in "ABCDEFG")
    assert not talk.topics.is_confirmed(("trades", "X"))
    talk.want(*"HIJKLMNO")
    assert talk.said() == ["+H I J K L M N O"], "its size was not what was refused"


def test_what_was_granted_of_a_request_is_named_again_when_the_rest_of_it_is_refused() -> None:
    """DigiFinex grants a list of each word by itself, and whoever is not named in the next one is left (2026-11)."""
    talk = Talk(replaces=True)
    talk.want("A", "B", "X")
    assert talk.said() == ["+A B X"]
    talk.topics.accepted(Accepted(channel="trades", raw_symbol="A"))
    assert talk.refuse(id=1, meaning="final") == []
    said = []
    for _ in range(5):
        for frame in talk.said():
            said.append(frame)
            refused = talk.refuse(meaning="final") if "X" in frame else []
            assert refused in ([], ["X"])
        talk.wait(3)
        talk.topics.accepted(Accepted(channel="trades"))
    assert all("A" in frame for frame in said)
    assert said[-1] == "+A B"


def test_what_was_granted_is_named_again_when_the_refusal_names_another() -> None:
    talk = Talk(replaces=True)
    talk.want("A", "B", "X")
    assert talk.said() == ["+A B X"]
    talk.topics.accepted(Accepted(channel="trades", raw_symbol="A"))
    assert talk.refuse(id=1, name="X", meaning="final") == ["X"]
    assert talk.said() == ["+A B"]


def test_the_size_that_passed_is_remembered() -> None:
    memory = Memory()
    talk = Talk(memory)
    talk.want(*"ABCDEFGH")
    talk.refuse(id=1)
    talk.topics.accepted(Accepted(id=2))
    talk.topics.accepted(Accepted(id=3))
    talk.said()
    later = Talk(memory)
    later.want(*"ABCDEFGH")
    assert later.said() == ["+A B C D", "+E F G H"]


def test_a_request_refused_for_one_name_is_asked_again_without_it() -> None:
    talk = Talk()
    talk.want("A", "B", "X")
    talk.said()
    assert talk.refuse(id=1, name="X", meaning="final") == ["X"]
    assert talk.said() == ["+A B"]


def test_a_refusal_that_names_nothing_means_the_oldest_request() -> None:
    talk = Talk()
    talk.want("A")
    talk.want("B")
    talk.said()
    assert talk.refuse() == ["A"]


def test_what_is_refused_in_passing_is_asked_for_again_ever_more_slowly() -> None:
    talk = Talk()
    talk.want("A")
    talk.said()
    talk.refuse(id=1, meaning="passing")
    assert talk.wait(4) == []
    assert talk.wait(1) == ["A"]
    assert talk.said() == ["+A"]
    talk.refuse(id=2, meaning="passing")
    assert talk.wait(9) == []
    assert talk.wait(1) == ["A"]
    talk.said()
    talk.topics.accepted(Accepted(id=3))
    assert talk.topics.is_confirmed(("trades", "A"))


def test_what_there_is_no_market_of_is_asked_for_again_after_the_next_listing() -> None:
    memory = Memory()
    talk = Talk(memory)
    talk.want("A")
    talk.said()
    talk.refuse(id=1, meaning="final")
    assert talk.wait(1e6) == []
    memory.forget()
    assert talk.wait(1) == ["A"]


def test_what_was_refused_on_one_connection_is_not_asked_for_at_once_on_the_next() -> None:
    memory = Memory()
    talk = Talk(memory)
    talk.want("A")
    talk.said()
    talk.refuse(id=1, meaning="passing")
    later = Talk(memory)
    later.want("A", "B")
    assert later.said() == ["+B"]
    assert later.wait(5) == ["A"]


def test_the_time_for_an_answer_begins_when_the_request_has_left() -> None:
    talk = Talk()
    talk.want("A")
    talk.now += 60 * SECOND
    assert talk.topics.overdue(talk.now) == []
    talk.said()
    talk.now += 9 * SECOND
    assert talk.topics.overdue(talk.now) == []
    talk.now += 2 * SECOND
    assert talk.topics.overdue(talk.now) == [("trades", "A")]
    assert talk.topics.overdue(talk.now) == []


def test_where_a_request_replaces_all_before_it_each_names_all() -> None:
    talk = Talk(replaces=True, acknowledges=False, unsubscribe=None)
    talk.want("A", "B")
    assert talk.said() == ["+A B"]
    talk.wait(3)
    talk.want("C")
    assert talk.said() == ["+A B C"]
    talk.wait(3)
    talk.leave("B")
    assert talk.said() == ["+A C"]


def test_where_a_refused_request_has_ended_all_they_are_named_again_at_once() -> None:
    talk = Talk(replaces=True, acknowledges=False, unsubscribe=None)
    talk.want("A", "B")
    talk.said()
    talk.wait(3)
    talk.want("X")
    assert talk.said() == ["+A B X"]
    assert talk.refuse(meaning="final") == ["X"]
    assert talk.said() == ["+A B"]


def test_a_confirmed_topic_that_is_refused_later_is_found() -> None:
    talk = Talk(replaces=True, acknowledges=False, unsubscribe=None)
    talk.want(*"ABCD")
    talk.said()
    talk.wait(3)
    talk.want("E")
    refused: list[str | None] = []
    for _ in range(20):
        for said in talk.said():
            if "B" in said:  # it is no market any more
                refused += talk.refuse(meaning="final")
        talk.wait(3)
    assert "B" in refused
    assert all(talk.topics.is_confirmed(("trades", name)) for name in "ACD")


def test_one_request_for_a_whole_channel_is_made_and_left_once() -> None:
    talk = Talk(subscribe=whole_channel, unsubscribe=whole_channel)
    talk.topics.subscribe([Subscription("trades", "A")], 0)
    (ask,) = talk.outbox
    assert isinstance(ask, Ask)
    talk.topics.sent(ask, 0)
    talk.topics.accepted(Accepted(id=1))
    talk.outbox.clear()
    asked, coming = talk.topics.subscribe([Subscription("trades", "B")], 0)
    assert (asked, coming) == ([], [("trades", "B")])
    talk.leave("A")
    assert not talk.outbox
    talk.leave("B")
    assert len(talk.outbox) == 1


def test_what_cannot_be_left_counts_on() -> None:
    talk = Talk(unsubscribe=None)
    talk.want("A", "B")
    talk.leave("A")
    assert len(talk.topics) == 2


def candles(name: str, interval: str) -> Subscription:
    return Subscription("candles", name, interval)


def test_each_interval_of_candles_is_answered_for_itself_though_answers_name_the_topic_alone() -> None:
    talk = Talk()
    talk.topics.subscribe([candles("A", "1m"), candles("A", "5m"), candles("B", "1m"), candles("B", "5m")], talk.now)
    assert talk.said() == ["+A B", "+A B"], "no request holds two intervals of one topic"
    accepted, refused = Accepted(channel="candles", raw_symbol="A"), Refused("no", channel="candles", raw_symbol="A")
    talk.topics.accepted(accepted)
    assert talk.topics.refused(structs.replace(refused, meaning="final"), talk.now) == [candles("A", "5m")]
    assert talk.topics.refusal(("candles", "A")) is None, "other candles of it come"
    assert not talk.topics.is_confirmed(("candles", "A"))
    assert talk.wait(7200) == []


def test_an_interval_that_is_refused_by_number_leaves_the_others_alone() -> None:
    talk = Talk()
    talk.topics.subscribe([candles("A", "1m"), candles("A", "5m")], talk.now)
    assert talk.topics.refused(Refused("no", id=1, meaning="passing"), talk.now) == [candles("A", "1m")]
    assert talk.topics.accepted(Accepted(id=2)) == [("candles", "A")]
    assert not talk.topics.is_confirmed(("candles", "A"))
    assert talk.wait(6) == ["A"], "and is asked for again by itself"
    talk.topics.accepted(Accepted(id=3))
    assert talk.topics.is_confirmed(("candles", "A"))


def test_what_one_connection_was_granted_another_that_was_refused_it_asks_for_still() -> None:
    memory = Memory()
    one, two = Talk(memory), Talk(memory)
    one.want("A")
    two.want("A")
    one.refuse(name="A", meaning="passing")
    two.topics.accepted(Accepted(channel="trades", raw_symbol="A"))
    assert not one.topics.is_confirmed(("trades", "A"))
    assert one.wait(6) == ["A"]


def test_what_two_connections_are_told_at_once_is_one_refusal() -> None:
    memory = Memory()
    one, two = Talk(memory), Talk(memory)
    one.want("A")
    two.want("A")
    one.refuse(name="A", meaning="passing")
    two.refuse(name="A", meaning="passing")
    assert one.wait(6) == ["A"]
    assert two.wait(6) == ["A"]


def test_what_cannot_be_left_takes_one_place_however_often_it_comes_and_goes() -> None:
    talk = Talk(unsubscribe=None)
    for _ in range(3):
        talk.want("A")
        assert len(talk.topics) == 1
        talk.leave("A")
        assert len(talk.topics) == 1, "it comes still"


def test_what_cannot_be_left_takes_its_place_though_it_is_refused_when_it_is_wanted_again() -> None:
    talk = Talk(unsubscribe=None)
    talk.want("A")
    talk.topics.accepted(Accepted(id=1))
    talk.leave("A")
    talk.want("A")
    talk.refuse(name="A", meaning="final")
    talk.leave("A")
    assert len(talk.topics) == 1, "it comes still"


def test_what_was_refused_and_asked_for_again_is_left_when_it_is_wanted_no_more() -> None:
    talk = Talk()
    talk.want("A")
    talk.refuse(name="A", meaning="passing")
    assert talk.said() == ["+A"]
    assert talk.wait(6) == ["A"]
    assert talk.said() == ["+A"]
    talk.leave("A")
    assert talk.said() == ["-A"], "it may be granted at this moment"


def test_a_topic_is_left_and_asked_for_again_in_one_step() -> None:
    talk = Talk()
    talk.want("A")
    talk.said()
    talk.topics.accepted(Accepted(id=1))
    talk.topics.resubscribe([Subscription("trades", "A")], talk.now)
    assert [(frame[:4], frame.ahead) for frame in talk.outbox if isinstance(frame, Ask)] == [(b'["-"', 2), (b'["+"', 1)]
    assert talk.topics.is_unsent(("trades", "A"))
    talk.topics.resubscribe([Subscription("trades", "A")], talk.now)
    assert talk.said() == ["-A", "+A"], "what has not been asked for yet is not asked for once more"
    assert not talk.topics.is_unsent(("trades", "A"))


def test_what_must_wait_to_be_asked_for_again_is_not_left_before() -> None:
    """Where answers name no request, one waits for the other."""
    talk = Talk(acknowledges=False)
    talk.want("A")
    talk.said()
    talk.wait(3)
    talk.want("B")
    talk.topics.resubscribe([Subscription("trades", "A")], talk.now)
    assert talk.said() == ["+B"]
    talk.wait(3)
    assert talk.said() == ["-A", "+A"]


def test_what_waits_to_be_asked_for_again_is_left_when_it_is_wanted_no_more() -> None:
    talk = Talk(acknowledges=False)
    talk.want("A")
    talk.said()
    talk.wait(3)
    talk.want("B")
    talk.topics.resubscribe([Subscription("trades", "A")], talk.now)
    talk.leave("A")
    talk.wait(3)
    assert talk.said() == ["+B", "-A"]


# --- topics that the exchange names


def by_name(**changes: Any) -> Talk:
    """A talk in which tickers carry best prices too, and candles name their interval."""

    def topic(s: Subscription) -> tuple[str, str]:
        words = {"bbo": "ticker", "candles": f"candle{s.interval}"}
        return words.get(s.channel, s.channel), s.raw_symbol

    return Talk(topic=topic, **changes)


TICKER, BBO = Subscription("ticker", "A"), Subscription("bbo", "A")


def test_an_answer_that_names_a_topic_is_about_all_of_that_name() -> None:
    talk = by_name()
    talk.topics.subscribe([TICKER, BBO, Subscription("ticker", "B")], 0)
    assert talk.topics.accepted(Accepted(topic=("ticker", "A"))) == [("ticker", "A"), ("bbo", "A")]
    assert talk.topics.accepted(Accepted(topic=("ticker", "A"))) == []
    assert talk.topics.accepted(Accepted(topic=("nothing", "A"))) == []
    assert not talk.topics.is_confirmed(("ticker", "B"))
    assert talk.topics.refused(Refused("no", topic=("ticker", "B"), meaning="final"), 0) == [
        Subscription("ticker", "B")
    ]
    assert talk.topics.refusal(("ticker", "B")) is not None


def test_an_answer_that_names_a_topic_knows_the_interval() -> None:
    talk = by_name()
    minute, hour = (Subscription("candles", "A", interval) for interval in ("1m", "1h"))
    talk.topics.subscribe([minute, hour], 0)
    assert talk.topics.refused(Refused("no", topic=("candle1h", "A")), 0) == [hour]
    assert talk.topics.accepted(Accepted(topic=("candle1m", "A"))) == [("candles", "A")]


def test_what_has_the_name_of_a_confirmed_topic_comes_with_it_and_keeps_it() -> None:
    talk = by_name()
    talk.topics.subscribe([TICKER], 0)
    talk.said()
    talk.topics.accepted(Accepted(topic=("ticker", "A")))
    assert talk.topics.subscribe([BBO], 0) == ([], [("bbo", "A")])
    talk.topics.unsubscribe([TICKER], 0)
    assert talk.said() == []
    talk.topics.unsubscribe([BBO], 0)
    assert talk.said() == ["-A"]


def test_a_request_that_is_refused_because_of_a_named_topic_is_asked_again_without_it() -> None:
    talk = by_name()
    talk.topics.subscribe([TICKER, Subscription("ticker", "B")], 0)
    assert talk.said() == ["+A B"]
    assert talk.topics.refused(Refused("no", topic=("ticker", "A"), whole=True, meaning="final"), 0) == [TICKER]
    assert talk.said() == ["+B"]


def test_the_answer_to_what_was_given_up_meanwhile_is_no_other_requests() -> None:
    """Refusals that name nothing mean the oldest request: one whose topics nobody wants any more has its own."""
    talk = Talk()
    talk.want("A")
    talk.said()
    talk.leave("A")
    talk.want("B", "C")
    assert talk.said() == ["-A", "+B C"]
    assert talk.refuse() == []
    assert talk.refuse() == []
    assert talk.said() == ["+B", "+C"]


def test_what_was_given_up_and_is_confirmed_all_the_same_is_answered() -> None:
    for answer in (Accepted(id=1), Accepted(channel="trades", raw_symbol="A"), Accepted(topic=("trades", "A"))):
        talk = by_name()
        talk.want("A")
        talk.leave("A")
        talk.want("B", "C")
        talk.said()
        assert talk.topics.accepted(answer) == []
        assert talk.refuse() == []
        assert talk.said() == ["+B", "+C"]


def test_a_request_that_leaves_after_its_topics_were_given_up_brings_none_of_them_back() -> None:
    """It may have waited for a limit meanwhile; another connection may carry the topics by now."""
    talk = Talk(unsubscribe=None)
    talk.want("A", "B")
    (frame,) = talk.outbox
    assert isinstance(frame, Ask)
    talk.leave("A")
    assert talk.topics.sent(frame, talk.now) == [("trades", "B")]
    talk.leave("B")
    assert talk.topics.sent(frame, talk.now) == []


def test_a_request_that_waited_for_the_answer_to_another_follows_it_at_once() -> None:
    """Where a request takes the place of those before it, or only refusals are answered, one is made at a time."""
    for changes in ({"replaces": True, "unsubscribe": None}, {"acknowledges": False}):
        stream = structs.replace(STREAM, batch=1, parse=lambda _: (Accepted(raw_symbol="A"),), **changes)
        topics = [Subscription("trades", name) for name in "AB"]
        session = Session("toy", stream, conn="c", instruments={}, subscriptions=topics)
        session.open(Now(1, 1))
        assert [json.loads(frame)[2:] for frame in session.outbox] == [["A"]]
        session.sent(session.outbox.popleft(), Now(2, 2))
        session.receive([b"accepted"], Now(3, 3))
        assert [json.loads(frame)[2:] for frame in session.outbox] == [["A", "B"] if stream.replaces else ["B"]]


def test_the_answer_to_an_earlier_request_confirms_none_that_left_the_topic_since() -> None:
    """Found by the model of lives (seed 10001156): the topic was neither carried nor said to be missing."""
    talk = Talk()
    talk.want("A")
    assert talk.said() == ["+A"]
    talk.topics.resubscribe([Subscription("trades", "A")], talk.now)
    assert talk.said() == ["-A", "+A"]
    talk.topics.accepted(Accepted(id=1))
    assert not talk.topics.is_confirmed(("trades", "A"))
    talk.topics.accepted(Accepted(id=3))
    assert talk.topics.is_confirmed(("trades", "A"))


def test_where_no_request_can_name_what_is_left_a_new_connection_is_made() -> None:
    """Found by the model of lives (seeds 10002851 and 20004135).

    A request takes the place of all before it, but one that names nothing is none: the exchange went on with a topic
    that nobody wanted, because the only other one was refused.
    """
    talk = Talk(replaces=True, acknowledges=False, unsubscribe=None)
    talk.want("A")
    talk.said()
    talk.wait(3)
    talk.want("X")
    talk.said()
    talk.refuse(meaning="final")
    assert talk.said() == ["+A"]
    talk.wait(3)
    assert talk.topics.reconnect_reason is None
    talk.leave("A")
    assert talk.said() == []
    assert talk.topics.reconnect_reason == "what it carries is not wanted, and only a new connection ends that"


def test_an_answer_to_a_topic_that_was_left_and_is_wanted_again_closes_its_first_request() -> None:
    talk = Talk()
    talk.want("A", "B")
    talk.leave("B")
    talk.want("B", "C")
    assert talk.said() == ["+A B", "-B", "+B C"]
    assert talk.topics.accepted(Accepted(id=1)) == [("trades", "A")]
    assert talk.topics.refused(Refused("wrong parameters"), 0) == []  # the second one is meant, and asked in halves
    assert talk.said() == ["+B", "+C"]


def test_an_answer_that_comes_before_its_topic_is_asked_for_again_is_that_to_the_earlier_request() -> None:
    """Found by the model of askers (seed 99): it was to be left and asked for again, and counted as had meanwhile."""
    talk = Talk()
    talk.want("A")
    talk.said()
    talk.leave("A")
    talk.want("A")
    assert talk.topics.accepted(Accepted(channel="trades", raw_symbol="A")) == []
    assert not talk.topics.is_confirmed(("trades", "A"))
    assert talk.said() == ["-A", "+A"]
    assert talk.topics.accepted(Accepted(channel="trades", raw_symbol="A")) == [("trades", "A")]
    assert talk.topics.is_confirmed(("trades", "A"))


def hung_up(talk: Talk, memory: Memory) -> tuple[Talk, list[str | None]]:
    """The exchange closes the connection: the next one begins with what is wanted."""
    wanted = [str(s.raw_symbol) for s in talk.topics]
    refused: list[str | None] = [s.raw_symbol for s in talk.topics.hung_up("it hangs up", talk.now)]
    after = Talk(memory, hangs_up=True, batch=talk.topics._stream.batch)
    after.now = talk.now
    after.want(*wanted)
    return after, refused


def grant(talk: Talk, name: str) -> None:
    talk.topics.accepted(Accepted(channel="trades", raw_symbol=name))
    talk.topics.send(talk.now)


def test_a_market_for_which_the_exchange_hangs_up_is_found_and_keeps_no_other_from_coming() -> None:
    memory = Memory()
    talk = Talk(memory, hangs_up=True, batch=1)
    talk.want("A", "B", "C", "D", "E")
    sent = [talk.outbox.popleft() for _ in range(4)]  # A is granted, B unknown, E has not left yet
    for frame in sent:
        assert isinstance(frame, Ask)
        talk.topics.sent(frame, talk.now)
    grant(talk, "A")
    talk, refused = hung_up(talk, memory)
    assert refused == []
    assert talk.said() == ["+A", "+E"]
    grant(talk, "A")
    assert talk.said() == []
    grant(talk, "E")
    assert talk.said() == ["+B"], "alone"
    talk, refused = hung_up(talk, memory)
    assert refused == ["B"]
    assert talk.said() == ["+A", "+E"]
    for name in "AE":
        grant(talk, name)
    assert talk.said() == ["+C"]
    grant(talk, "C")
    assert talk.said() == ["+D"]
    grant(talk, "D")
    assert all(talk.topics.is_confirmed(("trades", name)) for name in "ACDE")
    assert talk.wait(59) == []
    assert talk.wait(1) == ["B"]
    assert talk.said() == ["+B"]
    grant(talk, "B")
    assert not memory.doubted
    assert not memory.refusals


def test_a_connection_that_ends_with_nothing_owed_casts_no_doubt() -> None:
    memory = Memory()
    talk = Talk(memory, hangs_up=True, batch=1)
    talk.want("A")
    assert talk.said() == ["+A"]
    grant(talk, "A")
    talk, refused = hung_up(talk, memory)
    assert refused == []
    assert not memory.doubted


def test_where_the_exchange_hangs_up_behind_a_refusal_a_bad_market_costs_the_others_ever_less() -> None:
    """Foxbit says what it refuses, and then closes the connection, whatever it carries (probed in September 2026)."""
    memory = Memory()
    talk = Talk(memory, hangs_up=True)
    talk.want("A", "B", "X")
    assert talk.said() == ["+A B X"]
    grant(talk, "A")
    pauses = []
    for _ in range(8):
        assert talk.refuse(name="X", meaning="final") == ["X"]
        talk, refused = hung_up(talk, memory)
        assert refused == []
        assert not memory.doubted, "it has said why"
        begun = talk.now
        assert [name for said in talk.said() for name in said[1:].split()] == ["A", "B"]
        for name in "AB":
            grant(talk, name)
        while not talk.wait(900):
            memory.forget()  # a listing comes each quarter of an hour
            assert talk.said() == []
        assert talk.said() == ["+X"]
        pauses.append((talk.now - begun) // (3600 * SECOND))
    assert pauses == [1, 2, 4, 8, 16, 24, 24, 24]
    grant(talk, "X")
    assert not memory.refusals


def test_where_the_exchange_hangs_up_a_market_that_another_connection_has_is_asked_for_at_once() -> None:
    memory = Memory()
    one, two = Talk(memory, hangs_up=True), Talk(memory, hangs_up=True)
    for talk in (one, two):
        talk.want("X")
        talk.said()
        talk.refuse(name="X", meaning="final")
    assert one.wait(3600) == ["X"]
    one.said()
    grant(one, "X")
    assert two.wait(1) == ["X"]


def test_where_the_exchange_hangs_up_behind_a_refusal_without_a_name_the_market_is_found() -> None:
    memory = Memory()
    talk = Talk(memory, hangs_up=True)
    talk.want("A", "B", "X")
    talk.said()
    assert talk.refuse() == []
    talk, refused = hung_up(talk, memory)
    assert refused == []
    assert talk.said() == ["+A"], "alone"
    grant(talk, "A")
    assert talk.said() == ["+B"]
    grant(talk, "B")
    assert talk.said() == ["+X"]
    assert talk.refuse() == ["X"]
    talk, refused = hung_up(talk, memory)
    assert refused == []
    assert talk.said() == ["+A B"]


def test_a_refusal_is_logged_once_however_often_it_is_repeated() -> None:
    """Again only when the words or their meaning change, or the topic was had in between; its health keeps them."""
    memory, now = Memory(), 0
    topics = [Subscription("trades", "X")]

    def hear(answer: Accepted | Refused) -> list[str]:
        """The refusals for the log of one more connection, behind another listing."""
        nonlocal now
        now += 400 * SECOND
        memory.forget()
        stream = structs.replace(STREAM, parse=lambda _: (answer,))
        session = Session("toy", stream, conn="c", instruments={}, subscriptions=topics, memory=memory)
        session.open(Now(now, now))
        session.receive([b"an answer"], Now(now, now))
        if isinstance(answer, Refused):
            assert session.topics.known("trades", "X", Now(now, now)).reason == f"refused: {answer.reason}"
        return [refused.reason for refused in session.refusals]

    none = Refused("no such market", raw_symbol="X", channel="trades", meaning="final")
    assert hear(none) == ["no such market"]
    assert hear(none) == []
    assert hear(structs.replace(none, meaning="passing")) == ["no such market"]
    assert hear(structs.replace(none, meaning="passing")) == []
    assert hear(structs.replace(none, reason="busy", meaning="passing")) == ["busy"]
    assert hear(Accepted(raw_symbol="X", channel="trades")) == []
    assert hear(structs.replace(none, reason="busy", meaning="passing")) == ["busy"]


def test_the_time_for_answers_begins_with_the_last_frame_of_a_request() -> None:
    """A limit on requests may hold frames for a minute (the model of lives, seed 701449 of frames for each topic)."""

    def each(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        return [json.dumps(["+", id, s.raw_symbol]).encode() for s in wanted]

    talk = Talk(subscribe=each)
    talk.want("A", "B")
    for _ in "AB":
        talk.now += 60 * SECOND
        assert talk.topics.overdue(talk.now) == []
        frame = talk.outbox.popleft()
        assert isinstance(frame, Ask)
        talk.topics.sent(frame, talk.now)
    assert talk.topics.overdue(talk.now + 9 * SECOND) == []
    assert talk.topics.overdue(talk.now + 11 * SECOND) == [("trades", "A"), ("trades", "B")]
