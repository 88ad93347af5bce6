import asyncio
import json
from collections.abc import Callable, Iterable, Sequence

import pytest
from msgspec import structs

from aggregator.bus.bus import Batch, Bus
from aggregator.exchange import Address, Event, Exchange, Hangup, Listing, Refused, Request, Stream, Subscription
from aggregator.ingest.connection import MOST_REASONS, Connection
from aggregator.ingest.lines import Line, LineListener
from aggregator.ingest.network import Answer, Network
from aggregator.ingest.rest import Rest
from aggregator.records import BookDelta, BookSnapshot, Gap, Record, Status, Trade
from aggregator.session.arbiter import LineArbiter
from aggregator.session.moment import Now
from aggregator.session.refused import Memory
from aggregator.session.session import Session
from tests.support.hurry import hurried, seconds

NOW = Now(1_760_000_000_000_000_000, 1_000)


def parse(frame: bytes) -> Iterable[Event]:
    """`["trade", 5]`, `["whole", "9"]` and `["bid", "8"]`: a book without numbers, whole in band; `["bye"]`."""
    kind, *what = json.loads(frame)
    if kind == "trade":
        return (Trade(raw_symbol="A", price="1", size="1", sequence=what[0]),)
    if kind == "whole":
        return (BookSnapshot(raw_symbol="A", bids=[(what[0], "1")], asks=[]),)
    return (Hangup("maintenance"),) if kind == "bye" else (BookDelta(raw_symbol="A", bids=[(what[0], "1")], asks=[]),)


STREAM = Stream(channels={"trades": "t", "book": "b"}, subscribe=lambda _, __: (), parse=parse)


EXCHANGE = Exchange(id="toy", docs="", feeds=(STREAM,), listing=Listing())


async def dial(_: Address, __: LineListener) -> Line:
    raise AssertionError("nobody dials here")


async def fetch(_: Request) -> Answer:
    raise AssertionError("nobody asks here")


class Lines:
    """Conversations of one shard, without lines, and what they publish."""

    def __init__(self, count: int, *, lasting: bool = False) -> None:
        self.batches: list[list[Record]] = []
        bus = Bus("test")
        bus.attach(self._take)
        network = Network(dial, fetch, lambda: NOW)
        self.arbiter = LineArbiter(STREAM, lasting=lasting)
        self.lines = [
            Connection(
                Session("toy", STREAM, conn=f"toy/main.1#{number}", instruments={}),
                bus=bus,
                arbiter=self.arbiter,
                network=network,
                rest=Rest(network, EXCHANGE),
            )
            for number in range(count)
        ]
        for line in self.lines:
            self.arbiter.join(line.session)

    def _take(self, batch: Batch) -> None:
        self.batches.append(batch.records)

    def say(self, line: int, *frames: list[object]) -> list[list[Record]]:
        """One read of the socket of a line; the batches that came of it."""
        before = len(self.batches)
        self.lines[line].frames([json.dumps(frame).encode() for frame in frames], NOW)
        return self.batches[before:]


async def test_refusals_are_logged_by_reason_and_not_without_end(caplog: pytest.LogCaptureFixture) -> None:
    shard = Lines(1)
    line = shard.lines[0]
    line.session.refusals += [
        Refused(f"no, says {n % 100}", channel="trades", raw_symbol=f"S{n}", meaning="final") for n in range(1000)
    ]
    line.look_at_refusals()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == MOST_REASONS + 1
    assert "'no, says 0'" in said[0]
    assert "trades of S900 and" not in said[0]
    assert said[-1].endswith("refused for other reasons: 950 more")
    assert max(map(len, said)) < 500


@pytest.mark.parametrize(("hangs_up", "words"), [(False, "after the next listing"), (True, "ever more rarely")])
async def test_the_log_says_when_what_is_refused_is_asked_for_again(
    caplog: pytest.LogCaptureFixture, hangs_up: bool, words: str
) -> None:
    (line,) = Lines(1).lines
    line.session.stream = structs.replace(line.session.stream, hangs_up=hangs_up)
    line.session.refusals.append(Refused("no such market", channel="trades", raw_symbol="X", meaning="final"))
    line.look_at_refusals()
    (said,) = caplog.records
    assert said.getMessage().endswith(words)


