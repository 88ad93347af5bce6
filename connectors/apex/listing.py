"""Reading what ApeX Omni lists, and what of it comes by REST.

https://api-docs.pro.apex.exchange/#publicapi-v3-for-omni-get-all-config-data-v3
Where `enableOpenPosition` is off, positions can be closed, and none opened.
"""

from collections.abc import Iterable, Mapping

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Poll, Request, Ticket, Trouble
from aggregator.records import HOUR_S, Instrument, MarkPrice, Record
from aggregator.refusals import coded
from aggregator.wire import nonzero, optional
from connectors.apex.wires import FiguresRow

REST = "https://omni.apex.exchange/api/v3"
WS = "wss://quote.omni.apex.exchange/realtime_public?v=2"


class Contracts(Struct):
    perpetualContract: list[Raw]
    stockContract: list[Raw] = []


class Config(Struct):
    contractConfig: Contracts


class Symbols(Struct):
    data: Config


class Clock(Struct):
    time: int


class Time(Struct):
    data: Clock


class Tickers(Struct):
    data: list[FiguresRow]


class ContractWire(Struct):
    crossSymbolName: str  # topics name it so
    baseTokenId: str
    settleAssetId: str
    enableTrade: bool = True
    enableOpenPosition: bool = True
    tickSize: str | None = None
    stepSize: str | None = None
    minOrderSize: str | None = None
    maxOrderSize: str | None = None


decode_symbols = Decoder(Symbols).decode
decode_contract = Decoder(ContractWire).decode
decode_time = Decoder(Time, strict=False).decode
decode_tickers = Decoder(Tickers, strict=False).decode
coded_trouble = coded("code", "msg", fine=("0",), busy=("403", "429"))


def trouble(status: int, headers: Mapping[str, str], body: bytes) -> Trouble | None:
    """Whoever asks too much gets status 403."""
    return Trouble("too many requests", is_busy=True) if status == 403 else coded_trouble(status, headers, body)


def rows(body: bytes) -> Iterable[Raw]:
    contracts = decode_symbols(body).data.contractConfig
    return contracts.perpetualContract + contracts.stockContract


def read_contract(row: Raw) -> Instrument:
    c = decode_contract(row)
    return Instrument(
        raw_symbol=c.crossSymbolName,
        kind="perpetual",
        base=c.baseTokenId,
        quote=c.settleAssetId,
        settle=c.settleAssetId,
        linear=True,
        contract_size="1",
        tick_size=optional(c.tickSize),
        lot_size=optional(c.stepSize),
        min_size=optional(c.minOrderSize),
        max_size=optional(c.maxOrderSize),
        state="halt" if not c.enableTrade else "trading" if c.enableOpenPosition else "reduce_only",
        funding_interval_s=HOUR_S,
        funding_offset_s=0,
    )


def read_marks(_: str, body: bytes) -> Iterable[Record]:
    marks = ((row.symbol, nonzero(row.markPrice)) for row in decode_tickers(body).data)
    return [MarkPrice(raw_symbol=name, price=price) for name, price in marks if price is not None]


LISTING = Listing((Request(f"{REST}/symbols"),), rows, read_contract)
TICKET = Ticket(Request(f"{REST}/time"), lambda body: f"{WS}&timestamp={decode_time(body).data.time}")
MARKS = Poll(
    channels=("mark_price",),
    every=30,
    request=lambda raw_symbol: Request(f"{REST}/ticker?symbol={raw_symbol}"),
    parse=read_marks,
)
