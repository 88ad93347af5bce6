"""Poloniex futures, version 3: its messages. Sizes and volumes are in contracts, amounts in the quote asset.

https://api-docs.poloniex.com/v3/futures/websocket
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field
from msgspec.json import Decoder

from aggregator.records import (
    DAY_S,
    Candle,
    Channel,
    Funding,
    IndexPrice,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import bbo, either, ms, nonzero
from connectors.poloniex.book_wires import books, candles, pictures
from connectors.poloniex.frames import CANDLES, Reader
from connectors.poloniex.spot_wires import SIDES

CHANNELS: dict[Channel, str] = {
    "trades": "trades",
    "book": "book_lv2",
    "bbo": "tickers",
    "ticker": "tickers",
    "candles": CANDLES,
    "funding": "funding_rate",
    "open_interest": "open_interest",
    "liquidations": "liquidation_orders",
    "mark_price": "mark_price",
    "index_price": "index_price",
}


class TradeRow(Struct, gc=False):
    s: str
    id: int | str
    px: str
    qty: str
    amt: str
    side: str  # the taker's
    cT: int
    ts: int

    def record(self) -> Record:
        return Trade(
            raw_symbol=self.s,
            id=str(self.id),
            price=self.px,
            size=self.qty,
            size_unit="contract",
            side=SIDES[self.side.lower()],
            quote_size=self.amt,
            ts_event=ms(self.cT),
            ts_sent=ms(self.ts),
        )


class BookRow(Struct, gc=False):
    bids: Levels
    asks: Levels
    id: int
    ts: int
    symbol: str = field(name="s")
    createTime: int = field(name="cT")
    lastId: int | None = field(default=None, name="lid")  # the `id` before this one


class TickerRow(Struct, gc=False):
    s: str
    o: str
    l: str  # noqa: E741 - the exchange's word
    h: str
    c: str
    amt: str
    tC: int
    ts: int
    qty: str | None = None  # contracts
    bPx: str | None = None
    bSz: str | None = None
    aPx: str | None = None
    aSz: str | None = None

    def records(self) -> tuple[Record, ...]:
        statistics = Ticker(
            raw_symbol=self.s,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            quote_volume=self.amt,
            contract_volume=self.qty or None,
            trades=self.tC,
            window_s=DAY_S,
            ts_sent=ms(self.ts),
        )
        top = bbo(
            self.s,
            self.bPx,
            self.bSz,
            self.aPx,
            self.aSz,
            ts_sent=ms(self.ts),
        )
        return (statistics, top)


class CandleRow(Struct, array_like=True, gc=False):
    symbol: str
    low: str
    high: str
    open: str
    close: str
    amount: str
    quantity: str  # contracts
    trades: int
    start: int
    end: int  # its last millisecond
    ts: int

    def record(self, interval: str) -> Record:
        return Candle(
            raw_symbol=self.symbol,
            interval=interval,
            ts_open=ms(self.start),
            ts_close=ms(self.end + 1),
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            quote_volume=self.amount,
            contract_volume=self.quantity,
            trades=self.trades,
            ts_sent=ms(self.ts),
        )


class FundingRow(Struct):
    s: str
    ts: int
    fR: str  # settled at fT
    fT: int
    nFR: str  # predicted for nFT
    nFT: int

    def records(self) -> Iterable[Record]:
        sent, last, due = ms(self.ts), ms(self.fT), ms(self.nFT)
        length = (self.nFT - self.fT) // 1000
        said = (
            Funding(raw_symbol=self.s, rate=self.fR, kind="settled", ts_next=last, ts_sent=sent),
            Funding(raw_symbol=self.s, rate=self.nFR, kind="predicted", interval_s=length, ts_next=due, ts_sent=sent),
        )
        return [record for record in said if record.rate]


class OpenInterestRow(Struct):
    s: str
    oInterest: str
    ts: int

    def record(self) -> Record:
        return OpenInterest(raw_symbol=self.s, size=self.oInterest, size_unit="contract", ts_sent=ms(self.ts))


class LiquidationRow(Struct):
    s: str
    side: Literal["BUY", "SELL"]
    sz: str
    bkPx: str
    uTime: int
    ts: int

    def record(self) -> Record:
        return Liquidation(
            raw_symbol=self.s,
            side="buy" if self.side == "BUY" else "sell",
            position="short" if self.side == "BUY" else "long",
            price=self.bkPx,
            price_kind="bankruptcy",
            size=self.sz,
            size_unit="contract",
            sampled=True,  # one a second of each market
            ts_event=ms(self.uTime),
            ts_sent=ms(self.ts),
        )


class MarkRow(Struct, gc=False):
    s: str
    mPx: str
    ts: int

    def record(self) -> Record:
        return MarkPrice(raw_symbol=self.s, price=self.mPx, ts_sent=ms(self.ts))


class IndexRow(Struct, gc=False):
    s: str
    iPx: str
    ts: int

    def record(self) -> Record:
        return IndexPrice(raw_symbol=self.s, price=self.iPx, ts_sent=ms(self.ts))


decode_trades = Decoder(list[TradeRow]).decode
decode_books = Decoder(list[BookRow]).decode
decode_tickers = Decoder(list[TickerRow]).decode
decode_candles = Decoder(list[CandleRow]).decode
decode_interests = Decoder(list[OpenInterestRow]).decode
decode_liquidations = Decoder(list[LiquidationRow]).decode
decode_marks = Decoder(list[MarkRow]).decode
decode_indices = Decoder(list[IndexRow]).decode
decode_fundings = Decoder(list[FundingRow]).decode
decode_nested = Decoder(list[list[FundingRow]]).decode  # the documentation shows them like this
decode_rates = either(decode_fundings, lambda data: [row for rows in decode_nested(data) for row in rows])


READERS: dict[str, Reader] = {
    "trades": lambda said: [row.record() for row in decode_trades(said.data)],
    "book_lv2": books(decode_books),
    "book": pictures(decode_books),
    "tickers": lambda said: [record for row in decode_tickers(said.data) for record in row.records()],
    "funding_rate": lambda said: [record for row in decode_rates(said.data) for record in row.records()],
    "open_interest": lambda said: [row.record() for row in decode_interests(said.data) if row.oInterest],
    "liquidation_orders": lambda said: [row.record() for row in decode_liquidations(said.data)],
    "mark_price": lambda said: [row.record() for row in decode_marks(said.data) if nonzero(row.mPx)],
    "index_price": lambda said: [row.record() for row in decode_indices(said.data) if nonzero(row.iPx)],
    CANDLES: candles(decode_candles),
}
