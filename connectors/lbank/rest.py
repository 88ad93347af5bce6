"""The answers of LBank by REST: pairs, and of perpetual contracts the list, books, prices and funding.

https://www.lbank.com/en-US/docs/index.html
https://www.lbank.com/docs/contract.html
Rates, intervals and the index are on the wire and not in the documentation (September 2026).
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Request
from aggregator.records import BookSnapshot, Funding, IndexPrice, Instrument, Level, MarkPrice, Record, Ticker
from aggregator.wire import Text, at, ms, nonzero, number, optional, step, text

PAIRS = "https://api.lbank.info/v2/accuracy.do"
CONTRACTS = "https://lbkperp.lbank.com/cfd/openApi/v1/pub"
DEPTH = 100  # levels a side; up to 1000 are answered


class Row(Struct):
    baseCurrency: str | None = None


class PairWire(Struct):
    symbol: str
    quantityAccuracy: Text  # decimals
    priceAccuracy: Text
    minTranQua: Text = None


class ContractWire(Struct):
    symbol: str
    baseCurrency: str
    priceCurrency: str
    clearCurrency: str
    volumeMultiple: Text
    volumeTick: Text = None
    priceTick: Text = None
    minOrderVolume: Text = None
    maxOrderVolume: Text = None
    minOrderCost: Text = None


class LevelWire(Struct, gc=False):
    price: Text
    volume: Text

    def level(self) -> Level:
        return text(self.price), text(self.volume)


class BookWire(Struct):
    asks: list[LevelWire]
    bids: list[LevelWire]


class BookAnswer(Struct):
    data: BookWire


class FigureWire(Struct):
    symbol: str
    lastPrice: Text = None
    openPrice: Text = None
    highestPrice: Text = None
    lowestPrice: Text = None
    markedPrice: Text = None
    underlyingPrice: Text = None  # the index
    fundingRate: Text = None
    positionFeeTime: Text = None  # seconds between two exchanges of funding
    nextFeeTime: Text = None  # milliseconds

    def records(self) -> Iterable[Record]:
        yield Ticker(
            raw_symbol=self.symbol,
            last=nonzero(self.lastPrice),
            open=nonzero(self.openPrice),
            high=nonzero(self.highestPrice),
            low=nonzero(self.lowestPrice),
        )
        if price := nonzero(self.markedPrice):
            yield MarkPrice(raw_symbol=self.symbol, price=price)
        if price := nonzero(self.underlyingPrice):
            yield IndexPrice(raw_symbol=self.symbol, price=price)
        length, due = nonzero(self.positionFeeTime), nonzero(self.nextFeeTime)
        if rate := optional(self.fundingRate):
            yield Funding(
                raw_symbol=self.symbol,
                rate=rate,
                interval_s=int(length) if length else None,
                ts_next=ms(due) if due else None,
            )


class FiguresAnswer(Struct):
    data: list[FigureWire]


decode_row = Decoder(Row).decode
decode_pair = Decoder(PairWire, float_hook=number).decode
decode_contract = Decoder(ContractWire, float_hook=number).decode
decode_book = Decoder(BookAnswer, float_hook=number).decode
decode_figures = Decoder(FiguresAnswer, float_hook=number).decode
rows = at("data")


def read(row: Raw) -> Instrument:
    return read_pair(row) if decode_row(row).baseCurrency is None else read_contract(row)


def read_pair(row: Raw) -> Instrument:
    wire = decode_pair(row)
    base, _, quote = wire.symbol.upper().rpartition("_")
    return Instrument(
        raw_symbol=wire.symbol,
        base=base,
        quote=quote,
        tick_size=step(wire.priceAccuracy),
        lot_size=step(wire.quantityAccuracy),
        min_size=optional(wire.minTranQua),
    )


def read_contract(row: Raw) -> Instrument:
    wire = decode_contract(row)
    return Instrument(
        raw_symbol=wire.symbol,
        kind="perpetual",
        base=wire.baseCurrency,
        quote=wire.priceCurrency,
        settle=wire.clearCurrency,
        linear=True,
        contract_size=text(wire.volumeMultiple),
        tick_size=optional(wire.priceTick),
        lot_size=optional(wire.volumeTick),
        min_size=optional(wire.minOrderVolume),
        max_size=optional(wire.maxOrderVolume),
        min_notional=optional(wire.minOrderCost),
    )


def ask_book(raw_symbol: str) -> Request:
    return Request(f"{CONTRACTS}/marketOrder?symbol={raw_symbol}&depth={DEPTH}")


def read_book(raw_symbol: str, body: bytes) -> Iterable[Record]:
    book = decode_book(body).data
    bids, asks = [row.level() for row in book.bids], [row.level() for row in book.asks]
    return (BookSnapshot(raw_symbol=raw_symbol, bids=bids, asks=asks, depth=DEPTH, reason="periodic"),)


def read_figures(_: str, body: bytes) -> Iterable[Record]:
    return [record for row in decode_figures(body).data for record in row.records()]
