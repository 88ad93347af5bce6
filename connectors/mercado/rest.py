"""Mercado Bitcoin's answers by REST: whole books, candles and the markets."""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Request
from aggregator.records import SECOND_NS, BookSnapshot, Instrument, Record
from aggregator.wire import Text, as_written, candle, encode, levels, nonzero, optional, seconds
from connectors.mercado.frames import LEVELS
from connectors.mercado.wires import decode_book

API = "https://api.mercadobitcoin.net/api/v4"
INTERVAL = "1m"
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


class Candles(Struct):
    """A list for each field, the oldest first."""

    t: list[int]  # seconds
    o: list[Text]
    h: list[Text]
    l: list[Text]  # noqa: E741 - the wire's name
    c: list[Text]
    v: list[Text]  # in the base


class SymbolRow(Struct, array_like=True):
    base: str
    quote: str
    traded: bool
    min_size: Text
    max_size: Text
    min_cost: Text


decode_candles = Decoder(Candles, float_hook=as_written).decode
decode_symbols = Decoder(Symbols, float_hook=as_written).decode
decode_row = Decoder(SymbolRow).decode


def named(raw_symbol: str) -> str:
    """The name that REST has for a market."""
    quote = next((quote for quote in QUOTES if raw_symbol.startswith(quote)), "")
    return f"{raw_symbol.removeprefix(quote)}-{quote}"


def ask_whole(raw_symbol: str) -> Request:
    return Request(f"{API}/{named(raw_symbol)}/orderbook?limit={LEVELS}")


def until(now: int) -> str:
    return f"to={now // SECOND_NS}"


def ask_candles(raw_symbol: str) -> Request:
    return Request(f"{API}/candles?symbol={named(raw_symbol)}&resolution={INTERVAL}&countback=5", timed=until)


def read_candles(raw_symbol: str, body: bytes) -> Iterable[Record]:
    rows = decode_candles(body)
    for start, first, high, low, last, volume in zip(rows.t, rows.o, rows.h, rows.l, rows.c, rows.v, strict=True):
        yield candle(raw_symbol, INTERVAL, seconds(start), (first, high, low, last), base=volume)


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
