"""Independent Reserve: the checksum has eight decimals of each number, and is unsigned."""

import json
from zlib import crc32

from aggregator.book import OrderBook
from aggregator.records import Trade
from connectors.independentreserve import checksum, read_trades, whole


def test_the_checksum_is_of_bids_then_offers_with_eight_decimals() -> None:
    book = OrderBook([("2198.09", "0.16143952")], [("2201.25", "15")])
    assert checksum(book, None) == crc32(b"21980900000016143952" + b"2201250000001500000000")
    assert checksum(book, None) == 1519697650  # the exchange's own, of an example that ccxt 4.5.90 quotes


def test_numbers_are_brought_to_eight_decimals() -> None:
    assert [whole(n) for n in ("121940.01", "0.50000000", "0.000012", "15")] == [
        "12194001000000",
        "50000000",
        "1200",
        "1500000000",
    ]


def test_trades_of_one_time_are_told_oldest_first() -> None:
    """Its answers have the newest first, also among those of one time."""
    rows = [
        {
            "TradeGuid": guid,
            "PrimaryCurrencyAmount": 1,
            "SecondaryCurrencyTradePrice": 2,
            "TradeTimestampUtc": f"2026-09-23T03:22:{second}.1Z",
            "Taker": "Bid",
        }
        for guid, second in (("d", 34), ("c", 33), ("b", 33), ("a", 32))
    ]
    told = read_trades("Xbt-Aud", json.dumps({"Trades": rows}).encode())
    assert [trade.id for trade in told if isinstance(trade, Trade)] == ["a", "b", "c", "d"]
