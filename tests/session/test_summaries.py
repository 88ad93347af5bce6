"""What is told of topics and connections, and how seldom: each change of a state once, and one summary a minute."""

import asyncio
import json
from collections.abc import Sequence

import msgspec
import pytest

from aggregator.exchange import Poll, Request, Stream, Subscription
from aggregator.records import Bbo, BookSnapshot, Gap, Health, Record, Summary, Ticker, Trade
from aggregator.session.arbiter import LineArbiter
from aggregator.session.moment import Now
from aggregator.session.polled import Polling
from aggregator.session.session import Session
from aggregator.session.summaries import Counts
from aggregator.session.topics import Origin
from tests.support.toy import running, toy
from tests.support.views import every_health

pytestmark = pytest.mark.waits

SECOND = 1_000_000_000
MS = 1_000_000
START = 1_760_000_000 * SECOND
HOUR = 3600
FIRST = 100  # second of a conversation


def stream(**changes: object) -> Stream:
    (found,) = toy(**{"patience": 1e6, **changes}).streams
    return found


def at(second: int) -> Now:
    return Now(START + second * SECOND, second * SECOND)


class Talk:
    """A session, the time second by second, and all that it has said."""

    def __init__(self, *topics: str, of: Stream | None = None) -> None:
        pairs = [topic.split(":") for topic in topics]
        wanted = [Subscription(channel, name) for channel, name in pairs]  # type: ignore[arg-type]
        self.session = Session("toy", of or stream(), conn="toy/main.1#1", instruments={}, subscriptions=wanted)
        self.second = FIRST
        self.sent = 0
        self.records: list[Record] = self.session.open(self.now)
        self.send()

    @property
    def now(self) -> Now:
        return at(self.second)

    def say(self, *said: dict[str, object] | bytes) -> None:
        """Let the exchange say this, all in one read."""
        frames = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in said]
        self.sent += sum(map(len, frames))
        self.records += self.session.receive(frames, self.now)

    def send(self) -> None:
        """Let what is to be sent leave."""
        while self.session.outbox:
            self.session.sent(self.session.outbox.popleft(), self.now)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.second += 1
            self.records += self.session.tick(self.now)
            self.send()

    def health(self) -> list[tuple[str, str, str | None]]:
        return [(r.channel, r.state, r.reason) for r in self.records if isinstance(r, Health)]

    def summaries(self) -> list[Summary]:
        return [record for record in self.records if isinstance(record, Summary)]


def trade(n: int, symbol: str = "A") -> dict[str, object]:
    return {"s": symbol, "n": n, "price": "5"}


# --- health


def test_a_quiet_topic_says_nothing_in_an_hour() -> None:
    talk = Talk("trades:A")
    talk.say({"ack": 1}, trade(1))
    talk.wait(30)  # it is live, and then longer silent than was usual
    before = talk.health()
    talk.wait(HOUR)
    assert before == talk.health()
    assert before == [
        ("trades", "subscribing", None),
        ("trades", "syncing", None),
        ("trades", "live", None),
        ("trades", "quiet", "silent for longer than is usual here"),
    ]
    assert len(talk.summaries()) == (30 + HOUR) // 60


def test_a_busy_topic_says_nothing_in_an_hour() -> None:
    talk = Talk("trades:A")
    talk.say({"ack": 1})
    for number in range(HOUR):
        talk.say(trade(number + 1))
        talk.wait(1)
    assert [state for _, state, _ in talk.health()] == ["subscribing", "syncing", "live"]


def test_a_topic_is_asked_for_once_however_many_of_its_intervals_are_wanted() -> None:
    wanted = [Subscription("candles", "A", interval) for interval in ("1m", "5m")]
    session = Session("toy", stream(channels={"candles": "c"}), conn="c", instruments={}, subscriptions=wanted)
    assert [type(record) for record in session.open(Now(START, 0))] == [Health]


def test_a_book_is_live_once_it_is_there_and_no_sooner() -> None:
    talk = Talk("book:A")
    talk.say({"ack": 1}, {"s": "A", "n": 5, "bid": "2"})
    talk.wait(2)
    assert [state for _, state, _ in talk.health()] == ["subscribing", "syncing"]
    talk.records += talk.session.receive_snapshot("A", b'{"n": 5}', talk.now)
    talk.say({"s": "A", "n": 6, "bid": "2"})
    talk.wait(2)
    assert [state for _, state, _ in talk.health()] == ["subscribing", "syncing", "live"]


