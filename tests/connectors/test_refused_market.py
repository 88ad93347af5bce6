"""One market is refused: every other topic of the connection comes nevertheless, and the refusal is told.

A made-up exchange answers a session that speaks through the connector. It refuses whatever names the one market, in
the words of `tests/frames/<id>.jsonl`, with the number of the request that it answers.
"""

import itertools
import json
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from msgspec import Struct, structs

from aggregator.catalog.registry import connector_ids, load_exchange
from aggregator.exchange import Accepted, Event, Parse, Ready, Refused, Stream, Subscription
from aggregator.records import SECOND_NS
from aggregator.session.moment import Now
from aggregator.session.session import Session
from aggregator.session.subscriptions import Ask

FRAMES = Path(__file__).parents[1] / "frames"
INTERVALS = ("1m", "5m", "1h")
BESIDE = 3  # channels that are wanted beside those that are refused
MOST_S, MOST_FRAMES = 600, 1000
NAMELESS = {  # refusals of a market that name nothing, and may be of any frame of a request: these are asked for again
    "3: invalid marketIds",
    "-100010: Invalid Symbols!",
    "Missing parameter ['kbar']",
    "no valid symbols",
    "product not found",
}
NOT_PLAYED = {  # exchange that answers requests -> why no refusal of one market is played
    "bitbns": "all of its markets come by one request",
    "coinmate": "no refusal of a market is documented, and nobody has probed one",
    "hyperliquid": "a coin that there is not closes the connection, without a word: `Stream.hangs_up`",
    "p2b": "a connection has one book, and its lists of trades and states refuse nothing",
    "paymium": "all of its markets come by one request",
}


class Case(Struct):
    """A refusal of one market.

    frame: the exchange's words, with the number of the request that they answered
    before: the frames behind which they mean that
    refused: the topics that it refuses
    others: topics of other markets
    """

    stream: Stream
    frame: str
    before: tuple[str, ...]
    event: Refused
    refused: tuple[Subscription, ...]
    others: tuple[Subscription, ...]

    @property
    def is_whole(self) -> bool:
        """Tell whether the exchange refuses all of the request that names the market."""
        names_it = self.event.topic is not None or self.event.raw_symbol is not None
        return self.event.whole or self.event.id is not None or not names_it


def heard(stream: Stream, before: Iterable[str], frame: str) -> list[Refused]:
    """The refusals of a frame; none where it cannot be read."""
    parse = stream.reader()
    try:
        for earlier in before:
            list(parse(earlier.encode()))
        return [event for event in parse(frame.encode()) if isinstance(event, Refused)]
    except Exception:  # noqa: BLE001 - a number was changed that is none of a request
        return []


def name_of(stream: Stream, s: Subscription) -> Hashable:
    """The topic as the exchange tells it from others."""
    return tuple(stream.subscribe([s], 0)) if stream.topic is None else stream.topic(s)


def parts(topic: Hashable) -> Iterator[str]:
    """Give each piece of the exchange's name of a topic that may be its market."""
    for part in topic if isinstance(topic, tuple) else (topic,):
        text = str(part)
        ends = [0, *(m.end() for m in re.finditer(r"[^A-Za-z0-9]", text)), len(text) + 1]
        for first, last in itertools.combinations(ends, 2):
            yield from {text[first : last - 1], text[first : last - 1].upper(), text[first : last - 1].lower()}
        yield from (text[:end] for end in range(1, len(text)) if text.isdecimal())


def refused_topics(stream: Stream, event: Refused) -> Iterator[Subscription]:
    """The topics of ours that are meant; none where the refusal names no market."""
    for channel in stream.channels if event.channel is None else (event.channel,):
        if event.topic is None and event.raw_symbol is not None:
            yield Subscription(channel, event.raw_symbol)
        elif event.topic is not None and stream.topic is not None:
            tried = (Subscription(channel, raw, i) for raw in dict.fromkeys(parts(event.topic)) for i in INTERVALS)
            yield from itertools.islice((s for s in tried if raw_is(stream, s, event.topic)), 1)


def raw_is(stream: Stream, s: Subscription, topic: Hashable) -> bool:
    try:
        return name_of(stream, s) == topic
    except Exception:  # noqa: BLE001 - what was tried is no name of a market
        return False


