"""WX Network's stream: each subscription is numbered from 0, and one that is there already is not answered again."""

from msgspec import json

from aggregator.exchange import Subscription
from aggregator.records import SECOND_NS, BookDelta, BookSnapshot, Gap, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.wavesexchange import EXCHANGE, transactions

PAIR = "WAVES-8LQW8f7P5d5PZM7GtZEBgaqRPGSzS3DfPuiXrURJ4AJS"


def at(second: int) -> Now:
    return Now(second * SECOND_NS, second * SECOND_NS)


def book(number: int, second: int = 2) -> bytes:
    return json.encode({"T": "ob", "S": PAIR, "_": second * 1000, "U": number, "b": [["1.0E-4", "2.0"]]})


def opened() -> tuple[Session, list[Record]]:
    (stream,) = EXCHANGE.streams
    wanted = [Subscription("book", PAIR)]
    session = Session("wavesexchange", stream, conn="wavesexchange/main.1#1", instruments={}, subscriptions=wanted)
    session.open(at(1))
    assert [json.decode(frame) for frame in session.outbox] == [{"T": "obs", "S": PAIR, "d": 1000}]
    session.outbox.clear()
    return session, session.receive([book(0), book(1)], at(2))


def test_a_book_is_whole_at_0_and_changes_follow_it() -> None:
    _, records = opened()
    assert [(type(r), r.sequence) for r in records if isinstance(r, BookSnapshot | BookDelta)] == [
        (BookSnapshot, 0),
        (BookDelta, 1),
    ]


def test_a_hole_is_mended_by_leaving_and_subscribing_again() -> None:
    session, _ = opened()
    records = session.receive([book(3, 3)], at(3))
    assert [(r.phase, r.cause) for r in records if isinstance(r, Gap)] == [("open", "sequence")]
    told = [record for second in range(4, 9) for record in mended(session, second)]
    assert [type(r) for r in told] == [BookSnapshot, Gap, BookDelta]
    assert [r.phase for r in told if isinstance(r, Gap)] == ["close"]


def mended(session: Session, second: int) -> list[Record]:
    """The records that come where each request is answered as the exchange does."""
    session.tick(at(second))
    asked = [json.decode(frame)["T"] for frame in session.outbox]
    session.outbox.clear()
    assert asked in ([], ["u", "obs"])
    return session.receive([book(0, second), book(1, second)], at(second)) if asked else []


def test_a_ping_is_sent_back() -> None:
    session, _ = opened()
    session.receive([b'{"T":"pp","_":1795168800123}'], at(3))
    assert list(session.outbox) == [b'{"T":"pp","_":1795168800123}']


def test_trades_are_those_of_its_own_matcher() -> None:
    assert transactions(PAIR).url == (
        "https://api.wavesplatform.com/v0/transactions/exchange"
        "?amountAsset=WAVES&priceAsset=8LQW8f7P5d5PZM7GtZEBgaqRPGSzS3DfPuiXrURJ4AJS"
        "&matcher=3PEjHv3JGjcWNpYEEkif2w8NXV4kbhnoGgu&limit=100&sort=desc"
    )