def states_told(records: Sequence[Record]) -> list[str]:
    """A topic's states as a reader knows them: from health, and from gaps as the page of records says."""
    told: list[str] = []
    for record in records:
        if isinstance(record, Health):
            told.append(record.state)
        elif isinstance(record, Gap):
            told.append("suspect" if record.phase == "open" else "live")
    return told


def test_every_change_can_be_told_from_health_and_gaps() -> None:
    talk = Talk("trades:A")
    told: list[str] = []
    actual: list[str] = []
    topic = talk.session.topics.known("trades", "A", talk.now)

    def check() -> None:
        told[:] = states_told(talk.records)
        assert told[-1] == topic.state
        actual.append(topic.state)

    check()
    steps: list[list[dict[str, object]]] = [
        [{"ack": 1}], [trade(1)], [], [trade(5)], [], [], [], *[[] for _ in range(40)], [trade(6)], []
    ]  # fmt: skip
    for step in steps:
        talk.say(*step)
        check()
        talk.wait(1)
        check()
    talk.records += talk.session.close("disconnect", talk.now)
    check()
    assert set(actual) == {"subscribing", "syncing", "live", "suspect", "quiet"}


def test_a_stall_is_told_after_the_gap_that_it_opens() -> None:
    talk = Talk("book:A")
    talk.say({"ack": 1})
    talk.wait(15)
    assert states_told(talk.records)[:4] == ["subscribing", "syncing", "suspect", "stalled"]


def test_a_topic_that_never_said_anything_is_down_once_its_connection_is_gone() -> None:
    talk = Talk("trades:A", "trades:B")
    talk.say({"ack": 1}, trade(1))
    talk.records += talk.session.close("disconnect", talk.now)
    said = [(r.raw_symbol, r.state) for r in talk.records[-2:] if isinstance(r, Health)]
    assert said == [("B", "down")]
    assert [gap.raw_symbol for gap in talk.records if isinstance(gap, Gap)] == ["A"]


# --- summaries


def test_a_minute_gives_one_summary_with_all_that_was_counted() -> None:
    talk = Talk("trades:A", "trades:B", "trades:C", of=stream(batch=1))
    talk.say({"ack": 1}, {"refused": 2}, {"ack": 3})
    talk.say(trade(1), trade(2), trade(5), b"{broken")  # a gap opens, and one frame is lost
    talk.say(trade(9, "X"))  # nobody wants it
    talk.wait(59)
    assert talk.summaries() == []
    talk.wait(1)
    (found,) = talk.summaries()
    assert (found.exchange, found.symbol, found.raw_symbol, found.conn) == ("toy", None, None, "toy/main.1#1")
    assert (found.ts_from, found.ts_recv, found.source) == (at(FIRST).wall, at(FIRST + 60).wall, "derived")
    assert (found.frames, found.bytes, found.records, found.unread) == (8, talk.sent, 3, 1)
    assert (found.gaps_opened, found.gaps_closed, found.refused) == (1, 1, 1)
    states = ("subscribing", "syncing", "live", "quiet", "stalled", "suspect", "down")
    now = {state: getattr(found, state) for state in states if getattr(found, state)}
    assert now == {"subscribing": 1, "quiet": 1, "stalled": 1}  # B is asked for again
    assert found.bye is None
    talk.say(trade(6))
    talk.wait(60)
    _, second = talk.summaries()
    assert (second.ts_from, second.frames, second.records, second.gaps_opened) == (found.ts_recv, 1, 1, 0)
    assert second.bytes == len(json.dumps(trade(6)))


def test_the_last_summary_says_why_and_holds_what_the_end_has_opened() -> None:
    talk = Talk("trades:A", "trades:B")
    talk.say({"ack": 1}, trade(1))
    talk.second += 20
    talk.records += talk.session.close("disconnect", talk.now) + talk.session.bye("line lost", talk.now)
    (last,) = talk.summaries()
    assert (last.bye, last.frames, last.gaps_opened, last.suspect, last.down) == ("line lost", 2, 1, 1, 1)
    assert (last.ts_from, last.ts_recv) == (at(FIRST).wall, at(FIRST + 20).wall)


def test_a_connection_that_was_never_made_says_why() -> None:
    session = Session("toy", stream(), conn="c", instruments={}, subscriptions=[Subscription("trades", "A")])
    (said,) = session.bye("cannot connect", Now(START, 0))
    assert isinstance(said, Summary)
    assert (said.bye, said.frames, said.ts_from) == ("cannot connect", 0, START)


