"""The figures of a market at GRVT, and the records that they make.

https://api-docs.grvt.io/market_data_streams/
The documentation calls a funding rate centibeeps, the exchange's own client (0.2.1, 2026) percentage points; the rate
of every quiet market, 0.01 in eight hours, is the latter.
"""

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import astuple

from aggregator.records import DAY_S, HOUR_S, Bbo, Funding, IndexPrice, MarkPrice, OpenInterest, Record, Ticker
from aggregator.wire import Text, bbo, fraction, nonzero, optional, text
from connectors.grvt.wires import Head


class FiguresWire(Struct, gc=False):
    """The figures of a market; changes leave out what is as it was."""

    event_time: int
    instrument: str
    mark_price: Text = None
    index_price: Text = None
    last_price: Text = None
    best_bid_price: Text = None
    best_bid_size: Text = None
    best_ask_price: Text = None
    best_ask_size: Text = None
    buy_volume_24h_b: Text = None
    sell_volume_24h_b: Text = None
    buy_volume_24h_q: Text = None
    sell_volume_24h_q: Text = None
    high_price: Text = None
    low_price: Text = None
    open_price: Text = None
    open_interest: Text = None
    funding_rate: Text = None
    funding_interval_hours: int | None = None
    next_funding_time: int | None = None

    def filled(self, before: "FiguresWire") -> "FiguresWire":
        """With what was said before and has not changed."""
        pairs = zip(astuple(self), astuple(before), strict=True)
        return FiguresWire(*[old if new is None or new == "" else new for new, old in pairs])

    def records(self, news: "FiguresWire") -> list[Record]:
        """The records that there is news for, filled up with what has not changed."""
        name, at, found = self.instrument, self.event_time, list[Record]()
        if news.has_statistics():
            found.append(self.ticker())
        if news.has_best() and self.best_bid_price is not None and self.best_ask_price is not None:
            found.append(self.best())
        if (news.funding_rate or news.next_funding_time is not None) and self.funding_rate:
            found.append(self.funding())
        if (size := optional(news.open_interest)) is not None:
            found.append(OpenInterest(raw_symbol=name, size=size, ts_event=at))
        if (mark := nonzero(news.mark_price)) is not None:
            found.append(MarkPrice(raw_symbol=name, price=mark, ts_event=at))
        if (index := nonzero(news.index_price)) is not None:
            found.append(IndexPrice(raw_symbol=name, price=index, ts_event=at))
        return found

    def has_statistics(self) -> bool:
        prices = self.last_price, self.high_price, self.low_price, self.open_price
        return any(prices) or self.buy_volume_24h_b is not None or self.sell_volume_24h_b is not None

    def has_best(self) -> bool:
        return any((self.best_bid_price, self.best_bid_size, self.best_ask_price, self.best_ask_size))

    def best(self) -> Bbo:
        sides = self.best_bid_price, self.best_bid_size, self.best_ask_price, self.best_ask_size
        return bbo(self.instrument, *sides, ts_event=self.event_time)

    def ticker(self) -> Ticker:
        return Ticker(
            raw_symbol=self.instrument,
            last=nonzero(self.last_price),
            open=nonzero(self.open_price),
            high=nonzero(self.high_price),
            low=nonzero(self.low_price),
            base_volume=both(self.buy_volume_24h_b, self.sell_volume_24h_b),
            quote_volume=both(self.buy_volume_24h_q, self.sell_volume_24h_q),
            window_s=DAY_S,
            ts_event=self.event_time,
        )

    def funding(self) -> Funding:
        return Funding(
            raw_symbol=self.instrument,
            rate=fraction(self.funding_rate) or "",
            interval_s=None if self.funding_interval_hours is None else self.funding_interval_hours * HOUR_S or None,
            ts_next=self.next_funding_time,
            ts_event=self.event_time,
        )


class FiguresFrame(Head, kw_only=True, gc=False):
    feed: FiguresWire


def both(bought: Text, sold: Text) -> str | None:
    """The volume of takers who bought and of those who sold, which are told apart; null where one is not told."""
    if bought in (None, "") or sold in (None, ""):
        return None
    return f"{Decimal(text(bought)) + Decimal(text(sold)):f}"