class Silent:
    def send(self, frame: bytes) -> None:
        """Send nothing."""

    def hang_up(self, reason: str) -> None:
        """Do nothing."""


async def test_what_comes_together_with_the_answer_to_the_handshake_is_not_lost() -> None:
    """An exchange whose address names the topic sends its book at once; nothing would send it again."""
    published: list[Record] = []
    bus = Bus("test")
    bus.attach(lambda batch: published.extend(batch.records))
    stream = structs.replace(STREAM, url=lambda _: "wss://toy.example/A", channels={"book": "b"}, acknowledges=False)

    async def address() -> Address:
        return Address("wss://toy.example/A")

    async def answered(_: Address, listener: LineListener) -> Line:
        listener.frames([b'["whole", "9"]'], NOW)
        listener.frames([b'["bid", "8"]'], NOW)
        listener.gone("that was all")
        return Silent()

    network = Network(answered, fetch, lambda: NOW)
    session = Session("toy", stream, conn="toy", instruments={}, subscriptions=[Subscription("book", "A")])
    rest = Rest(network, EXCHANGE)
    arbiter = LineArbiter(stream)
    arbiter.join(session)
    await Connection(session, bus=bus, arbiter=arbiter, network=network, rest=rest).run(address)
    books = [record for record in published if isinstance(record, BookSnapshot | BookDelta)]
    assert [record.bids for record in books] == [[("9", "1")], [("8", "1")]]


async def test_what_one_read_brings_is_one_batch() -> None:
    (batch,) = Lines(1).say(0, ["trade", 1], ["trade", 2])
    assert [(record.sequence, record.offset) for record in batch] == [(1, 1), (2, 2)]


async def test_an_announced_end_asks_for_a_successor_and_ends_nothing() -> None:
    lines = Lines(1)
    (batch,) = lines.say(0, ["trade", 1], ["bye"], ["trade", 2])
    assert [record.sequence for record in batch] == [1, 2]
    assert lines.lines[0].close_reason is None
    assert lines.lines[0].session.reconnect_reason == "the exchange is about to close the connection: maintenance"
    assert [record.sequence for (record,) in lines.say(0, ["trade", 3])] == [3]


async def test_a_line_that_takes_over_in_the_middle_of_a_read_gives_its_book_as_of_then() -> None:
    """Not as of the end of the read, which holds the deltas that are published after it."""
    lines = Lines(2, lasting=True)
    lines.say(0, ["whole", "5"])
    lines.say(1, ["whole", "5"])
    lines.arbiter.leave(lines.lines[0].session)
    (batch,) = lines.say(1, ["bid", "6"], ["bid", "7"], ["bid", "8"])
    (whole, *deltas) = batch
    assert isinstance(whole, BookSnapshot)
    assert whole.bids == [("6", "1"), ("5", "1")]
    assert [delta.bids for delta in deltas if isinstance(delta, BookDelta)] == [[("7", "1")], [("8", "1")]]


async def test_a_line_that_is_left_alone_without_a_book_goes_on_with_the_gap() -> None:
    """Until it has the book: what its reader has is not the exchange's any more."""
    lines = Lines(1)
    lines.say(0, ["whole", "5"])
    old = lines.lines[0].session
    new = Session("toy", STREAM, conn="toy/main.1#9", instruments={})
    lines.arbiter.join(new)
    new.topics.known("book", "A", NOW)
    lines.arbiter.leave(old)
    out = lines.arbiter.merge(old, old.close("disconnect", NOW), NOW) + lines.arbiter.settle(NOW)
    assert [(gap.phase, gap.cause) for gap in out if isinstance(gap, Gap)] == [("open", "disconnect")]
    later = new.receive([b'["whole", "6"]'], NOW)
    assert [type(record) for record in later] == [BookSnapshot, Gap]


