"""The messages of the OKX protocol in its own spelling, and the records that they make.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-tickers-channel
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from aggregator.records import (
    DAY_S,
    MS_NS,
    SECOND_NS,
    Candle,
    Funding,
    IndexPrice,
    Liquidation,
    MarkPrice,
    OpenInterest,
    OptionSummary,
    Record,
    Side,
    SizeUnit,
    Ticker,
    Trade,
)
from aggregator.wire import ZERO, end_of, ms, nonzero, optional


def unit(raw_symbol: str) -> SizeUnit:
    """Spot is BASE-QUOTE; whatever has more parts is a contract."""
    return "base" if raw_symbol.count("-") == 1 else "contract"


class TradeWire(Struct, gc=False):
    instId: str
    tradeId: str  # an aggregate has the id of its last trade
    px: str
    sz: str
    side: Side  # the taker's
    ts: int
    count: int = 1  # how many fills at one price of one taker are told as one

    def record(self, kind: Literal["trade", "block"] = "trade") -> Record:
        trade = Trade(
            raw_symbol=self.instId,
            kind=kind,
            id=self.tradeId,
            price=self.px,
            size=self.sz,
            side=self.side,
            size_unit="base" if self.instId.count("-") == 1 else "contract",  # hot: as `unit` says
            ts_event=self.ts * MS_NS,
        )
        if self.count != 1:
            trade.kind, trade.last_id, trade.count = "aggregate", self.tradeId, self.count
        return trade


class LegWire(Struct):
    instId: str
    tradeId: str
    px: str
    sz: str
    side: Side  # the taker's


class BlockWire(Struct):
    """A trade of several legs that two sides agreed on outside the book."""

    cTime: int
    legs: list[LegWire]

    def records(self) -> Iterable[Record]:
        for leg in self.legs:
            trade = TradeWire(leg.instId, leg.tradeId, leg.px, leg.sz, leg.side, self.cTime)
            yield trade.record(kind="block")


class LevelWire(Struct, array_like=True, gc=False):
    """Price and size; what follows (a zero, the number of orders) is left out."""

    px: str
    sz: str


class BookWire(Struct, gc=False):
    asks: list[LevelWire]
    bids: list[LevelWire]
    ts: int
    seqId: int | None = None
    prevSeqId: int | None = None
    checksum: int | None = None


class TickerWire(Struct, gc=False):
    instId: str
    last: str
    open24h: str
    high24h: str
    low24h: str
    vol24h: str  # derivatives: contracts
    volCcy24h: str  # spot: the quote asset; derivatives: the base asset
    ts: int

    def record(self) -> Record:
        is_spot = unit(self.instId) == "base"
        return Ticker(
            raw_symbol=self.instId,
            # hot: a price that is not zero needs no call to say so
            last=self.last if self.last > ZERO else nonzero(self.last),
            open=self.open24h if self.open24h > ZERO else nonzero(self.open24h),
            high=self.high24h if self.high24h > ZERO else nonzero(self.high24h),
            low=self.low24h if self.low24h > ZERO else nonzero(self.low24h),
            base_volume=(self.vol24h if is_spot else self.volCcy24h) or None,
            quote_volume=(self.volCcy24h or None) if is_spot else None,
            contract_volume=None if is_spot else self.vol24h or None,
            window_s=DAY_S,
            ts_event=self.ts * MS_NS,
        )


class BarWire(Struct, array_like=True, gc=False):
    ts: str
    open: str
    high: str
    low: str
    close: str
    vol: str  # spot: the base asset; derivatives: contracts
    volCcy: str  # spot: the quote asset; derivatives: the base asset
    volCcyQuote: str | None = None
    confirm: str | None = None

    def record(self, raw_symbol: str, interval: str) -> Record:
        is_spot, at = unit(raw_symbol) == "base", ms(self.ts)
        return Candle(
            raw_symbol=raw_symbol,
            interval=interval,
            ts_open=at,
            ts_close=end_of(interval, at),
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            base_volume=self.vol if is_spot else self.volCcy,
            quote_volume=self.volCcyQuote or (self.volCcy if is_spot else None),
            closed=None if self.confirm is None else self.confirm == "1",
            contract_volume=None if is_spot else self.vol,
        )


class FundingWire(Struct):
    instId: str
    fundingTime: str
    fundingRate: str = ""  # missing of a new swap, where the next one is told already (2021)
    nextFundingRate: str = ""
    nextFundingTime: str = ""
    settFundingRate: str = ""  # the rate of the period before, once it is settled
    settState: str = ""
    prevFundingTime: str = ""  # when that period was settled
    ts: str = ""

    def records(self) -> Iterable[Record]:
        """A swap that has no rate yet (`formulaType` is `noRate`) has it empty, or leaves it out: nothing is said."""
        at = ms(self.ts) if self.ts else None
        due, after = ms(self.fundingTime), ms(self.nextFundingTime) if self.nextFundingTime else None
        interval = None if after is None else (after - due) // SECOND_NS
        current = Funding(raw_symbol=self.instId, rate=self.fundingRate, interval_s=interval, ts_next=due, ts_event=at)
        if self.fundingRate:
            yield current
        if self.nextFundingRate:
            yield replace(current, rate=self.nextFundingRate, kind="predicted", ts_next=after)
        if self.settFundingRate and self.settState == "settled":
            paid = ms(self.prevFundingTime) if self.prevFundingTime else None
            yield Funding(raw_symbol=self.instId, rate=self.settFundingRate, kind="settled", ts_next=paid, ts_event=at)


class OpenWire(Struct):
    instId: str
    oi: str  # contracts
    ts: str
    oiCcy: str = ""  # the base asset

    def record(self) -> Record:
        return OpenInterest(
            raw_symbol=self.instId,
            size=self.oi,
            size_unit="contract",
            base_size=optional(self.oiCcy),
            ts_event=ms(self.ts),
        )


class MarkWire(Struct):
    instId: str
    markPx: str
    ts: str

    def record(self) -> Record:
        return MarkPrice(raw_symbol=self.instId, price=self.markPx, ts_event=ms(self.ts))


class IndexWire(Struct):
    instId: str  # the index's, which is also the spot pair's
    idxPx: str
    ts: str

    def record(self) -> Record:
        return IndexPrice(raw_symbol=self.instId, price=self.idxPx, index=self.instId, ts_event=ms(self.ts))


class OptionWire(Struct):
    instId: str
    delta: str  # these four in the base asset; deltaBS and so on are Black and Scholes', in dollars
    gamma: str
    vega: str
    theta: str
    ts: str
    markVol: str = ""
    bidVol: str = ""
    askVol: str = ""
    fwdPx: str = ""  # the forward price of the underlying at expiry
    uly: str = ""

    def record(self) -> Record:
        return OptionSummary(
            raw_symbol=self.instId,
            mark_iv=optional(self.markVol),
            bid_iv=optional(self.bidVol),
            ask_iv=optional(self.askVol),
            delta=optional(self.delta),
            gamma=optional(self.gamma),
            vega=optional(self.vega),
            theta=optional(self.theta),
            underlying_price=optional(self.fwdPx),
            underlying=self.uly or None,
            ts_event=ms(self.ts),
        )


class ForcedWire(Struct):
    side: Side  # the forced order's
    sz: str
    bkPx: str
    ts: str


class LiquidationWire(Struct):
    instId: str
    details: list[ForcedWire]

    def records(self) -> Iterable[Record]:
        for d in self.details:
            yield Liquidation(
                raw_symbol=self.instId,
                side=d.side,
                position="short" if d.side == "buy" else "long",
                price=optional(d.bkPx),
                price_kind="bankruptcy",
                size=d.sz,
                size_unit=unit(self.instId),
                ts_event=ms(d.ts),
                sampled=True,  # at most one an instrument and second
            )
