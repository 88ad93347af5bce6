"""Delta Exchange: the checksum of a book, over what was sent, and requests that name what acknowledgements name."""

from zlib import crc32

from aggregator.book import OrderBook
from aggregator.exchange import Subscription
from connectors.delta import EXCHANGE, asking, checksum

ASKS = [(f"{100 + n}.50", str(n)) for n in range(1, 12)]
BIDS = [(f"{100 - n}.0", str(n)) for n in range(1, 4)]


def test_the_checksum_is_of_ten_asks_and_ten_bids_as_they_were_sent() -> None:
    asks = "101.50:1,102.50:2,103.50:3,104.50:4,105.50:5,106.50:6,107.50:7,108.50:8,109.50:9,110.50:10"
    assert checksum(OrderBook(BIDS, ASKS), None) == crc32(f"{asks}|99.0:1,98.0:2,97.0:3".encode())
    assert checksum(OrderBook(BIDS, []), None) == crc32(b"|99.0:1,98.0:2,97.0:3")


def test_a_request_names_a_channel_and_its_symbols() -> None:
    wanted = [
        Subscription("mark_price", "BTCUSDT"),
        Subscription("status", "BTCUSDT"),
        Subscription("ticker", "BTCUSDT"),
        Subscription("open_interest", "BTCUSDT"),
    ]
    assert list(asking("subscribe")(wanted, 1)) == [
        b'{"type":"subscribe","payload":{"channels":[{"name":"mark_price","symbols":["MARK:BTCUSDT"]}]}}',
        b'{"type":"subscribe","payload":{"channels":[{"name":"system_status"}]}}',
        b'{"type":"subscribe","payload":{"channels":[{"name":"ticker","symbols":["BTCUSDT"]}]}}',
    ]


def test_an_index_is_asked_for_by_its_own_name() -> None:
    figures = next(stream for stream in EXCHANGE.streams if stream.name == "figures")
    assert set(figures.named) == {"index_price"}
