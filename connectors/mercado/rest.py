"""Mercado Bitcoin's answers by REST: whole books and the markets."""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Request
from aggregator.records import BookSnapshot, Instrument
from aggregator.wire import Text, as_written, encode, levels, nonzero, optional
from connectors.mercado.frames import LEVELS
from connectors.mercado.wires import decode_book

API = "https://api.mercadobitcoin.net/api/v4"
QUOTES = ("BRL", "USDT", "USDC", "BTC")  # all that it listed in September 2026; none begins another's name


class Symbols(Struct, rename="kebab"):
    """The listing: a list for each field."""

    symbol: list[str]
    base_currency: list[str]
    currency: list[str]
    exchange_traded: list[bool]
    min_volume: list[Text]
    max_volume: list[Text]
    min_cost: list[Text]


class SymbolRow(Struct, array_like=True):
    base: str
    quote: str
    traded: bool
    min_size: Text
    max_size: Text
    min_cost: Text


decode_symbols = Decoder(Symbols, float_hook=as_written).decode
decode_row = Decoder(SymbolRow).decode


def ask_whole(raw_symbol: str) -> Request:
    """Ask for a whole book by REST, which has another name of the market."""
    quote = next((quote for quote in QUOTES if raw_symbol.startswith(quote)), "")
    return Request(f"{API}/{raw_symbol.removeprefix(quote)}-{quote}/orderbook?limit={LEVELS}")


def read_whole(raw_symbol: str, body: bytes) -> BookSnapshot:
    b = decode_book(body)
    return BookSnapshot(raw_symbol=raw_symbol, bids=levels(b.bids), asks=levels(b.asks), ts_event=b.timestamp)


def rows(body: bytes) -> Iterable[Raw]:
    s = decode_symbols(body)
    columns = s.base_currency, s.currency, s.exchange_traded, s.min_volume, s.max_volume, s.min_cost
    return [Raw(encode(row)) for row in zip(*columns, strict=True)]


def read_symbol(row: Raw) -> Instrument:
    s = decode_row(row)
    if s.quote not in QUOTES:
        raise BadFrame(f"{s.base}-{s.quote} has a quote that QUOTES of this connector does not name: add it there")
    return Instrument(
        raw_symbol=s.quote + s.base,
        base=s.base,
        quote=s.quote,
        min_size=optional(s.min_size),
        max_size=nonzero(s.max_size),
        min_notional=optional(s.min_cost),
        state="trading" if s.traded else "halt",
    )
