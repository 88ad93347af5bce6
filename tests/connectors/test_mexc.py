"""MEXC's contracts: what is asked for, and how fast."""

import json

from aggregator.exchange import Subscription
from connectors.mexc import CONTRACT, EXCHANGE


def test_changes_of_a_book_are_asked_for_merged() -> None:
    """In September 2026 merged books of 150 contracts were 451 frames a second; unmerged, ETH alone was 2194."""
    (stream,) = (stream for stream in EXCHANGE.streams if stream.name == "contract")
    (frame,) = stream.subscribe([Subscription("book", "ETH_USDT")], 1)
    assert json.loads(frame) == {"method": "sub.depth", "param": {"symbol": "ETH_USDT", "compress": True}}


def test_what_is_slower_has_a_budget_of_its_own() -> None:
    """Whole books, tickers and the listing of contracts: ten in two seconds, of each (its documentation of 2026)."""
    weights = EXCHANGE.limits.weights
    assert weights[CONTRACT] == ((20, 2),)
    (stream,) = (stream for stream in EXCHANGE.streams if stream.name == "contract")
    assert stream.snapshot is not None
    assert stream.snapshot.request is not None
    for url in (stream.snapshot.request("ETH_USDT").url, EXCHANGE.listing.requests[1].url):
        longest = max((prefix for prefix in weights if url.startswith(prefix)), key=len)
        assert weights[longest] == ((10, 2),)