def test_a_replay_gives_none() -> None:
    session = Session("toy", stream(), conn="c", instruments={}, source="replay")
    session.open(Now(START, 0))
    session.receive([json.dumps(trade(1)).encode()], Now(START, 0))
    later = [r for second in range(1, 200) for r in session.tick(Now(START + second * SECOND, second * SECOND))]
    assert later == session.bye("over", Now(START, 0)) == []


def test_a_pause_is_how_late_a_tick_came() -> None:
    talk = Talk("trades:A")
    talk.wait(30)
    talk.second += 1
    talk.session.tick(Now(talk.now.wall + 250 * MS, talk.now.mono + 250 * MS))
    talk.wait(29)
    (found,) = talk.summaries()
    assert found.pause_ms == 250.0
    talk.wait(60)
    assert talk.summaries()[-1].pause_ms == 0.0


def latencies(*reads: Record) -> Summary:
    """The summary after each of these records was read in a second of its own."""
    counts = Counts(Origin("toy", "c"))
    counts.begin(Now(START, 0))
    for second, record in enumerate(reads, 1):
        record.ts_recv, record.source = START + second * SECOND, "rest" if record.source == "rest" else "ws"
        if counts.is_to_look:
            counts.look([record])
        counts.tick((), [], Now(record.ts_recv, second * SECOND))
    return counts.summary((), Now(START + 10 * SECOND, 10 * SECOND))


def test_latency_is_that_of_the_time_of_sending() -> None:
    found = latencies(
        *[Trade(price="1", size="1", ts_event=1, ts_sent=START + s * SECOND - ms * MS) for s, ms in ((1, 5), (2, 7))],
        Trade(price="1", size="1", ts_event=START + 3 * SECOND - 40 * MS),
    )
    assert (found.latency_ms, found.latency_max_ms, found.clock_offset_ms) == (7.0, 40.0, 5.0)


@pytest.mark.parametrize(
    "record",
    [
        Ticker(last="1", ts_event=START - 86_400 * SECOND),  # of the last trade, yesterday
        Trade(price="1", size="1", ts_sent=START, flags=("backfill",)),
        Trade(price="1", size="1", ts_sent=START, source="rest"),
        Bbo(),
    ],
)
def test_latency_is_null_where_nothing_tells_it(record: Record) -> None:
    found = latencies(record)
    assert (found.latency_ms, found.latency_max_ms, found.clock_offset_ms) == (None, None, None)


def test_a_time_of_hundreds_of_digits_is_no_latency() -> None:
    counts = Counts(Origin("toy", "toy/main.1#1"))
    counts.begin(at(0))
    counts.look([Trade(raw_symbol="A", price="1", size="1", ts_recv=START, ts_event=10**400)])
    assert counts.is_to_look
    assert counts.summary([], at(1)).latency_ms is None


def test_the_offset_of_clocks_outlives_a_summary_and_the_latencies_do_not() -> None:
    counts = Counts(Origin("toy", "c"))
    counts.look([Trade(price="1", size="1", ts_sent=START, ts_recv=START + 3 * MS, source="ws")])
    first, second = (counts.summary((), Now(START, 0)) for _ in range(2))
    assert (first.latency_ms, first.clock_offset_ms) == (3.0, 3.0)
    assert (second.latency_ms, second.clock_offset_ms) == (None, 3.0)


def test_lines_say_who_was_first() -> None:
    one, other = (Talk("trades:A") for _ in range(2))
    other.session.conn = "toy/main.1#2"
    arbiter = LineArbiter(one.session.stream, lasting=True)
    for talk in (one, other):
        arbiter.join(talk.session)
    for number in range(1, 4):
        for talk in (one, other):
            frame = json.dumps(trade(number)).encode()
            arbiter.merge(talk.session, talk.session.receive([frame], talk.now), talk.now)
            other.second += 1
    found = [arbiter.merge(t.session, t.session.bye("", t.now), t.now)[0] for t in (one, other)]
    assert [(s.first, s.second) for s in found if isinstance(s, Summary)] == [(3, 0), (0, 3)]


# --- polls


def read_poll(raw_symbol: str, body: bytes) -> list[Record]:
    """`A=1,B=2`: tickers; `!` cannot be read."""
    pairs = [part.split("=") for part in body.decode().split(",") if part]
    return [Ticker(raw_symbol=name or raw_symbol, last=price) for name, price in pairs]


def polling(*wanted: str, many: bool = False) -> Polling:
    poll = Poll(
        channels=("ticker",), every=5, request=lambda s: Request(f"https://toy.example/{s}"), parse=read_poll, many=many
    )
    topics = [("ticker", name) for name in wanted]
    return Polling("toy", poll, conn="toy/poll#1", instruments={}, wanted=topics)  # type: ignore[arg-type]


