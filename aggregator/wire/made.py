"""Records that frames of many exchanges give alike."""

from collections.abc import Iterable
from typing import TypeVar

from aggregator.records import Bbo, Levels, Record
from aggregator.wire.numbers import Text
from aggregator.wire.prices import best

R = TypeVar("R", bound=Record)


def bbo(
    raw_symbol: str | None,
    bid: Text,
    bid_size: Text,
    ask: Text,
    ask_size: Text,
    *,
    ts_event: int | None = None,
    ts_sent: int | None = None,
    sequence: int | None = None,
) -> Bbo:
    """The best prices, of which each side is read as `best` does: no price, or one of nothing, is an empty side."""
    bid_price, bid_size = best(bid, bid_size)
    ask_price, ask_size = best(ask, ask_size)
    return Bbo(
        raw_symbol=raw_symbol,
        bid_price=bid_price,
        bid_size=bid_size,
        ask_price=ask_price,
        ask_size=ask_size,
        ts_event=ts_event,
        ts_sent=ts_sent,
        sequence=sequence,
    )


def past(records: Iterable[R]) -> list[R]:
    """Mark what is from before the subscription: exchanges send their last trades first.

    Where they come newest first, give them `reversed`.
    """
    found = list(records)
    for record in found:
        record.flags = ("snapshot",)
    return found


def sides(changes: Iterable[tuple[str, str, str]], bid: str = "buy") -> tuple[Levels, Levels]:
    """Bids and asks of changes `[side, price, size]`; `bid` is the word for the bids' side.

    >>> sides([("buy", "100.1", "2"), ("sell", "100.2", "0")])
    ([('100.1', '2')], [('100.2', '0')])
    """
    bids: Levels = []
    asks: Levels = []
    for side, price, size in changes:
        (bids if side == bid else asks).append((price, size))
    return bids, asks
