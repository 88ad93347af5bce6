"""BTC Markets: checksums over what was sent, and changes of before the whole book, which may come behind it."""

from zlib import crc32

from aggregator.book import OrderBook
from aggregator.exchange import Subscription
from aggregator.records import BookDelta, BookSnapshot
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.btcmarkets import EXCHANGE, asking, checksum

BIDS = [("122668.05", "0.05"), ("122668", "10")]
ASKS = [("0.00000013", "1.50")]
WHOLE = (
    b'{"channel":"orderbookUpdate","marketId":"BTC-AUD","snapshot":true,"timestamp":"2026-09-23T04:43:00.123Z",'
    b'"snapshotId":1790138580123000,"bids":[["100","1",1]],"asks":[["101","1",1]],"messageType":"orderbookUpdate"}'
)


def change(stamp: int, size: str, said: int) -> bytes:
    return (
        f'{{"marketId":"BTC-AUD","timestamp":"2026-09-23T04:43:00.123Z","snapshotId":{stamp},'
        f'"bids":[["100","{size}",1]],"asks":[],"checksum":"{said}","messageType":"orderbookUpdate"}}'
    ).encode()


def test_the_checksum_drops_points_and_leading_zeros_and_nothing_else() -> None:
    assert checksum(OrderBook(BIDS, ASKS), None) == crc32(b"1226680551226681013150")


def test_a_change_of_before_the_whole_book_is_passed_over_and_one_of_its_moment_applies() -> None:
    stream = EXCHANGE.streams[0]
    session = Session("btcmarkets", stream, conn="test", instruments={})
    session.subscribe([Subscription("book", "BTC-AUD")], Now(1, 1))
    frames = [
        WHOLE,
        change(1790138580000000, "9", 1),  # its checksum is of another book
        change(1790138580123000, "2", crc32(b"10021011")),
        change(1790138580123000, "3", crc32(b"10031011")),
    ]
    given = [r for r in session.receive(frames, Now(2, 2)) if isinstance(r, BookSnapshot | BookDelta)]
    assert [r.bids for r in given] == [[("100", "1")], [("100", "2")], [("100", "3")]]


def test_a_request_adds_and_asks_for_heartbeats_too() -> None:
    wanted = [Subscription("bbo", "BTC-AUD"), Subscription("trades", "ETH-AUD")]
    assert list(asking("addSubscription", "heartbeat")(wanted, 1)) == [
        b'{"messageType":"addSubscription","channels":["tick","heartbeat"],"marketIds":["BTC-AUD"]}',
        b'{"messageType":"addSubscription","channels":["trade","heartbeat"],"marketIds":["ETH-AUD"]}',
    ]