def begun(polled: Polling) -> list[Record]:
    polled.open(at(0))
    return polled.want((), {}, at(0))


def said(records: Sequence[Record]) -> list[tuple[str | None, str, str | None]]:
    return [(r.raw_symbol, r.state, r.reason) for r in records if isinstance(r, Health)]


def test_a_polled_topic_says_each_change_once() -> None:
    polled = polling("A")
    out = begun(polled)
    for second in range(1, 400):
        out += (
            polled.failed("A", "HTTP 503", at(second))
            if 100 < second < 200
            else polled.receive("A", b"A=1", at(second))
        )
        out += polled.tick(at(second))
    assert said(out) == [
        ("A", "subscribing", None),
        ("A", "live", None),
        ("A", "down", "HTTP 503"),
        ("A", "live", None),
    ]
    summaries = [record for record in out if isinstance(record, Summary)]
    assert [(s.frames, s.refused, s.records, s.live, s.down) for s in summaries] == [
        (60, 0, 60, 1, 0), (40, 20, 40, 0, 1), (0, 60, 0, 0, 1),
        (41, 19, 41, 1, 0), (60, 0, 60, 1, 0), (60, 0, 60, 1, 0),
    ]  # fmt: skip
    assert summaries[0].bytes == 60 * len(b"A=1")
    (last,) = polled.bye("no longer wanted", at(400))
    assert isinstance(last, Summary)
    assert (last.bye, last.frames, last.conn) == ("no longer wanted", 39, "toy/poll#1")


def test_an_answer_about_many_tells_of_each_topic() -> None:
    polled = polling("A", "B", many=True)
    assert said(begun(polled)) == [("A", "subscribing", None), ("B", "subscribing", None)]
    assert said(polled.receive("", b"A=1", at(1))) == [("A", "live", None)]
    assert said(polled.failed("", "HTTP 503", at(2))) == [("A", "down", "HTTP 503"), ("B", "down", "HTTP 503")]
    assert said(polled.receive("", b"A=1", at(3))) == [("A", "live", None), ("B", "subscribing", None)]


def test_an_answer_that_cannot_be_read_makes_nothing_live() -> None:
    polled = polling("A")
    begun(polled)
    polled.failed("A", "HTTP 503", at(1))
    out = polled.receive("A", b"!", at(2))
    assert [type(record) for record in out] == [Gap]
    (last,) = polled.bye("", at(3))
    assert isinstance(last, Summary)
    assert (last.unread, last.frames, last.down, last.gaps_opened) == (1, 1, 1, 0)


# --- in the daemon


async def test_every_connection_has_its_end_told() -> None:
    async with running(toy()) as (server, seen, _):
        await seen.until(Health, 2, state="syncing")
        await server.delta(1)
        await seen.until(BookSnapshot)
        await server.sockets[-1].close()
        (lost,) = await seen.until(Summary)
        assert isinstance(lost, Summary)
        assert (lost.conn, lost.gaps_opened, lost.down) == ("toy/main.1#1", 1, 1)
        assert str(lost.bye).startswith("closed by the exchange")
        await seen.until(Health, 4, state="syncing")
    _, last = seen.of(Summary)
    assert isinstance(last, Summary)
    assert (last.conn, last.bye) == ("toy/main.1#2", "no longer wanted")


async def test_the_states_of_all_topics_can_be_asked_for() -> None:
    async with running(toy(), channels=("trades", "book", "ticker")) as (server, seen, runner):
        await seen.until(Health, 2, state="syncing")
        await server.delta(1)
        await seen.until(Health, channel="book", state="live")
        await seen.until(Health, channel="ticker", state="live")
        now = {health.channel: (health.state, health.conn) for health in every_health(runner)}
        assert now["book"] == ("live", "toy/main.1#1")
        assert now["trades"] == ("syncing", "toy/main.1#1")
        assert now["ticker"] == ("live", "toy/rest#1")
        await server.sockets[-1].close()
        await seen.until(Summary)
        await asyncio.sleep(0)
        gone = {health.channel: (health.state, str(health.reason)) for health in every_health(runner)}
        assert gone["book"][0] == gone["trades"][0] == "down"
        assert gone["book"][1].startswith("closed by the exchange")


def test_the_states_counted_are_those_that_there_are() -> None:
    from typing import get_args

    from aggregator.records import TopicState

    assert set(get_args(TopicState)) <= {field.name for field in msgspec.structs.fields(Summary)}
