"""When a whole book is asked for, how often, and by which way."""

from collections import deque

from aggregator.exchange import Request, Snapshot, Stream, Subscription
from aggregator.records import SECOND_NS
from aggregator.session.resync import ANSWER_NS, LAST_RETRY_NS, BookResyncs
from aggregator.session.subscriptions import Ask, Subscriptions

BY_REST = Snapshot(request=lambda s: Request(f"https://toy.example/book/{s}"))
BY_FRAME = Snapshot(ask=lambda s, number: f"book {s} {number}".encode())
BOTH = Snapshot(request=lambda s: Request(f"https://toy.example/book/{s}"), in_band=True)
STREAM = Stream(
    url="wss://toy.example",
    channels={"book": "b"},
    subscribe=lambda wanted, _: [b"+" + s.raw_symbol.encode() for s in wanted],
    unsubscribe=lambda wanted, _: [b"-" + s.raw_symbol.encode() for s in wanted],
    parse=lambda _: (),
)


class Needing:
    """The books of one connection, and the time."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self.outbox: deque[bytes] = deque()
        self.fetched: list[str] = []
        self.topics = Subscriptions(STREAM, self.outbox)
        self.resyncs = BookResyncs(snapshot, self.topics, self.outbox, self.fetched.append)
        self.now = 100 * SECOND_NS

    def subscribe(self) -> None:
        self.topics.subscribe([Subscription("book", "A")], self.now)
        self.said()

    def said(self) -> list[bytes]:
        """What has left since."""
        found = list(self.outbox)
        for frame in found:
            if isinstance(frame, Ask):
                self.topics.sent(frame, self.now)
        self.outbox.clear()
        return found

    def fails(self) -> None:
        """The last try brought no book that is of use."""
        self.resyncs.need("A", self.now, failed=True)

    def pause(self) -> float:
        """The seconds until the book is asked for once more."""
        begun, asked = self.now, len(self.fetched)
        while len(self.fetched) == asked:
            self.now += SECOND_NS // 4
            self.resyncs.send(self.now)
        return (self.now - begun) / SECOND_NS


def test_a_book_is_asked_for_at_once_and_only_once() -> None:
    book = Needing(BY_REST)
    book.resyncs.need("A", book.now)
    book.resyncs.need("A", book.now)
    book.resyncs.send(book.now)
    book.resyncs.send(book.now + SECOND_NS)
    assert book.fetched == ["A"]
    assert (book.resyncs.knows("A"), book.resyncs.knows("B")) == (True, False)


def test_the_pause_doubles_with_each_failure_up_to_a_minute() -> None:
    book = Needing(BY_REST)
    book.resyncs.need("A", book.now)
    book.resyncs.send(book.now)
    pauses = []
    for _ in range(9):
        book.fails()
        pauses.append(book.pause())
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_book_that_has_held_for_a_minute_is_asked_for_at_once_when_it_is_lost() -> None:
    book = Needing(BY_REST)
    book.resyncs.need("A", book.now)
    book.resyncs.send(book.now)
    book.fails()
    book.pause()
    book.now += LAST_RETRY_NS + 1
    book.resyncs.need("A", book.now)
    book.resyncs.send(book.now)
    assert len(book.fetched) == 3


def test_a_frame_asks_on_the_socket_where_the_exchange_has_one() -> None:
    book = Needing(BY_FRAME)
    book.resyncs.need("A", book.now)
    book.resyncs.send(book.now)
    assert (book.said(), book.fetched) == ([b"book A 1"], [])


def test_without_any_way_to_ask_the_topic_is_subscribed_anew() -> None:
    book = Needing(None)
    book.subscribe()
    book.resyncs.need("A", book.now)
    book.resyncs.send(book.now)
    assert book.said() == [b"-A", b"+A"]


def test_where_two_ways_lead_to_a_book_the_other_is_tried_after_a_failure() -> None:
    book = Needing(BOTH)
    book.subscribe()
    for _ in range(3):
        book.resyncs.need("A", book.now, failed=True)
        book.now += LAST_RETRY_NS
        book.resyncs.send(book.now)
    assert (book.fetched, book.said()) == (["A", "A"], [b"-A", b"+A"])


def test_a_socket_that_does_not_answer_in_time_has_failed_and_a_request_may_take_longer() -> None:
    socket, rest = Needing(BY_FRAME), Needing(BY_REST)
    for book in (socket, rest):
        book.resyncs.need("A", book.now)
        book.resyncs.send(book.now)
        for _ in range(2):  # the second time it has been asked for again, and is not due
            book.now += ANSWER_NS + 1
            book.resyncs.remind("A", book.now)
        book.now += SECOND_NS
        book.resyncs.send(book.now)
    assert (len(socket.outbox), len(rest.fetched)) == (2, 1)


def test_what_is_forgotten_is_not_asked_for() -> None:
    book = Needing(BY_REST)
    book.resyncs.need("A", book.now)
    book.resyncs.forget("A")
    book.resyncs.send(book.now)
    assert (book.fetched, book.resyncs.knows("A")) == ([], False)