STATES = Stream(
    channels={"status": "s"},
    subscribe=lambda _, __: (),
    parse=lambda frame: (Status(raw_symbol="A", state="unknown", reason=frame.decode()),),
)


async def test_a_state_that_is_not_known_is_counted_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whichever connection of the stream it comes over; what a connection has told already is no record."""
    memory, network, published = Memory(), Network(dial, fetch, lambda: NOW), []
    bus = Bus("test")
    bus.attach(lambda batch: published.extend(batch.records))
    for number in (1, 2):
        session = Session("toy", STATES, conn=f"toy/main.1#{number}", instruments={}, memory=memory)
        line = Connection(
            session,
            bus=bus,
            arbiter=LineArbiter(STATES),
            network=network,
            rest=Rest(network, EXCHANGE),
        )
        line.frames([b"NAP", b"NAP"], NOW)
        line._say()
    assert [(record.state, record.reason) for record in published if isinstance(record, Status)] == [
        ("unknown", "NAP")
    ] * 2
    assert memory.words.told == {"a state that is not known, and is told as such: 'NAP'": 4}
    assert [record.getMessage() for record in caplog.records] == [
        "toy/main.1#1: a state that is not known, and is told as such: 'NAP'"
    ]


def test_a_state_is_told_when_it_changes_and_anew_behind_a_gap() -> None:
    session = Session("toy", STATES, conn="toy/main.1#1", instruments={})

    def told(*frames: bytes) -> list[str | None]:
        return [record.reason for record in session.receive(frames, NOW) if isinstance(record, Status)]

    assert told(b"OPEN", b"OPEN", b"SHUT", b"SHUT", b"OPEN") == ["OPEN", "SHUT", "OPEN"]
    session.close("disconnect", NOW)
    assert told(b"OPEN", b"OPEN") == ["OPEN"]


class Heard(Line):
    """A line that keeps what is sent, and when."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, str]] = []

    def send(self, frame: bytes) -> None:
        self.sent.append((seconds(), frame.decode()))

    def hang_up(self, _: str) -> None:
        pass


def frames(op: str) -> Callable[[Sequence[Subscription], int], Iterable[bytes]]:
    return lambda wanted, _: [f"{op}{s.raw_symbol}".encode() for s in wanted]


@hurried
async def test_a_topic_is_not_left_before_a_limit_allows_it_to_be_asked_for_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One more request is allowed in this window: two must go, so both wait, and until when is told."""
    caplog.set_level("INFO")
    stream = structs.replace(
        STREAM, url="wss://toy.example", subscribe=frames("+"), unsubscribe=frames("-"), pace=0, patience=1e9
    )
    line = Heard()

    async def open_line(_: Address, __: LineListener) -> Line:
        return line

    async def address() -> Address:
        return Address("wss://toy.example")

    network = Network(open_line, fetch, lambda: Now(NOW.wall + int(seconds() * 1e9), int(seconds() * 1e9)))
    wanted = [Subscription("trades", name) for name in "AB"]
    session = Session("toy", stream, conn="toy/main.1#1", instruments={}, subscriptions=wanted)
    arbiter = LineArbiter(stream)
    arbiter.join(session)
    connection = Connection(
        session, bus=Bus("test"), arbiter=arbiter, network=network, rest=Rest(network, EXCHANGE), requests=(3, 60.0)
    )
    task = asyncio.create_task(connection.run(address))
    await asyncio.sleep(5)
    session.subscriptions.resubscribe(wanted[:1], connection.session.moment.mono)
    await asyncio.sleep(5)
    assert line.sent == [(0, "+A"), (0, "+B")]
    assert connection.why_unsent(("trades", "A")) == "it waits for the limit of 3 requests in 60 s until 08:54:23 UTC"
    assert connection.why_unsent(("trades", "B")) is None
    assert caplog.text.count("what is asked for waits: it waits for the limit of 3 requests") == 1
    await asyncio.sleep(60)
    assert [(63 < at < 65, said) for at, said in line.sent[2:]] == [(True, "-A"), (True, "+A")]
    assert connection.why_unsent(("trades", "A")) is None
    task.cancel()
