"""Crossed books: a reason to doubt one, unless the exchange itself tells such books."""

import pytest
from msgspec import structs

from aggregator.catalog.registry import load_exchange
from aggregator.records import Record
from aggregator.session.moment import Now
from aggregator.session.session import Session

START = 1_760_000_000_000_000_000
WHOLE = (
    b'{"type":"subscribed","id":"BTC-USD","channel":"v4_orderbook",'
    b'"contents":{"bids":[{"price":"100","size":"1"}],"asks":[{"price":"%s","size":"2"}]}}'
)
CROSSING = b'{"type":"channel_data","id":"BTC-USD","channel":"v4_orderbook","contents":{"bids":[["102","1"]]}}'


def told(frames: list[bytes], *, crosses: bool) -> list[Record]:
    exchange = load_exchange("dydx")
    assert exchange is not None
    stream = structs.replace(next(s for s in exchange.streams if "book" in s.channels), crosses=crosses)
    session = Session("dydx", stream, conn="test", instruments={})
    return [record for frame in frames for record in session.receive([frame], Now(START, START))]


def kinds(records: list[Record]) -> list[str]:
    return [str(type(r).__struct_config__.tag) for r in records if str(type(r).__struct_config__.tag) != "health"]


@pytest.mark.parametrize(("crosses", "then"), [(True, ["book_delta"]), (False, ["gap"])])
def test_a_change_that_crosses_the_book_is_told_or_doubted(crosses: bool, then: list[str]) -> None:
    """Of dYdX it is the normal state until the next block (its documentation, 2026)."""
    assert kinds(told([WHOLE % b"101", CROSSING], crosses=crosses)) == ["book_snapshot", *then]


@pytest.mark.parametrize(("crosses", "first"), [(True, ["book_snapshot"]), (False, [])])
def test_a_whole_book_that_is_crossed_likewise(crosses: bool, first: list[str]) -> None:
    assert [kind for kind in kinds(told([WHOLE % b"99"], crosses=crosses)) if kind != "gap"] == first
