"""Coinmate's answers by REST: whole books, the best prices and the pairs."""

from collections.abc import Iterable, Mapping

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Trouble
from aggregator.records import BookSnapshot, Instrument, Record
from aggregator.wire import Text, as_written, bbo, optional, seconds, step
from connectors.coinmate.wires import Book, side

API = "https://coinmate.io/api"


class TimedBook(Book):
    timestamp: int | None = None  # seconds


class WholeBook(Struct):
    data: TimedBook


class Quotation(Struct):
    bid: Text = None
    ask: Text = None


class Quotations(Struct):
    data: dict[str, Quotation]


class Answer(Struct):
    """The answer that comes where something is wrong."""

    error: bool = False
    errorMessage: str | None = None


class Pair(Struct):
    name: str
    firstCurrency: str
    secondCurrency: str
    priceDecimals: int | None = None
    lotDecimals: int | None = None
    minAmount: Text = None


decode_whole = Decoder(WholeBook, float_hook=as_written).decode
decode_quotations = Decoder(Quotations, float_hook=as_written).decode
decode_answer = Decoder(Answer).decode
decode_pair = Decoder(Pair, float_hook=as_written).decode


def read_whole(raw_symbol: str, body: bytes) -> BookSnapshot:
    book = decode_whole(body).data
    sent = None if book.timestamp is None else seconds(book.timestamp)
    return BookSnapshot(raw_symbol=raw_symbol, bids=side(book.bids), asks=side(book.asks), ts_sent=sent)


def read_quotations(_: str, body: bytes) -> Iterable[Record]:
    return [bbo(pair, said.bid, None, said.ask, None) for pair, said in decode_quotations(body).data.items()]


def trouble(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
    """Read an error, which comes with HTTP 200."""
    if not body.startswith(b'{"error":true'):
        return None
    return Trouble(decode_answer(body).errorMessage or "an error without words")


def read_pair(row: Raw) -> Instrument:
    p = decode_pair(row)
    return Instrument(
        raw_symbol=p.name,
        base=p.firstCurrency,
        quote=p.secondCurrency,
        tick_size=step(p.priceDecimals),
        lot_size=step(p.lotDecimals),
        min_size=optional(p.minAmount),
    )
