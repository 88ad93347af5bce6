"""Requests and answers by REST, the listing among them."""

from collections.abc import Iterable

from msgspec import Raw
from msgspec.json import Decoder

from aggregator.exchange import Request, Since
from aggregator.records import BookSnapshot, Instrument, Record, Trade
from aggregator.wire import as_written, at
from connectors.coincheck.wires import Book, PairState, PastTrades, TickerWire

API = "https://coincheck.com/api"

decode_book = Decoder(Book).decode
decode_past = Decoder(PastTrades).decode
decode_ticker = Decoder(TickerWire, float_hook=as_written).decode
decode_state = Decoder(PairState).decode
rows = at("exchange_status")


def read_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    return decode_book(body).record(raw_symbol)


def missed(raw_symbol: str, _: Since) -> Request:
    return Request(f"{API}/trades?pair={raw_symbol}&limit=100")


def read_missed(_: str, body: bytes) -> Iterable[Trade]:
    return [row.record() for row in reversed(decode_past(body).data)]


def read_ticker(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return decode_ticker(body).records(raw_symbol)


def read_states(_: str, body: bytes) -> Iterable[Record]:
    return [decode_state(row).record() for row in rows(body)]


def read_pair(row: Raw) -> Instrument:
    p = decode_state(row)
    base, _, quote = p.pair.upper().partition("_")
    return Instrument(raw_symbol=p.pair, base=base, quote=quote, state=p.state)
