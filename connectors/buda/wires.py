"""The messages of the stream, and the answers by REST."""

from typing import Literal

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.records import BookSnapshot, Trade
from aggregator.wire import Text, levels, ms, text

Amount = tuple[str, str]  # a number, and the currency that it is in


class TradeRow(Struct, array_like=True, gc=False):
    time: str | int  # ms
    amount: str
    price: str
    side: Literal["buy", "sell"]
    id: int

    def record(self, raw_symbol: str, ts_sent: int | None = None) -> Trade:
        return Trade(
            raw_symbol=raw_symbol,
            id=str(self.id),
            price=text(self.price),
            size=text(self.amount),
            side=self.side,
            sequence=self.id,
            ts_event=ms(self.time),
            ts_sent=ts_sent,
        )


class Book(Struct):
    bids: list[list[Text]]
    asks: list[list[Text]]


class Frame(Struct, gc=False):
    ev: str
    mk: str = ""
    ts: str = ""  # seconds
    trade: TradeRow | None = None
    order_book: Book | None = None  # the whole one, in a `book-sync`


class PastTrades(Struct):
    entries: list[TradeRow]


class TradesAnswer(Struct):
    trades: PastTrades


class BookAnswer(Struct):
    order_book: Book


class Figures(Struct):
    last_price: Amount | None = None
    max_bid: Amount | None = None
    min_ask: Amount | None = None
    volume: Amount | None = None
    quote_volume: Amount | None = None


class FiguresAnswer(Struct):
    ticker: Figures


class Market(Struct):
    id: str
    base_currency: str
    quote_currency: str
    minimum_order_amount: Amount | None = None
    disabled: bool = False


decode = Decoder(Frame).decode
decode_trades = Decoder(TradesAnswer).decode
decode_book = Decoder(BookAnswer).decode
decode_figures = Decoder(FiguresAnswer).decode
decode_market = Decoder(Market).decode


def whole(raw_symbol: str, book: Book, ts_sent: int | None = None) -> BookSnapshot:
    bids, asks = levels(book.bids), levels(book.asks)
    return BookSnapshot(raw_symbol=raw_symbol, bids=bids, asks=asks, reason="periodic", ts_sent=ts_sent)
