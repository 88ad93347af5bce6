"""Frames of CEX.IO's books: the answer to a subscription is the whole book, and changes are numbered without a hole.

https://trade.cex.io/docs/
"""

from collections.abc import Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Hangup, Refused, Subscribe, Subscription
from aggregator.records import BookDelta, BookSnapshot
from aggregator.refusals import meaning_of
from aggregator.wire import Text, encode, levels, number, oldest_first, past
from connectors.cex.legacy import READERS, read_day
from connectors.cex.rest import TradeRow

ASK, LEAVE, CHANGE = "order_book_subscribe", "order_book_unsubscribe", "order_book_increment"
PAST, _ = TRADES = ("tradeHistorySnapshot", "tradeUpdate")
DEPTH = 20  # levels a side


class BookWire(Struct):
    pair: str = ""
    seqId: int | None = None
    bids: list[list[Text]] = []
    asks: list[list[Text]] = []
    error: str | None = None


class StreamedTrade(TradeRow, gc=False):
    pair: str | None = None  # its documentation has none


class Frame(Struct):
    e: str
    oid: str | None = None
    pair: str = ""  # `ohlcv24` alone has it here: elsewhere it stands in the data
    data: Raw = Raw(b"{}")


decode = Decoder(Frame).decode
decode_book = Decoder(BookWire, float_hook=number).decode
decode_trades = Decoder(list[StreamedTrade] | StreamedTrade, float_hook=number).decode


def read_trades(said: Frame) -> Iterable[Event]:
    """Read trades, which are not asked for here and which captures may hold."""
    rows = decode_trades(said.data)
    trades = oldest_first(row.record(row.pair) for row in (rows if isinstance(rows, list) else [rows]))
    return past(trades) if said.e == PAST else trades


def read_book(said: Frame) -> Iterable[Event]:
    book = decode_book(said.data)
    id = int(said.oid) if said.oid is not None and said.oid.isdecimal() else None
    if book.error is not None:
        meaning = meaning_of(book.error, final=("is not supported",), passing=("limit",))
        return (Refused(book.error, id, meaning=meaning),)
    if book.seqId is None:
        raise BadFrame(f"{said.e} without a number")
    bids, asks = levels(book.bids), levels(book.asks)
    if said.e == CHANGE:
        return (BookDelta(raw_symbol=book.pair, bids=bids, asks=asks, sequence=book.seqId),)
    whole = BookSnapshot(raw_symbol=book.pair, bids=bids, asks=asks, depth=DEPTH, sequence=book.seqId)
    return (Accepted(id=id), whole)


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    if said.e in {ASK, CHANGE}:
        return read_book(said)
    if said.e == "disconnected":
        return (Hangup("the exchange says that it disconnects"),)
    if said.e in TRADES:
        return read_trades(said)
    if said.e == "ohlcv24":
        return read_day(said.pair, said.data)
    return READERS[said.e](said.data) if said.e in READERS else ()


def asking(word: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in wanted:
            yield encode({"e": word, "oid": str(id), "data": {"pair": s.raw_symbol}})

    return ask
