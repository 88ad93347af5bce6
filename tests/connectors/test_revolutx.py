"""Revolut X: a pair has two books, and all that is asked for is of one of them."""

import pytest

from aggregator.exchange import Poll
from connectors.revolutx import EXCHANGE

POLLS = {feed.name: feed for feed in EXCHANGE.feeds if isinstance(feed, Poll)}


@pytest.mark.parametrize("name", POLLS)
def test_a_poll_names_the_region(name: str) -> None:
    assert "region=EEA" in POLLS[name].request("ABC/USD").url.partition("?")[2].split("&")


def test_the_list_names_the_region() -> None:
    (request,) = EXCHANGE.listing.requests
    assert request.url.endswith("/configuration/pairs?region=EEA")
