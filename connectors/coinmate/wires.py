"""The messages of the stream."""

from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import DAY_S, BookSnapshot, Levels, Ticker, Trade
from aggregator.wire import Text, as_written, ms, nonzero, optional, text


class Frame(Struct, gc=False):
    event: str
    channel: str = ""
    payload: Raw = Raw()
    message: str = ""


class TradeRow(Struct, frozen=True, gc=False):
    date: int
    price: Text
    amount: Text
    type: Literal["BUY", "SELL"]
    buyOrderId: int
    sellOrderId: int

    def record(self, pair: str | None) -> Trade:
        return Trade(
            raw_symbol=pair,
            price=text(self.price),
            size=text(self.amount),
            side="buy" if self.type == "BUY" else "sell",
            ts_event=ms(self.date),
        )


class Level(Struct, gc=False):
    price: Text
    amount: Text


class Book(Struct, gc=False):
    bids: list[Level]
    asks: list[Level]

    def record(self, pair: str | None) -> BookSnapshot:
        return BookSnapshot(raw_symbol=pair, bids=side(self.bids), asks=side(self.asks), reason="periodic")


class Statistics(Struct, gc=False):
    """Its open is that of the day, and is left out; all else is of 24 hours, as the same by REST."""

    lastRealizedTrade: Text = None
    high24hours: Text = None
    low24hours: Text = None
    volume24Hours: Text = None

    def record(self, pair: str | None) -> Ticker:
        return Ticker(
            raw_symbol=pair,
            last=nonzero(self.lastRealizedTrade),
            high=nonzero(self.high24hours),
            low=nonzero(self.low24hours),
            base_volume=optional(self.volume24Hours),
            window_s=DAY_S,
        )


decode = Decoder(Frame).decode
decode_trades = Decoder(list[TradeRow], float_hook=as_written).decode
decode_book = Decoder(Book, float_hook=as_written).decode
decode_statistics = Decoder(Statistics, float_hook=as_written).decode


def side(rows: list[Level]) -> Levels:
    return [(text(row.price), text(row.amount)) for row in rows]
