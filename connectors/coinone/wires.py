"""The messages of the stream."""

from typing import Literal

from msgspec import Struct

from aggregator.exchange import Event
from aggregator.records import DAY_S, BookSnapshot, Candle, Ticker, Trade
from aggregator.wire import Text, end_of, ms, nonzero, optional, text

DEPTH = 16  # levels a side
TRADES, BOOK, TICKER, CANDLES = "TRADE", "ORDERBOOK", "TICKER", "CHART"
Topic = tuple[str, str, str]  # its word, the market, and the interval of candles


def name_of(quote: str, target: str) -> str:
    """The name of a market, in the order of the addresses by REST."""
    return f"{quote}-{target}"


class TradeRow(Struct, gc=False):
    id: str  # the larger, the newer, within a market
    timestamp: int
    price: str
    qty: str
    is_seller_maker: bool

    def record(self, raw_symbol: str) -> Trade:
        return Trade(
            raw_symbol=raw_symbol,
            id=self.id,
            sequence=int(self.id),
            price=text(self.price),
            size=text(self.qty),
            side="buy" if self.is_seller_maker else "sell",
            ts_event=ms(self.timestamp),
        )


class TradeWire(TradeRow, gc=False):
    quote_currency: str
    target_currency: str

    @property
    def topic(self) -> Topic:
        return TRADES, name_of(self.quote_currency, self.target_currency), ""

    def event(self) -> Event:
        return self.record(name_of(self.quote_currency, self.target_currency))


class Level(Struct, gc=False):
    price: str
    qty: str


class BookWire(Struct, gc=False):
    """A whole book; the first one's `timestamp` is ten seconds old, and that in its `id` is not."""

    quote_currency: str
    target_currency: str
    id: str  # milliseconds, and three digits that count
    asks: list[Level]  # the best is the last
    bids: list[Level]

    @property
    def topic(self) -> Topic:
        return BOOK, name_of(self.quote_currency, self.target_currency), ""

    def event(self) -> Event:
        number = int(self.id)
        return BookSnapshot(
            raw_symbol=name_of(self.quote_currency, self.target_currency),
            bids=[(text(level.price), text(level.qty)) for level in self.bids],
            asks=[(text(level.price), text(level.qty)) for level in reversed(self.asks)],
            depth=DEPTH,
            reason="periodic",
            sequence=number,
            ts_event=ms(number // 1000),
        )


class TickerWire(Struct, gc=False):
    """Its open, high and low are those of the UTC day, and its best prices those of the last trade's moment."""

    quote_currency: str
    target_currency: str
    timestamp: int
    last: str | None = None
    target_volume: str | None = None
    quote_volume: str | None = None

    @property
    def topic(self) -> Topic:
        return TICKER, name_of(self.quote_currency, self.target_currency), ""

    def event(self) -> Event:
        return Ticker(
            raw_symbol=name_of(self.quote_currency, self.target_currency),
            last=nonzero(self.last),
            base_volume=optional(self.target_volume),
            quote_volume=optional(self.quote_volume),
            window_s=DAY_S,
            ts_event=ms(self.timestamp),
        )


class CandleWire(Struct, gc=False):
    """A candle, spelled as in the documentation of the stream, or as by REST; its volumes are left out."""

    quote_currency: str
    target_currency: str
    interval: str
    timestamp: int  # the start, where there is no `candle_timestamp`
    high: str
    low: str
    candle_timestamp: int | None = None
    first: Text = None
    open: Text = None
    last: Text = None
    close: Text = None

    @property
    def topic(self) -> Topic:
        return CANDLES, name_of(self.quote_currency, self.target_currency), self.interval

    def event(self) -> Event:
        start = ms(self.timestamp if self.candle_timestamp is None else self.candle_timestamp)
        return Candle(
            raw_symbol=name_of(self.quote_currency, self.target_currency),
            interval=self.interval,
            ts_open=start,
            ts_close=end_of(self.interval, start),
            open=text(self.open if self.first is None else self.first),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close if self.last is None else self.last),
            ts_event=None if self.candle_timestamp is None else ms(self.timestamp),
        )


class TradeFrame(Struct):
    response_type: Literal["DATA"]
    data: TradeWire


class BookFrame(Struct):
    response_type: Literal["DATA"]
    data: BookWire


class TickerFrame(Struct):
    response_type: Literal["DATA"]
    data: TickerWire


class CandleFrame(Struct):
    response_type: Literal["DATA"]
    data: CandleWire


class Named(Struct, frozen=True):
    """The topic that an answer names, as it was asked for; the greeting names none."""

    quote_currency: str = ""
    target_currency: str = ""
    interval: str = ""


class Answer(Struct):
    """A frame of any kind; the short form of data names nothing so."""

    response_type: str = ""
    channel: str = ""
    data: Named = Named()
    error_code: int = 0
    message: str = ""
    field: str = ""  # the one of a request that is not understood

    @property
    def topic(self) -> Topic:
        return self.channel, name_of(self.data.quote_currency, self.data.target_currency), self.data.interval
