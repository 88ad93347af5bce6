"""The messages of BloFin in its own spelling, and the records that they make.

https://docs.blofin.com/index.html#ws-trades-channel
"""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import (
    DAY_S,
    MS_NS,
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
from aggregator.wire import Text, bbo, end_of, levels, lower_unit, ms, nonzero, optional, text

DEPTHS = {"books": 200, "books5": 5}
PERIODS = {"hour": 3600, "minute": 60}


class Topic(Struct, gc=False):
    channel: str
    instId: str

    @property
    def name(self) -> tuple[str, str]:
        return self.channel, self.instId


class TradeWire(Struct, gc=False):
    instId: str
    tradeId: str
    price: Text
    size: Text  # contracts
    side: Side  # the taker's
    ts: int

    def record(self) -> Record:
        return Trade(
            raw_symbol=self.instId,
            id=self.tradeId,
            price=text(self.price),
            size=text(self.size),
            side=self.side,
            size_unit="contract",
            ts_event=self.ts * MS_NS,
        )


class BookWire(Struct, gc=False):
    asks: list[list[Text]]
    bids: list[list[Text]]
    ts: int
    seqId: int | None = None  # only `books` has it, like the field above
    prevSeqId: int | None = None

    def delta(self, name: str) -> Record:
        return BookDelta(
            raw_symbol=name,
            bids=levels(self.bids),
            asks=levels(self.asks),
            sequence=self.seqId,
            sequence_prev=self.prevSeqId,
            ts_event=self.ts * MS_NS,
        )

    def whole(self, topic: Topic) -> Record:
        return BookSnapshot(
            raw_symbol=topic.instId,
            bids=levels(self.bids),
            asks=levels(self.asks),
            depth=DEPTHS.get(topic.channel),
            reason="initial" if topic.channel == "books" else "periodic",
            sequence=self.seqId,
            ts_event=self.ts * MS_NS,
        )


class TickerWire(Struct, gc=False):
    instId: str
    last: Text
    open24h: Text
    high24h: Text
    low24h: Text
    volCurrency24h: Text  # the base asset
    bidPrice: Text
    bidSize: Text
    askPrice: Text
    askSize: Text
    ts: int
    vol24h: Text = None  # contracts

    def records(self) -> Iterable[Record]:
        yield Ticker(
            raw_symbol=self.instId,
            last=nonzero(self.last),
            open=nonzero(self.open24h),
            high=nonzero(self.high24h),
            low=nonzero(self.low24h),
            base_volume=optional(self.volCurrency24h),
            contract_volume=optional(self.vol24h),
            window_s=DAY_S,
            ts_event=self.ts * MS_NS,
        )
        yield bbo(
            self.instId,
            self.bidPrice,
            self.bidSize,
            self.askPrice,
            self.askSize,
            ts_event=self.ts * MS_NS,
        )


class BarWire(Struct, array_like=True, gc=False):
    ts: int
    open: Text
    high: Text
    low: Text
    close: Text
    vol: Text  # contracts
    volCurrency: Text  # the base asset
    volCurrencyQuote: Text
    confirm: Text

    def record(self, topic: Topic) -> Record:
        interval, at = lower_unit(topic.channel.removeprefix("candle")), self.ts * MS_NS
        return Candle(
            raw_symbol=topic.instId,
            interval=interval,
            ts_open=at,
            ts_close=end_of(interval, at),
            open=text(self.open),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close),
            base_volume=optional(self.volCurrency),
            quote_volume=optional(self.volCurrencyQuote),
            contract_volume=optional(self.vol),
            closed=text(self.confirm) == "1",
        )


class FundingWire(Struct):
    instId: str  # the rate's own, which in an example of the documentation is not the head's
    fundingRate: Text
    fundingTime: Text  # the time of the next settlement
    fundingInterval: int | None = None  # not documented, as its unit
    fundingIntervalUnit: str = ""

    def record(self) -> Record:
        period = PERIODS.get(self.fundingIntervalUnit)
        return Funding(
            raw_symbol=self.instId,
            rate=text(self.fundingRate),
            interval_s=self.fundingInterval * period if self.fundingInterval and period else None,
            ts_next=ms(self.fundingTime),
        )


class PriceWire(Struct):
    instId: str
    indexPrice: Text
    markPrice: Text
    ts: Text  # when it was answered

    def records(self) -> Iterable[Record]:
        name, at = self.instId, ms(self.ts)
        for kind, price in ((MarkPrice, nonzero(self.markPrice)), (IndexPrice, nonzero(self.indexPrice))):
            if price is not None:
                yield kind(raw_symbol=name, price=price, ts_sent=at)
