"""The messages of older servers of the protocol, whose methods have a dot: `depth.update`.

https://github.com/P2B-team/P2B-WSS-Public/blob/main/wss_documentation.md
https://github.com/DigiFinex/api/blob/master/Websocket_API_en.md
Books have neither a number nor a time; a side of which nothing has changed is left out.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import DAY_S, BookDelta, BookSnapshot, Record, Side, Ticker, Trade
from aggregator.wire import Text, bbo, levels, ms, nonzero, number, optional, past, seconds, text
from connectors.families.viabtc.wires import Failure, Statistics


class TradeRow(Struct, gc=False):
    id: int
    time: Text  # seconds
    price: str
    amount: str
    type: Side  # the taker's

    def record(self, name: str) -> Trade:
        return Trade(
            raw_symbol=name,
            id=str(self.id),
            price=text(self.price),
            size=text(self.amount),
            side=self.type,
            ts_event=seconds(self.time),
        )


class DealsFrame(Struct, tag_field="method", tag="deals.update", gc=False):
    """Trades of P2B, the newest first; nothing in it tells those of the past."""

    params: tuple[str, list[TradeRow]]

    def records(self) -> Iterable[Record]:
        name, rows = self.params
        return [row.record(name) for row in reversed(rows)]


class TradesFrame(Struct, tag_field="method", tag="trades.update", gc=False):
    """Trades of DigiFinex, the newest first; `true` says that they are of the past."""

    params: tuple[bool, list[TradeRow], str]

    def records(self) -> Iterable[Record]:
        is_past, rows, name = self.params
        trades = [row.record(name) for row in reversed(rows)]
        return past(trades) if is_past else trades


class DepthWire(Struct, gc=False):
    bids: list[list[Text]] = []  # left out where nothing of it has changed
    asks: list[list[Text]] = []


class DepthFrame(Struct, tag_field="method", tag="depth.update", gc=False):
    params: tuple[bool, DepthWire, str]

    def records(self) -> Iterable[Record]:
        is_whole, book, name = self.params
        kind = BookSnapshot if is_whole else BookDelta
        return (kind(raw_symbol=name, bids=levels(book.bids), asks=levels(book.asks)),)


class StateFrame(Struct, tag_field="method", tag="state.update", gc=False):
    params: tuple[str, Statistics]

    def records(self) -> Iterable[Record]:
        name, wire = self.params
        return (wire.record(name),)


class PriceFrame(Struct, tag_field="method", tag="price.update", gc=False):
    """The last price alone, whenever it changes."""

    params: tuple[str, Text]

    def records(self) -> Iterable[Record]:
        name, price = self.params
        return (Ticker(raw_symbol=name, last=nonzero(price)),)


class TickerRow(Struct, gc=False):
    symbol: str
    timestamp: Text  # milliseconds
    last: str | None = None
    open_24h: str | None = None
    high_24h: str | None = None
    low_24h: str | None = None
    base_volume_24h: str | None = None
    quote_volume_24h: str | None = None
    best_bid: str | None = None
    best_bid_size: str | None = None
    best_ask: str | None = None
    best_ask_size: str | None = None

    def records(self) -> Iterable[Record]:
        sent = ms(self.timestamp)
        yield Ticker(
            raw_symbol=self.symbol,
            last=nonzero(self.last),
            open=nonzero(self.open_24h),
            high=nonzero(self.high_24h),
            low=nonzero(self.low_24h),
            base_volume=optional(self.base_volume_24h),
            quote_volume=optional(self.quote_volume_24h),
            window_s=DAY_S,
            ts_sent=sent,
        )
        yield bbo(self.symbol, self.best_bid, self.best_bid_size, self.best_ask, self.best_ask_size, ts_sent=sent)


class TickerFrame(Struct, tag_field="method", tag="ticker.update", gc=False):
    params: list[TickerRow]

    def records(self) -> Iterable[Record]:
        return [record for row in self.params for record in row.records()]


class AllTickersFrame(Struct, tag_field="method", tag="all_ticker.update", gc=False):
    params: list[TickerRow]

    def records(self) -> Iterable[Record]:
        return [record for row in self.params for record in row.records()]


class Answer(Struct):
    """An acknowledgement, a refusal, or a pong."""

    id: int | None = None  # an answer to what is no JSON has none
    error: Failure | None = None
    result: dict[Literal["status"], str] | str | int | None = None
    method: str = ""


decode = Decoder(
    DealsFrame | TradesFrame | DepthFrame | StateFrame | PriceFrame | TickerFrame | AllTickersFrame, float_hook=number
).decode
decode_answer = Decoder(Answer).decode
