"""The messages of Mercado Bitcoin's stream; a book's numbers are JSON numbers there, and text by REST."""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import Side
from aggregator.wire import Text, as_written


class Frame(Struct, gc=False):
    """Any frame; the confirmation of a topic has a name and no type."""

    type: str = ""
    id: str = ""
    name: str = ""
    ts: int | None = None  # when it was sent, in ns
    data: Raw = Raw()
    message: str = ""


class BookWire(Struct, gc=False):
    bids: list[list[Text]]
    asks: list[list[Text]]
    timestamp: int | None = None  # when the book was made, in ns


class TradeWire(Struct, gc=False):
    tid: int
    price: Text
    amount: Text
    type: Side  # the taker's
    date: int  # seconds, or ns as its documentation has it


class TickerWire(Struct, gc=False):
    """Text; `0.00000000` where there is no such price."""

    last: Text
    open: Text = None
    high: Text = None
    low: Text = None
    vol: Text = None  # in the base asset
    buy: Text = None
    sell: Text = None
    date: int | None = None  # likewise: seconds have been seen


decode = Decoder(Frame).decode
decode_book = Decoder(BookWire, float_hook=as_written).decode
decode_trade = Decoder(TradeWire, float_hook=as_written).decode
decode_ticker = Decoder(TickerWire, float_hook=as_written).decode
