"""BitTrade's book: the whole one lies within the span of a change, which is the first that follows it."""

from aggregator.exchange import Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.bittrade import EXCHANGE

WHOLE = (
    b'{"id":"2","rep":"market.abcjpy.mbp.150","status":"ok","ts":5,'
    b'"data":{"seqNum":70,"bids":[[100,1]],"asks":[[101,1]]}}'
)


def change(prev: int, last: int) -> bytes:
    tick = b'{"seqNum":%d,"prevSeqNum":%d,"bids":[[99,2]],"asks":[]}' % (last, prev)
    return b'{"ch":"market.abcjpy.mbp.150","ts":5,"tick":' + tick + b"}"


def read(*frames: bytes) -> list[Record]:
    wanted = [Subscription("book", "abcjpy")]
    session = Session("bittrade", EXCHANGE.streams[0], conn="spot", instruments={}, subscriptions=wanted)
    session.open(Now(1, 1))
    return [record for at, said in enumerate(frames, 2) for record in session.receive([said], Now(at, at))]


def test_the_change_that_spans_the_whole_book_is_the_first_that_counts() -> None:
    found = read(change(60, 68), change(68, 69), change(69, 72), WHOLE, change(72, 73))
    assert [(type(record), record.sequence) for record in found] == [
        (BookSnapshot, 70),
        (BookDelta, 72),
        (BookDelta, 73),
    ]


def test_a_change_that_does_not_name_the_one_before_it_is_a_hole() -> None:
    found = read(change(69, 72), WHOLE, change(74, 75))
    assert [type(record) for record in found] == [BookSnapshot, BookDelta, Gap]
