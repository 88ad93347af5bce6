"""The messages of DigiFinex's perpetual contracts in its own spelling, and the records that they make.

https://docs.digifinex.com/en-ww/swap/v2/ws.html
A whole book says `full_data`, which is not documented but was seen in September 2026. Nothing is numbered but trades,
by ids that say nothing of those between, and they come newest first.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import (
    DAY_S,
    MS_NS,
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    MarkPrice,
    Record,
    Side,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, end_of, levels, nonzero, number, optional, text

SIDES: dict[str, Side] = {"1": "buy", "2": "sell", "3": "sell", "4": "buy"}  # opens a long, a short; closes them


class TradeRow(Struct, gc=False):
    instrument_id: str
    trade_id: str
    direction: Literal["1", "2", "3", "4"]
    volume: Text  # contracts
    price: Text
    trade_time: int  # milliseconds

    def record(self) -> Record:
        return Trade(
            raw_symbol=self.instrument_id,
            id=self.trade_id,
            price=text(self.price),
            size=text(self.volume),
            size_unit="contract",
            side=SIDES[self.direction],
            ts_event=self.trade_time * MS_NS,
        )


class TradesFrame(Struct, tag_field="event", tag="trades.update", gc=False):
    data: list[TradeRow]

    def records(self) -> Iterable[Record]:
        return [row.record() for row in reversed(self.data)]


class CandleWire(Struct, gc=False):
    instrument_id: str
    granularity: str
    candle: tuple[int, Text, Text, Text, Text, Text, Text]  # its start, prices, contracts, and what they are in coins


class CandleFrame(Struct, tag_field="event", tag="cur_candle.update", gc=False):
    """The running candle: no word says that one is final."""

    data: CandleWire

    def records(self) -> Iterable[Record]:
        said = self.data
        at, first, high, low, last, contracts, coins = said.candle
        start = at * MS_NS
        return (
            Candle(
                raw_symbol=said.instrument_id,
                interval=said.granularity,
                ts_open=start,
                ts_close=end_of(said.granularity, start),
                open=text(first),
                high=text(high),
                low=text(low),
                close=text(last),
                base_volume=optional(coins),
                contract_volume=optional(contracts),
            ),
        )


class DepthWire(Struct, gc=False):
    instrument_id: str
    timestamp: int  # milliseconds
    asks: list[list[Text]]
    bids: list[list[Text]]


class DepthFrame(Struct, tag_field="event", tag="depth.update", gc=False):
    data: DepthWire
    full_data: bool = False

    def records(self) -> Iterable[Record]:
        said = self.data
        kind = BookSnapshot if self.full_data else BookDelta
        return (
            kind(
                raw_symbol=said.instrument_id,
                bids=levels(said.bids),
                asks=levels(said.asks),
                ts_sent=said.timestamp * MS_NS,
            ),
        )


class TickerWire(Struct, gc=False):
    instrument_id: str
    timestamp: int
    best_bid: str
    best_bid_size: str
    best_ask: str
    best_ask_size: str
    last: str
    open_24h: str
    high_24h: str
    low_24h: str
    volume_24h: str  # contracts
    volume_token_24h: str | None = None  # coins


class TickerFrame(Struct, tag_field="event", tag="ticker.update", gc=False):
    data: TickerWire

    def records(self) -> Iterable[Record]:
        said = self.data
        sent = said.timestamp * MS_NS
        return (
            Ticker(
                raw_symbol=said.instrument_id,
                last=nonzero(said.last),
                open=nonzero(said.open_24h),
                high=nonzero(said.high_24h),
                low=nonzero(said.low_24h),
                base_volume=optional(said.volume_token_24h),
                contract_volume=optional(said.volume_24h),
                window_s=DAY_S,
                ts_sent=sent,
            ),
            bbo(
                said.instrument_id,
                said.best_bid,
                said.best_bid_size,
                said.best_ask,
                said.best_ask_size,
                ts_sent=sent,
            ),
        )


class MarkWire(Struct, gc=False):
    instrument_id: str
    timestamp: int
    mark_price: Text


class MarkFrame(Struct, tag_field="event", tag="mark_price.update", gc=False):
    data: MarkWire

    def records(self) -> Iterable[Record]:
        said = self.data
        sent = said.timestamp * MS_NS
        if price := nonzero(said.mark_price):
            yield MarkPrice(raw_symbol=said.instrument_id, price=price, ts_sent=sent)


class IndexWire(Struct, gc=False):
    instrument_id: str
    timestamp: int
    index_price: Text


class IndexFrame(Struct, tag_field="event", tag="index_price.update", gc=False):
    data: IndexWire

    def records(self) -> Iterable[Record]:
        said = self.data
        sent = said.timestamp * MS_NS
        if price := nonzero(said.index_price):
            yield IndexPrice(raw_symbol=said.instrument_id, price=price, ts_sent=sent)


class FundingWire(Struct, gc=False):
    instrument_id: str
    funding_rate: Text
    funding_time: int  # when it is exchanged, in milliseconds
    next_funding_time: int


class FundingFrame(Struct, tag_field="event", tag="fund_rate.update", gc=False):
    """The rate of the running interval; the `next` one repeated it in September 2026, and is left out."""

    data: FundingWire

    def records(self) -> Iterable[Record]:
        said = self.data
        length = (said.next_funding_time - said.funding_time) * MS_NS // SECOND_NS
        if rate := optional(said.funding_rate):
            yield Funding(
                raw_symbol=said.instrument_id,
                rate=rate,
                interval_s=length if length > 0 else None,
                ts_next=said.funding_time * MS_NS or None,
            )


Frame = TradesFrame | DepthFrame | TickerFrame | CandleFrame | MarkFrame | IndexFrame | FundingFrame
decode = Decoder(Frame, float_hook=number).decode