def cases_of(id: str) -> Iterator[tuple[str, Case]]:
    exchange = load_exchange(id)
    assert exchange is not None
    rows = [json.loads(line) for line in (FRAMES / f"{id}.jsonl").read_text().splitlines()]
    for stream in exchange.streams:
        if stream.one_market or stream.per_connection == 1:
            continue  # no other market is on its connections
        markets = markets_of(rows, stream)
        for number, row in enumerate(rows, 1):
            if "frame" not in row or row.get("stream", "main") != stream.name:
                continue
            before = tuple(row.get("after", ()))
            found = heard(stream, before, row["frame"])
            if not found or found[0].meaning == "passing":
                continue
            case = case_of(stream, row["frame"], before, found[0], markets)
            if case is not None:
                yield f"{id}:{number} {row['about']}", case


def markets_of(rows: Sequence[dict[str, object]], stream: Stream) -> list[str]:
    """Names of markets, those of the stream's own frames first; two more are made of the first."""
    own = [row for row in rows if "rest" not in row and row.get("stream", "main") == stream.name]
    listed = [row for row in rows if row.get("rest") == "listing"]
    gives = [row["gives"] for row in (*own, *listed) if isinstance(row["gives"], list)]
    records = [given for found in gives if isinstance(found, list) for given in found if given and "type" in given]
    names = [str(given["raw_symbol"]) for given in records if given.get("raw_symbol")]
    made = [names[0][:-1] + last for last in ("78" if names[0][-1].isdecimal() else "xy")] if names else []
    return list(dict.fromkeys(names + made))


def case_of(stream: Stream, frame: str, before: tuple[str, ...], event: Refused, markets: Sequence[str]) -> Case | None:
    """A case of a refusal; None where it is not of a market, or nothing else could be on the connection."""
    refused = list(refused_topics(stream, event))
    if not refused:
        is_of_market = event.id is not None or event.meaning == "final" or event.reason in NAMELESS
        if event.topic is not None or not is_of_market or not markets:
            return None
        channels = [c for c in stream.channels if c != "status"] if event.channel is None else [event.channel]
        refused = [Subscription(channel, markets[-1]) for channel in channels]
    names = {name_of(stream, s) for s in refused}
    good = [market for market in markets if market != refused[0].raw_symbol][:2]
    beside = [channel for channel in stream.channels if channel != "status"][:BESIDE]
    wanted = dict.fromkeys([*(s.channel for s in refused), *beside])
    all_of = [Subscription(channel, market, refused[0].interval) for channel in wanted for market in good]
    others = tuple(s for s in all_of if name_of(stream, s) not in names)
    return Case(stream, frame, before, event, tuple(refused), others) if others else None


CASES = {id: list(cases_of(id)) for id in connector_ids()}


