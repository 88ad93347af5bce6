"""The messages of the stream, and the answers by REST."""

from collections.abc import Callable
from functools import cache
from typing import Any

from msgspec import Raw, Struct, defstruct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.records import Side
from aggregator.wire import Text, number

QUOTES = ("idr", "usdt", "btc")


class Publication(Struct):
    data: Raw
    offset: int | None = None


class Result(Struct):
    channel: str = ""
    data: Publication | None = None
    client: str = ""  # only in the answer to the first frame
    recoverable: bool = False  # only in the answer to a request for a topic
    publications: list[Publication] = []  # messages that were missed, in the answer to a request that says from where


class ErrorWire(Struct):
    code: int
    message: str


class Message(Struct):
    id: int = 0
    result: Result | None = None
    error: ErrorWire | None = None


class TradeRow(Struct, array_like=True, gc=False):
    pair: str
    time: int  # seconds
    number: int
    side: Side  # the taker's, by the name of the feed
    price: Text
    quote: Text
    base: Text


class SummaryRow(Struct, array_like=True, gc=False):
    pair: str
    time: int  # seconds
    last: Text
    low: Text
    high: Text
    open: Text  # the price 24 hours ago
    quote: Text
    base: Text


class OfPair(Struct):
    pair: str


class Depth(Struct):
    buy: list[list[Text]]
    sell: list[list[Text]]


class Quotation(Struct):
    buy: Text
    sell: Text
    server_time: int  # seconds


class Quotations(Struct):
    tickers: dict[str, Quotation]


class PairWire(Struct):
    id: str
    base_currency: str  # prices are in it: the two names are the other way round
    traded_currency: str
    traded_currency_unit: str = ""  # the asset is called so: `idx` is IDRX
    trade_min_base_currency: Text = None
    trade_min_traded_currency: Text = None
    is_maintenance: int = 0
    is_market_suspended: int = 0


class CandleRow(Struct, rename="pascal", gc=False):
    """Nothing says of which asset its `Volume` is."""

    time: int  # seconds
    open: Text
    high: Text
    low: Text
    close: Text


class Increments(Struct):
    increments: dict[str, Raw]


class Increment(Struct, array_like=True):
    pair: str
    step: Text


decode_messages = Decoder(Message).decode_lines
decode_trades = Decoder(list[TradeRow], float_hook=number).decode
decode_summaries = Decoder(list[SummaryRow], float_hook=number).decode
decode_pair_of_book = Decoder(OfPair).decode
decode_rows = Decoder(list[list[Any]]).decode
decode_depth = Decoder(Depth, float_hook=number).decode
decode_quotations = Decoder(Quotations, float_hook=number).decode
decode_candles = Decoder(list[CandleRow], float_hook=number).decode
decode_increments = Decoder(Increments).decode
decode_increment = Decoder(Increment, float_hook=number).decode
decode_pairs = Decoder(list[Raw]).decode
decode_pair = Decoder(PairWire, float_hook=number).decode


@cache
def book_decoder(pair: str) -> Callable[[Raw], Any]:
    """The decoder of one pair's book, whose levels name their size by the base: `btc_volume`."""
    base = next((pair.removesuffix(quote) for quote in QUOTES if pair.endswith(quote)), "")
    if not base:
        raise BadFrame(f"{pair[:40]!r} has a quote that QUOTES of this connector does not name: add it there")
    level = defstruct("Level", [("price", Text), ("size", Text)], rename={"size": f"{base}_volume"}, gc=False)
    side: Any = list[level]  # type: ignore[valid-type]
    return Decoder(defstruct("Book", [("bid", side), ("ask", side)]), float_hook=number).decode
