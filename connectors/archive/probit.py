"""ProBit, until it ended in 2026: spot.

https://docs-en.probit.com/reference/marketdata
One channel brings books, trades and tickers, as a subscription wanted. A book comes in changes of levels without
numbers or times; `reset` marks a whole one, and trades from before, the oldest first (captures of April 2021). Trades
of 2018 have no id (a frame of August 2018). The book was had as it is (`order_books`, later `order_books_l0`) and with
its levels rounded (`order_books_l1` to `l4`), which are not told.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Archive, Event, Exchange, Listing, Stream
from aggregator.records import BookDelta, BookSnapshot, Instrument, Ticker, Trade
from aggregator.wire import at, from_iso, oldest_first, optional, past, sides, step, text


class TradeRow(Struct, gc=False):
    price: str
    quantity: str
    time: str
    side: Literal["buy", "sell"]
    id: str | None = None  # in newer frames

    def record(self, symbol: str) -> Trade:
        return Trade(
            raw_symbol=symbol,
            id=self.id,
            price=text(self.price),
            size=text(self.quantity),
            side=self.side,
            ts_event=from_iso(self.time),
        )


class Level(Struct, gc=False):
    side: Literal["buy", "sell"]
    price: str
    quantity: str


class TickerRow(Struct, gc=False):
    time: str
    last: str | None = None
    low: str | None = None
    high: str | None = None
    change: str | None = None
    base_volume: str | None = None
    quote_volume: str | None = None

    def record(self, symbol: str) -> Ticker:
        return Ticker(
            raw_symbol=symbol,
            last=optional(self.last),
            low=optional(self.low),
            high=optional(self.high),
            change=optional(self.change),
            base_volume=optional(self.base_volume),
            quote_volume=optional(self.quote_volume),
            ts_event=from_iso(self.time),
        )


class Frame(Struct, gc=False):
    channel: str = ""
    market_id: str = ""
    reset: bool = False
    order_books: list[Level] | None = None
    order_books_l0: list[Level] | None = None
    recent_trades: list[TradeRow] | None = None
    ticker: TickerRow | None = None

    def events(self) -> Iterable[Event]:
        if self.channel != "marketdata":
            return
        name = self.market_id
        levels = self.order_books_l0 if self.order_books is None else self.order_books
        if levels is not None and (levels or self.reset):
            bids, asks = sides((level.side, level.price, level.quantity) for level in levels)
            if self.reset:
                ranked = sorted(bids, key=price_of, reverse=True), sorted(asks, key=price_of)
                yield BookSnapshot(raw_symbol=name, bids=ranked[0], asks=ranked[1])
            else:
                yield BookDelta(raw_symbol=name, bids=bids, asks=asks)
        trades = oldest_first(row.record(name) for row in self.recent_trades or ())
        yield from past(trades) if self.reset else trades
        if self.ticker is not None:
            yield self.ticker.record(name)


decode = Decoder(Frame).decode


def price_of(level: tuple[str, str]) -> float:
    return float(level[0])


def parse(frame: bytes) -> Iterable[Event]:
    return list(decode(frame).events())


class Market(Struct):
    id: str
    base_currency_id: str
    quote_currency_id: str
    price_increment: str
    min_quantity: str
    quantity_precision: int
    min_cost: str
    closed: bool = False

    def instrument(self) -> Instrument:
        return Instrument(
            raw_symbol=self.id,
            base=self.base_currency_id,
            quote=self.quote_currency_id,
            tick_size=text(self.price_increment),
            lot_size=step(self.quantity_precision),
            min_size=text(self.min_quantity),
            min_notional=text(self.min_cost),
            state="halt" if self.closed else "trading",
        )


decode_market = Decoder(Market).decode


def read(row: Raw) -> Instrument:
    return decode_market(row).instrument()


EXCHANGE = Exchange(
    id="probit",
    docs="https://docs-en.probit.com",
    checked="2026-11, a recording of April 2021 by others",
    archives=(
        Archive(
            until="2026-11-29",  # by then it was over; the day was not found
            listing=Listing(rows=at("data"), read=read),
            streams=(
                Stream(
                    channels={"trades": "recent_trades", "book": "order_books", "ticker": "ticker"},
                    parse=parse,
                ),
            ),
        ),
    ),
)
