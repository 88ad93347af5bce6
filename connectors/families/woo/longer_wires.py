"""Messages of WOO X before version 3, and of Orderly today: long fields, numbers, and only the time of the frame.

https://orderly.network/docs/build-on-omnichain/websocket-api/public/trade
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import (
    DAY_S,
    MS_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Ticker,
    Trade,
)
from aggregator.wire import Text, bbo, levels, nonzero, number, optional, text
from connectors.families.woo.frames import Frame, perpetual_of


class TradeRow(Struct, gc=False):
    symbol: str
    price: Text
    size: Text
    side: Literal["BUY", "SELL"]  # the taker's

    def record(self, at: int) -> Trade:
        return Trade(
            raw_symbol=self.symbol,
            price=text(self.price),
            size=text(self.size),
            side="buy" if self.side == "BUY" else "sell",
            ts_event=at,
        )


class Change(Struct, gc=False):
    symbol: str
    prevTs: int  # the frame's `ts` of the change before
    bids: list[list[Text]]
    asks: list[list[Text]]

    def record(self, at: int) -> BookDelta:
        return BookDelta(
            raw_symbol=self.symbol,
            bids=levels(self.bids),
            asks=levels(self.asks),
            sequence=at // MS_NS,
            sequence_prev=self.prevTs,
            ts_event=at,
        )


class Top(Struct, gc=False):
    """A book that is always sent whole: documented as the best hundred levels a side, it comes with all there are."""

    symbol: str
    bids: list[list[Text]]
    asks: list[list[Text]]

    def record(self, at: int) -> BookSnapshot:
        return BookSnapshot(
            raw_symbol=self.symbol,
            bids=levels(self.bids),
            asks=levels(self.asks),
            reason="periodic",
            sequence=at // MS_NS,
            ts_event=at,
        )


class WholeBook(Struct, gc=False):
    """A book that was asked for."""

    symbol: str
    ts: int
    bids: list[list[Text]]
    asks: list[list[Text]]

    def record(self, at: int) -> BookSnapshot:
        return BookSnapshot(
            raw_symbol=self.symbol,
            bids=levels(self.bids),
            asks=levels(self.asks),
            sequence=self.ts,
            ts_event=self.ts * MS_NS,
            ts_sent=at,
        )


class BestRow(Struct, gc=False):
    symbol: str
    bid: Text = None
    bidSize: Text = None
    ask: Text = None
    askSize: Text = None

    def record(self, at: int) -> Bbo:
        return bbo(
            self.symbol,
            self.bid,
            self.bidSize,
            self.ask,
            self.askSize,
            ts_event=at,
        )


class TickerRow(Struct, gc=False):
    symbol: str
    open: Text = None
    close: Text = None
    high: Text = None
    low: Text = None
    volume: Text = None
    amount: Text = None
    count: int | None = None

    def record(self, at: int) -> Ticker:
        return Ticker(
            raw_symbol=self.symbol,
            last=nonzero(self.close),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.volume),
            quote_volume=optional(self.amount),
            trades=self.count,
            window_s=DAY_S,
            ts_event=at,
        )


class Bar(Struct, gc=False):
    symbol: str
    type: str  # interval
    open: Text
    close: Text
    high: Text
    low: Text
    startTime: int
    endTime: int
    volume: Text = None
    amount: Text = None

    def record(self, at: int) -> Candle:
        return Candle(
            raw_symbol=self.symbol,
            interval=self.type,
            ts_open=self.startTime * MS_NS,
            ts_close=self.endTime * MS_NS,
            open=text(self.open),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close),
            base_volume=optional(self.volume),
            quote_volume=optional(self.amount),
            ts_event=at,
        )


class RateRow(Struct, gc=False):
    symbol: str
    fundingRate: Text
    fundingTs: int  # when it is exchanged

    def record(self, at: int) -> Funding | None:
        rate, due = optional(self.fundingRate), self.fundingTs * MS_NS
        if rate is None:
            return None
        return Funding(raw_symbol=self.symbol, rate=rate, kind="predicted", ts_next=due, ts_event=at)


class OpenRow(Struct, gc=False):
    symbol: str
    openInterest: Text  # in the base asset

    def record(self, at: int) -> OpenInterest | None:
        size = optional(self.openInterest)
        return None if size is None else OpenInterest(raw_symbol=self.symbol, size=size, ts_event=at)


class MarkRow(Struct, gc=False):
    symbol: str
    price: Text

    def record(self, at: int) -> MarkPrice | None:
        price = nonzero(self.price)
        return MarkPrice(raw_symbol=self.symbol, price=price, ts_event=at) if price else None


class IndexRow(Struct, gc=False):
    symbol: str
    price: Text

    def record(self, at: int) -> IndexPrice | None:
        name, price = perpetual_of(self.symbol), nonzero(self.price)
        return IndexPrice(raw_symbol=name, price=price, index=self.symbol, ts_event=at) if price else None


class Taken(Struct):
    """A position that the exchange has taken over."""

    symbol: str
    positionQty: Text


class Forced(Struct):
    liquidationId: int
    timestamp: int
    type: str
    positionsByPerp: list[Taken]

    def records(self) -> Iterable[Liquidation]:
        """One for each position; the sign of a quantity is not documented, so that no side is told."""
        for position in self.positionsByPerp:
            yield Liquidation(
                raw_symbol=position.symbol,
                id=str(self.liquidationId),
                size=text(position.positionQty).lstrip("-"),
                status=self.type,
                ts_event=self.timestamp * MS_NS,
            )


class ForcedFrame(Frame[list[Forced]]):
    """Liquidations of every symbol."""


decode_forced = Decoder(ForcedFrame, float_hook=number).decode
