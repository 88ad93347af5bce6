"""Poloniex spot: its messages.

https://api-docs.poloniex.com/spot/websocket/market-data
"""

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import (
    DAY_S,
    Candle,
    Channel,
    Levels,
    MarketState,
    Record,
    Side,
    Status,
    Ticker,
    Trade,
)
from aggregator.wire import ms, nonzero
from connectors.poloniex.book_wires import books, candles, pictures
from connectors.poloniex.frames import CANDLES, Reader

CHANNELS: dict[Channel, str] = {
    "trades": "trades",
    "book": "book_lv2",
    "ticker": "ticker",
    "candles": CANDLES,
    "status": "symbols",
}
SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}
STATES: dict[str, MarketState] = {
    "NORMAL": "trading",
    "PAUSE": "halt",
    "POST_ONLY": "post_only",
    "CLOSED": "delisted",
}


class TradeRow(Struct, gc=False):
    symbol: str
    id: str | int
    price: str
    quantity: str
    amount: str  # price times quantity
    takerSide: str
    createTime: int
    ts: int

    def record(self) -> Record:
        return Trade(
            raw_symbol=self.symbol,
            id=str(self.id),
            price=self.price,
            size=self.quantity,
            side=SIDES[self.takerSide.lower()],
            quote_size=self.amount,
            ts_event=ms(self.createTime),
            ts_sent=ms(self.ts),
        )


class BookRow(Struct, gc=False):
    symbol: str
    bids: Levels
    asks: Levels
    id: int
    createTime: int
    ts: int
    lastId: int | None = None  # the `id` before this one


class TickerRow(Struct, gc=False):
    symbol: str
    ts: int
    open: str
    high: str
    low: str
    close: str
    quantity: str
    amount: str
    tradeCount: int

    def record(self) -> Record:
        return Ticker(
            raw_symbol=self.symbol,
            last=nonzero(self.close),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=self.quantity,
            quote_volume=self.amount,
            trades=self.tradeCount,
            window_s=DAY_S,
            ts_sent=ms(self.ts),
        )


class CandleRow(Struct, gc=False):
    symbol: str
    ts: int
    startTime: int
    closeTime: int  # its last millisecond
    open: str
    high: str
    low: str
    close: str
    quantity: str
    amount: str
    tradeCount: int

    def record(self, interval: str) -> Record:
        return Candle(
            raw_symbol=self.symbol,
            interval=interval,
            ts_open=ms(self.startTime),
            ts_close=ms(self.closeTime + 1),
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            base_volume=self.quantity,
            quote_volume=self.amount,
            trades=self.tradeCount,
            ts_sent=ms(self.ts),
        )


class SymbolRow(Struct):
    symbol: str
    state: str

    def record(self) -> Record:
        reason = None if self.state == "NORMAL" else self.state
        return Status(raw_symbol=self.symbol, state=STATES.get(self.state, "unknown"), reason=reason)


decode_trades = Decoder(list[TradeRow]).decode
decode_books = Decoder(list[BookRow]).decode
decode_tickers = Decoder(list[TickerRow]).decode
decode_candles = Decoder(list[CandleRow]).decode
decode_symbols = Decoder(list[SymbolRow]).decode


READERS: dict[str, Reader] = {
    "trades": lambda said: [row.record() for row in decode_trades(said.data)],
    "book_lv2": books(decode_books),
    "book": pictures(decode_books),
    "ticker": lambda said: [row.record() for row in decode_tickers(said.data)],
    "symbols": lambda said: [row.record() for row in decode_symbols(said.data)],
    CANDLES: candles(decode_candles),
}
