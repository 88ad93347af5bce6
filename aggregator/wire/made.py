"""Records that frames of many exchanges give alike."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from aggregator.records import Bbo, Candle, Levels, Record
from aggregator.wire.numbers import Text, nonzero, optional, text
from aggregator.wire.times import end_of

R = TypeVar("R", bound=Record)
T = TypeVar("T")


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
    bid, ask = nonzero(bid), nonzero(ask)
    return Bbo(
        raw_symbol=raw_symbol,
        bid_price=bid,
        bid_size=None if bid is None else optional(bid_size),
        ask_price=ask,
        ask_size=None if ask is None else optional(ask_size),
        ts_event=ts_event,
        ts_sent=ts_sent,
        sequence=sequence,
    )


def candle(
    raw_symbol: str,
    interval: str,
    start: int,
    prices: tuple[Text, Text, Text, Text],
    *,
    base: Text = None,
    quote: Text = None,
    trades: int | None = None,
) -> Candle:
    """Give a candle that begins at `start` (ns), with its prices in this order: open, high, low, close."""
    first, high, low, last = prices
    return Candle(
        raw_symbol=raw_symbol,
        interval=interval,
        ts_open=start,
        ts_close=end_of(interval, start),
        open=text(first),
        high=text(high),
        low=text(low),
        close=text(last),
        base_volume=optional(base),
        quote_volume=optional(quote),
        trades=trades,
    )


def past(records: Iterable[R]) -> list[R]:
    """Mark what is from before the subscription: exchanges send their last trades first.

    Where they come newest first, give them `reversed`.
    """
    found = list(records)
    for record in found:
        record.flags = ("snapshot",)
    return found


def unseen(rows: Sequence[T], before: Sequence[T] | None, record: Callable[[T], R]) -> list[R]:
    """Read the trades that a list of the last ones, newest first, has in front of what the list `before` held.

    This is for exchanges that send such a list again and again, without ids. Where there was none before, all are from
    before the subscription. The oldest comes first.
    """
    if before is None:
        return past(record(row) for row in reversed(rows))
    new = next(n for n in range(len(rows) + 1) if rows[n:] == before[: len(rows) - n])
    return [record(row) for row in reversed(rows[:new])]


def oldest_first(trades: Iterable[R]) -> list[R]:
    """Put the trades of one frame in the order of their times, where the exchange does not say in which they come.

    Those of one time stay as they stand, or are turned with all the others where the newest stands first.
    """
    found = list(trades)
    if len(found) > 1:
        if (found[0].ts_event or 0) > (found[-1].ts_event or 0):
            found.reverse()
        found.sort(key=_moment)
    return found


def _moment(record: Record) -> int:
    return record.ts_event or 0


def sides(changes: Iterable[tuple[str, str, str]], bid: str = "buy") -> tuple[Levels, Levels]:
    """Bids and asks of changes `[side, price, size]`; `bid` is the word for the bids' side.

    >>> sides([("buy", "100.1", "2"), ("sell", "100.2", "0")])
    ([('100.1', '2')], [('100.2', '0')])
    """
    bids: Levels = []
    asks: Levels = []
    for side, price, size in changes:
        (bids if side == bid else asks).append((text(price), text(size)))
    return bids, asks
