"""Bitstamp: what its REST interface allows, and how its cache is passed."""

from aggregator.exchange import Trouble
from connectors.bitstamp import API, EXCHANGE


def test_both_of_its_budgets_are_kept() -> None:
    """400 requests a second, and 10,000 in ten minutes (its API reference, September 2026)."""
    assert EXCHANGE.limits.weights[API] == ((400, 1), (10_000, 600))


def test_a_whole_book_is_asked_for_past_the_cache() -> None:
    """Its edge answered the same book for about a second; with another parameter a fresh one came (September 2026)."""
    snapshot = EXCHANGE.streams[0].snapshot
    assert snapshot is not None
    assert snapshot.request is not None
    request = snapshot.request("btcusd")
    assert (request.url, request.fresh) == (f"{API}/order_book/btcusd/", "_")


def test_a_limit_is_told_by_a_code() -> None:
    assert EXCHANGE.trouble is not None
    for code in ("400.002", "400.067", "400.068"):
        body = f'{{"response_code":"{code}","response_explanation":"exceeded rate limit"}}'.encode()
        assert EXCHANGE.trouble(400, {}, body) == Trouble(body.decode(), is_busy=True)
    assert EXCHANGE.trouble(400, {}, b'{"response_code":"400.001"}') is None
    assert EXCHANGE.trouble(200, {}, b"[]") is None
