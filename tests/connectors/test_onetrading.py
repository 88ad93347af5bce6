"""One Trading: a request has one channel, and a book's numbers begin with the first change behind it."""

from aggregator.exchange import Subscription
from aggregator.records import BookDelta, BookSnapshot, Gap
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.onetrading import EXCHANGE, subscribe

WHOLE = (
    b'{"channel_name":"ORDER_BOOK","time":1790133754657000000,"type":"ORDER_BOOK_SNAPSHOT","instrument_code":"A_B",'
    b'"bids":[["10","1"]],"asks":[["11","1"]],"unum_bids":500,"unum_asks":500}'
)


def change(number: int) -> bytes:
    return (
        f'{{"type":"ORDER_BOOK_UPDATE","channel_name":"ORDER_BOOK","time":1790133754857000000,"instrument_code":"A_B",'
        f'"changes":[["BUY","9","{number}"]],"unum_bids":{number},"unum_asks":{number}}}'
    ).encode()


def test_a_request_has_one_channel() -> None:
    wanted = [Subscription("ticker", "A_B"), Subscription("candles", "A_B", "4h"), Subscription("book", "A_B")]
    assert list(subscribe(wanted, 1)) == [
        b'{"type":"SUBSCRIBE","channels":[{"name":"MARKET_TICKER","instrument_codes":["A_B"],"price_points_mode":"INLINE"}]}',
        (
            b'{"type":"SUBSCRIBE","channels":[{"name":"CANDLESTICKS","properties":[{"instrument_code":"A_B",'
            b'"time_granularity":{"unit":"HOURS","period":4}}]}]}'
        ),
        b'{"type":"SUBSCRIBE","channels":[{"name":"ORDER_BOOK","instrument_codes":["A_B"]}]}',
    ]


def test_the_first_change_gives_the_number_and_a_hole_behind_it_is_a_gap() -> None:
    session = Session("onetrading", EXCHANGE.streams[0], conn="test", instruments={})
    session.subscribe([Subscription("book", "A_B")], Now(1, 1))
    given = session.receive([WHOLE, change(90), change(91), change(93)], Now(2, 2))
    books = [r for r in given if isinstance(r, BookSnapshot | BookDelta)]
    assert [r.sequence for r in books] == [None, 90, 91]
    assert [(r.expected, r.got) for r in given if isinstance(r, Gap) and r.cause == "sequence"] == [(92, 93)]
