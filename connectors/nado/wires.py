"""The events of Nado in its own spelling, and the records that they make.

https://docs.nado.xyz/developer-resources/api/subscriptions
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.exchange import Event, Ignored
from aggregator.records import (
    DAY_S,
    HOUR_S,
    MS_NS,
    SECOND_NS,
    Bbo,
    BookDelta,
    Candle,
    Levels,
    Liquidation,
    OpenInterest,
    Trade,
)
from aggregator.wire import bbo, end_of, unscaled

LENGTHS = {60: "1m", 300: "5m", 900: "15m", HOUR_S: "1h", 2 * HOUR_S: "2h", 4 * HOUR_S: "4h", DAY_S: "1d"}
LENGTHS[7 * DAY_S] = "1w"
PLACES = 18
NO_ASK = 2**127 - 1  # the greatest price that the exchange can write: nobody offers


def x18(number: int) -> str:
    return unscaled(number, PLACES)


class TradeWire(Struct, gc=False):
    timestamp: int
    product_id: int
    price: int
    taker_qty: int
    is_taker_buyer: bool

    def event(self) -> Event:
        return Trade(
            raw_symbol=str(self.product_id),
            price=x18(self.price),
            size=x18(self.taker_qty),
            side="buy" if self.is_taker_buyer else "sell",
            ts_event=self.timestamp,
        )


class BookWire(Struct, gc=False):
    min_timestamp: int
    max_timestamp: int
    last_max_timestamp: int
    product_id: int
    bids: list[tuple[int, int]] = []
    asks: list[tuple[int, int]] = []

    def event(self) -> Event:
        return BookDelta(
            raw_symbol=str(self.product_id),
            bids=levels(self.bids),
            asks=levels(self.asks),
            sequence=self.max_timestamp,
            sequence_first=self.min_timestamp,
            sequence_prev=self.last_max_timestamp,
            ts_event=self.max_timestamp,
        )


def levels(rows: list[tuple[int, int]]) -> Levels:
    return [(x18(price), x18(size)) for price, size in rows]


def priced(price: int) -> str | None:
    """A best price; null where the side is empty."""
    return x18(price) if 0 < price < NO_ASK else None


def best(price: int, size: int) -> tuple[str | None, str | None]:
    found = priced(price) if size else None
    return (None, None) if found is None else (found, x18(size))


class BestWire(Struct, gc=False):
    timestamp: int
    product_id: int
    bid_price: int = 0
    bid_qty: int = 0
    ask_price: int = 0
    ask_qty: int = 0

    def event(self) -> Event:
        bid, ask = best(self.bid_price, self.bid_qty), best(self.ask_price, self.ask_qty)
        return bbo(str(self.product_id), *bid, *ask, ts_event=self.timestamp)


class BarWire(Struct, gc=False):
    timestamp: int  # its beginning, in seconds
    product_id: int
    granularity: int
    open_x18: int
    high_x18: int
    low_x18: int
    close_x18: int
    volume: int

    def event(self) -> Event:
        interval, start = LENGTHS.get(self.granularity, f"{self.granularity}s"), self.timestamp * SECOND_NS
        return Candle(
            raw_symbol=str(self.product_id),
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=x18(self.open_x18),
            high=x18(self.high_x18),
            low=x18(self.low_x18),
            close=x18(self.close_x18),
            base_volume=x18(self.volume),
        )


class PricesWire(Struct, gc=False):
    bid: int = 0
    ask: int = 0


class AllWire(Struct, gc=False):
    """The best prices of all markets, without sizes: nobody subscribes to it here."""

    time: int  # in milliseconds
    bbos: dict[str, PricesWire]

    def events(self) -> Iterable[Bbo]:
        for name, prices in self.bbos.items():
            yield bbo(name, priced(prices.bid), None, priced(prices.ask), None, ts_sent=self.time * MS_NS)


class ForcedWire(Struct, gc=False):
    """A liquidation: a positive amount was a long position.

    https://docs.nado.xyz/developer-resources/api/subscriptions/events (as a reader of September 2026 quotes it, who
    found the sign to be that of fifty positions before they were liquidated)
    """

    timestamp: int
    product_ids: list[int]
    amount: int
    price: int

    def event(self) -> Event:
        if len(self.product_ids) != 1 or not self.amount:
            return Ignored("a liquidation of a spread, of which nothing says whose price it tells")
        is_long = self.amount > 0
        return Liquidation(
            raw_symbol=str(self.product_ids[0]),
            side="sell" if is_long else "buy",
            position="long" if is_long else "short",
            price=x18(self.price),
            price_kind="trade",
            size=x18(abs(self.amount)),
            ts_event=self.timestamp,
        )


class PaymentWire(Struct, gc=False):
    """A payment of funding, without its rate: nobody subscribes to it here.

    https://nadohq.github.io/nado-typescript-sdk (EngineServerSubscriptionFundingPaymentEvent)
    """

    timestamp: int
    product_id: int
    open_interest: int  # the amount at that time

    def event(self) -> Event:
        return OpenInterest(raw_symbol=str(self.product_id), size=x18(self.open_interest), ts_event=self.timestamp)
