"""Silence: what is said of it, when the exchange is asked, and what is done."""

import json
from collections.abc import Iterable, Sequence

import msgspec
import pytest

from aggregator.exchange import Accepted, Backfill, Event, Request, Since, Snapshot, Stream, Subscription
from aggregator.records import BookDelta, BookSnapshot, Channel, Gap, Health, Record, Ticker, Trade
from aggregator.sequence import contiguous, ordered
from aggregator.session.fetches import Fetch, Purpose
from aggregator.session.moment import Now
from aggregator.session.session import Session

SECOND = 1_000_000_000


def parse(frame: bytes) -> Iterable[Event]:
    said = json.loads(frame)
    if "ack" in said:
        return (Accepted(id=said["ack"]),)
    if "last" in said:
        return (Ticker(raw_symbol="A", last=said["last"]),)
    if "price" in said:
        return (Trade(raw_symbol="A", id=str(said["n"]), sequence=said["n"], price=said["price"], size="1"),)
    return (BookDelta(raw_symbol="A", sequence=said["n"], bids=[("1", "1")], asks=[]),)


def subscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    yield json.dumps({"id": id, "topics": [s.channel for s in wanted]}).encode()


def unsubscribe(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
    yield json.dumps({"leave": [s.channel for s in wanted]}).encode()


def since(raw_symbol: str, known: Since) -> Request:
    return Request(f"https://toy.example/trades/{raw_symbol}/{known.sequence}")


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    for number in json.loads(body):
        yield Trade(raw_symbol=raw_symbol, id=str(number), sequence=int(number), price="1", size="1")


def read_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    return BookSnapshot(raw_symbol=raw_symbol, sequence=json.loads(body), bids=[("1", "1")], asks=[("2", "1")])


STREAM = Stream(
    url="wss://toy.example",
    channels={"trades": "t", "book": "b", "ticker": "k"},
    subscribe=subscribe,
    unsubscribe=unsubscribe,
    parse=parse,
    sequence={"trades": contiguous, "book": contiguous},
    backfill=Backfill(since, read_trades),
    snapshot=Snapshot(request=lambda s: Request(f"https://toy.example/book/{s}"), parse=read_book),
    patience=1e6,
)


class Talk:
    """A session and the time, second by second."""

    def __init__(self, channel: str, stream: Stream = STREAM, audit: float | None = None) -> None:
        wanted = [Subscription(channel, "A")]  # type: ignore[arg-type]
        self.session = Session("toy", stream, conn="c", instruments={}, subscriptions=wanted, audit=audit)
        self.second = 100
        self.records: list[Record] = self.session.open(self.now)
        self._sent = 0
        self.is_held = False  # nothing leaves: a limit is reached
        self._send()
        self.say(ack=1)

    @property
    def now(self) -> Now:
        return Now(self.second * SECOND, self.second * SECOND)

    def say(self, **said: object) -> None:
        self.records += self.session.receive([json.dumps(said).encode()], self.now)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.second += 1
            self.records += self.session.tick(self.now)
            self._send()

    def _send(self) -> None:
        """Let what is new in the outbox leave, and stay to be looked at."""
        if self.is_held:
            return
        for frame in list(self.session.outbox)[self._sent :]:
            self.session.sent(frame, self.now)
        self._sent = len(self.session.outbox)

    def answer(self, body: object) -> None:
        self.records += self.session.answer(self.wanted(), json.dumps(body).encode(), self.now)

    def wanted(self) -> Fetch:
        return self.session.wanted.popleft()

    def states(self) -> list[str]:
        """Each state once, as it changes."""
        found: list[str] = []
        for record in self.records:
            if isinstance(record, Health) and (not found or found[-1] != record.state):
                found.append(record.state)
        return found

    def gaps(self) -> list[tuple[str, str]]:
        return [(gap.cause, gap.phase) for gap in self.records if isinstance(gap, Gap)]


def test_what_never_delivers_is_known_within_its_floor() -> None:
    talk = Talk("ticker")
    talk.wait(15)
    assert talk.states() == ["subscribing", "syncing", "stalled"]
    assert talk.gaps() == [("no_first_frame", "open")]
    assert b'{"leave": ["ticker"]}' in talk.session.outbox


def test_trades_may_be_silent_from_the_first() -> None:
    talk = Talk("trades")
    talk.wait(15)
    assert talk.states() == ["subscribing", "syncing", "stalled"]
    assert talk.gaps() == []


def test_a_dead_topic_is_asked_for_ever_more_slowly_and_then_its_connection_replaced_once() -> None:
    talk = Talk("ticker")
    asked = []
    for _ in range(300):
        before = len(talk.session.outbox)
        talk.wait(1)
        if len(talk.session.outbox) > before:
            asked.append(talk.second - 100)
    first, second = asked[0], asked[1]
    assert 10 <= first <= 12
    assert second - first >= 10
    assert talk.session.reconnect_reason is not None
    successor = Session("toy", STREAM, conn="d", instruments={}, carried=talk.session.carried(), subscriptions=[])
    assert successor.carried()["ticker", "A"].asked >= 3
    assert successor.reconnect_reason is None


def test_silence_of_what_still_waits_to_be_asked_for_is_no_fault() -> None:
    """Found by the model of lives (seed 40000793): a limit of six requests a minute was spent on what waited for it."""
    talk = Talk("ticker")
    talk.is_held = True
    talk.wait(300)
    assert list(talk.session.outbox)[1:] == [b'{"leave": ["ticker"]}', b'{"id": 3, "topics": ["ticker"]}']
    assert talk.session.reconnect_reason is None, "a new connection would have to wait, too"
    talk.is_held = False
    talk.wait(100)
    assert talk.session.reconnect_reason is not None


def test_where_a_topic_cannot_be_left_the_connection_is_replaced() -> None:
    import msgspec

    talk = Talk("ticker", msgspec.structs.replace(STREAM, unsubscribe=None))
    talk.wait(15)
    assert talk.session.reconnect_reason == "ticker of A stays silent"


def quiet_trades() -> Talk:
    talk = Talk("trades")
    for number in range(1, 4):
        talk.say(n=number, price="5")
        talk.wait(1)
    talk.wait(13)
    return talk


def test_a_silence_is_probed_and_is_quiet_where_nothing_has_happened() -> None:
    talk = quiet_trades()
    assert talk.session.wanted[0].purpose == "probe"
    assert talk.session.wanted[0].request.url.endswith("/A/3")
    talk.answer([1, 2, 3])
    talk.wait(2)
    assert talk.states()[-1] == "quiet"
    assert talk.gaps() == []
    talk.say(n=4, price="5")
    talk.wait(1)
    assert talk.states()[-1] == "live"
    assert talk.gaps() == []


def test_a_silence_is_a_stall_where_the_exchange_has_gone_on() -> None:
    talk = quiet_trades()
    talk.answer([2, 3, 4, 5])
    assert talk.states()[-1] == "stalled"
    assert talk.gaps() == [("stalled", "open")]
    assert any(b"leave" in frame for frame in talk.session.outbox)
    talk.say(n=6, price="5")
    talk.wait(1)
    missing = talk.wanted()
    assert (missing.purpose, missing.request.url[-4:]) == ("backfill", "/A/3")
    talk.records += talk.session.answer(missing, b"[3, 4, 5, 6]", talk.now)
    trades = [record for record in talk.records if isinstance(record, Trade)]
    assert sorted(trade.sequence or 0 for trade in trades) == [1, 2, 3, 4, 5, 6]
    (closed,) = [gap for gap in talk.records if isinstance(gap, Gap) and gap.phase == "close"]
    assert (closed.cause, closed.repair, closed.missed, closed.recovered) == ("stalled", "full", 2, 2)


@pytest.mark.parametrize("body", ["x", {"no": 1}, [None]])
def test_an_answer_to_a_probe_that_cannot_be_read_is_said(body: object) -> None:
    talk = quiet_trades()
    talk.answer(body)
    assert talk.gaps() == [("parse_error", "close")]


@pytest.mark.parametrize("purpose", ["backfill", "audit", "probe"])
def test_an_answer_that_cannot_be_read_puts_no_book_in_doubt(purpose: Purpose) -> None:
    """It is no frame of the stream: nothing that a book consists of is lost with it."""
    talk = live_book(stream=msgspec.structs.replace(STREAM, sequence={"trades": contiguous, "book": ordered}))
    channel: Channel = "trades" if purpose == "backfill" else "book"
    talk.session.topics.known(channel, "A", talk.now)
    talk.records += talk.session.answer(Fetch(purpose, channel, "A", Request("https://toy.example")), b"junk", talk.now)
    assert talk.gaps() == [("parse_error", "close")]
    assert len(talk.session.books(talk.now)) == 1


def live_book(audit: float | None = None, stream: Stream = STREAM) -> Talk:
    talk = Talk("book", stream, audit=audit)
    talk.say(n=1)
    talk.answer(1)
    for number in range(2, 5):
        talk.say(n=number)
        talk.wait(1)
    return talk


def test_a_silent_book_is_stalled_where_the_exchange_is_further() -> None:
    talk = live_book()
    talk.wait(13)
    probe = talk.session.wanted[0]
    assert probe.purpose == "probe"
    talk.answer(9)
    assert talk.gaps() == [("stalled", "open")]
    assert talk.session.books(talk.now) == []


def test_a_book_of_nothing_new_stays_good() -> None:
    talk = live_book()
    talk.wait(13)
    talk.answer(4)
    assert talk.gaps() == []
    assert len(talk.session.books(talk.now)) == 1


def reasons(talk: Talk) -> list[str]:
    return [str(r.reason) for r in talk.records if isinstance(r, Health) and str(r.reason).startswith("audit")]


def test_an_audit_compares_at_the_answers_number() -> None:
    talk = live_book(audit=5)
    talk.wait(6)
    assert talk.session.wanted[0].purpose == "audit"
    talk.say(n=5)
    talk.answer(6)  # which the stream has not reached yet
    talk.wait(1)
    assert reasons(talk) == []
    talk.say(n=6)
    talk.say(n=7)
    talk.wait(1)
    assert reasons(talk) == ["audit: 2 levels agree with the exchange's book"]
    assert talk.gaps() == []


def test_an_audit_that_finds_a_difference_opens_a_gap() -> None:
    talk = live_book(audit=5)
    talk.records += talk.session.receive([b'{"n": 5}'], talk.now)
    book = talk.session.topics.get("book", "A").book  # type: ignore[union-attr]
    assert book is not None
    book.apply([("0.5", "7")], [])  # what never should be
    talk.wait(6)
    talk.answer(5)
    talk.wait(1)
    assert reasons(talk) == ["audit: 1 of 3 levels are not the exchange's"]
    assert talk.gaps() == [("checksum", "open")]


def test_an_audit_of_a_moment_that_never_was_says_so() -> None:
    talk = live_book(audit=5)
    talk.wait(6)
    talk.answer(2)
    talk.wait(1)
    assert reasons(talk) == ["audit: the exchange's book is of a moment that ours never stood at"]


def test_a_dead_connection_ends() -> None:
    talk = Talk("trades", msgspec.structs.replace(STREAM, patience=20))
    talk.wait(20)
    assert talk.session.close_reason is None
    talk.wait(1)
    assert talk.session.close_reason == "c: silent for 20 s"
