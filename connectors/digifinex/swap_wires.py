"""The messages of DigiFinex's perpetual contracts in its own spelling, and the records that they make.

https://docs.digifinex.com/en-ww/swap/v2/ws.html
A whole book says `full_data`, which is not documented but was seen in September 2026. Nothing is numbered.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import (
    DAY_S,
    MS_NS,
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Funding,
    IndexPrice,
    MarkPrice,
    Record,
    Ticker,
)
from aggregator.wire import Text, bbo, levels, nonzero, number, optional
from connectors.digifinex.swap_trade_wires import CandleFrame, TradesFrame


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
    best_bid: Text = None
    best_bid_size: Text = None
    best_ask: Text = None
    best_ask_size: Text = None
    last: Text = None
    open_24h: Text = None
    high_24h: Text = None
    low_24h: Text = None
    volume_24h: Text = None  # contracts
    volume_token_24h: Text = None  # coins

    def records(self) -> Iterable[Record]:
        sent = self.timestamp * MS_NS
        yield Ticker(
            raw_symbol=self.instrument_id,
            last=nonzero(self.last),
            open=nonzero(self.open_24h),
            high=nonzero(self.high_24h),
            low=nonzero(self.low_24h),
            base_volume=optional(self.volume_token_24h),
            contract_volume=optional(self.volume_24h),
            window_s=DAY_S,
            ts_sent=sent,
        )
        bid, ask = (self.best_bid, self.best_bid_size), (self.best_ask, self.best_ask_size)
        yield bbo(self.instrument_id, *bid, *ask, ts_sent=sent)


class TickerFrame(Struct, tag_field="event", tag="ticker.update", gc=False):
    data: TickerWire

    def records(self) -> Iterable[Record]:
        return self.data.records()


class AllTickersFrame(Struct, tag_field="event", tag="all_ticker.update", gc=False):
    """All contracts at once, simulated ones too: it is not asked for, and captures may hold it."""

    data: list[TickerWire]

    def records(self) -> Iterable[Record]:
        return [record for row in self.data for record in row.records()]


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


Tickers = TickerFrame | AllTickersFrame
Frame = TradesFrame | DepthFrame | Tickers | CandleFrame | MarkFrame | IndexFrame | FundingFrame
decode = Decoder(Frame, float_hook=number).decode