class Exchange:
    """The other end of the connection."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.stream = case.stream
        self.requests: dict[int, list[Subscription]] = {}
        self.carried: set[Hashable] = set()
        self.refused = {name_of(self.stream, s) for s in case.refused}
        first, rest = case.others[0], case.others[1:]
        spoken = structs.replace(self.stream, subscribe=self.subscribe, parse=None, parser=self.parser, inflate=None)
        self.session = Session("toy", spoken, conn="toy", instruments={}, subscriptions=[first, *case.refused, *rest])
        self.said: list[Event] = []
        self.now = 1

    def subscribe(self, wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        """Ask as the connector does, and note what was asked for."""
        self.requests[id] = list(wanted)
        return self.stream.subscribe(wanted, id)

    def parser(self) -> Parse:
        """Read as the connector does, but for what is said here without its words."""
        read = self.stream.reader()
        return lambda frame: [self.said.pop()] if not frame else read(frame)

    def say(self, event: Event) -> None:
        self.said.append(event)
        self.hear([b""])

    def hear(self, frames: Sequence[bytes]) -> None:
        self.session.receive(frames, Now(self.now, self.now))

    def play(self) -> None:
        """Answer whatever is asked for, until nothing more is."""
        self.session.open(Now(self.now, self.now))
        if self.stream.greets:
            self.say(Ready())
        sent = 0
        while self.now < MOST_S * SECOND_NS:
            while self.session.outbox:
                frame = self.session.outbox.popleft()
                sent += 1
                assert sent < MOST_FRAMES, "it asks on and on"
                self.session.sent(frame, Now(self.now, self.now))
                if isinstance(frame, Ask):
                    self.answer(frame)
            if self.is_settled():
                return
            self.now += SECOND_NS
            self.session.subscriptions.again(self.now)
            self.session.subscriptions.overdue(self.now)

    def is_settled(self) -> bool:
        topics = self.session.subscriptions
        good = all(topics.is_confirmed((s.channel, s.raw_symbol)) for s in self.case.others)
        return good and all(topics.refusal((s.channel, s.raw_symbol)) for s in self.case.refused)

    def answer(self, frame: Ask) -> None:
        """Grant what a frame asks for, or refuse it: all of it, or the one market."""
        topics = self.topics_of(frame)
        if not topics:
            return
        refused = [s for s in topics if name_of(self.stream, s) in self.refused]
        granted = [s for s in topics if s not in refused]
        said = self.words(frame) if refused else None
        if said is None:
            granted = topics  # the exchange has no such words for it
        elif self.case.is_whole:
            granted = []
        if self.stream.replaces:
            words = {self.stream.channels[s.channel] for s in topics}
            gone = [s for s in self.case.others if self.stream.channels[s.channel] in words]
            self.carried -= {name_of(self.stream, s) for s in gone}
        self.carried |= {name_of(self.stream, s) for s in granted}
        if said is not None:
            self.hear([earlier.encode() for earlier in self.case.before])
            self.hear([said.encode()])
        for s in granted if self.stream.acknowledges else ():
            self.say(Accepted(channel=s.channel, raw_symbol=s.raw_symbol))

    def topics_of(self, frame: Ask) -> list[Subscription]:
        """The topics that a frame names, which without one of them would be another; none if it unsubscribes."""
        wanted = self.requests.get(frame.id, [])
        frames = [bytes(f) for f in self.stream.subscribe(wanted, frame.id)]
        if bytes(frame) not in frames:
            return []
        shared = set.intersection(*(self.alone(s, frame.id) for s in (*self.case.refused, *self.case.others)))
        found = []
        for s in wanted:
            own = self.alone(s, frame.id) - shared
            rest = [other for other in wanted if not own & self.alone(other, frame.id)]
            rest = rest or [other for other in self.case.others if not own & self.alone(other, frame.id)][:1]
            without = [bytes(f) for f in self.stream.subscribe(rest, frame.id)]
            changed = (f for f, other in itertools.zip_longest(frames, without) if f != other)
            if next(changed, None) == bytes(frame):
                found.append(s)
        return found

    def alone(self, s: Subscription, id: int) -> set[bytes]:
        return {bytes(frame) for frame in self.stream.subscribe([s], id)}

    def words(self, frame: Ask) -> str | None:
        """The exchange's refusal, with the number of the request in place of the one that it had."""
        if self.case.event.id is None:
            return self.case.frame
        numbers = re.findall(r"\d+", self.case.frame), re.findall(r"\d+", frame.decode())
        for had, has in itertools.product(*map(dict.fromkeys, numbers)):
            said = re.sub(rf"(?<!\d){had}(?!\d)", has, self.case.frame)
            found = heard(self.stream, self.case.before, said)
            if found and found[0].id == frame.id and found[0].reason == self.case.event.reason:
                return said
        return None


@pytest.mark.parametrize("case", [pytest.param(case, id=id) for found in CASES.values() for id, case in found])
def test_a_market_that_is_refused_leaves_the_others(case: Case) -> None:
    exchange = Exchange(case)
    exchange.play()
    topics = exchange.session.subscriptions
    assert [s for s in case.others if name_of(case.stream, s) not in exchange.carried] == []
    assert [s for s in case.others if not topics.is_confirmed((s.channel, s.raw_symbol))] == []
    told = [topics.refusal((s.channel, s.raw_symbol)) for s in case.refused]
    assert [refusal.reason for refusal in told if refusal is not None] == [f"refused: {case.event.reason}"] * len(told)
    assert {event.reason for event in exchange.session.refusals} == {case.event.reason}


@pytest.mark.parametrize("id", connector_ids())
def test_of_each_exchange_that_answers_a_refusal_is_played(id: str) -> None:
    exchange = load_exchange(id)
    assert exchange is not None
    answers = any(stream.acknowledges for stream in exchange.streams)
    assert (id in NOT_PLAYED) == (answers and not CASES[id])
