"""Requests to the KuCoin protocol by REST: the address of the stream, instruments, whole books, open interest.

https://www.kucoin.com/docs-new/rest/ua/introduction
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Listing, Poll, Request
from aggregator.records import BookSnapshot, Instrument, MarketState, OpenInterest
from aggregator.wire import Text, at, levels, number, optional, text
from connectors.families.kucoin.wires import stamp

STATES: dict[str, MarketState] = {
    "Init": "pre_open",
    "Open": "trading",
    "BeingSettled": "settling",
    "Settled": "delisted",
    "Paused": "halt",
    "Closed": "delisted",
    "CancelOnly": "cancel_only",
}


class Server(Struct):
    endpoint: str


class Bullet(Struct):
    token: str
    instanceServers: list[Server]


class BulletAnswer(Struct):
    data: Bullet | None = None


class BookWire(Struct, gc=False):
    sequence: int
    bids: list[list[Text]] | None = None
    asks: list[list[Text]] | None = None
    time: int | None = None  # milliseconds, of spot; futures call it `ts`
    ts: int | None = None


class BookAnswer(Struct, gc=False):
    data: BookWire


class SymbolWire(Struct):
    symbol: str
    enableTrading: bool
    priceIncrement: str
    baseIncrement: str
    baseMinSize: str | None = None
    baseMaxSize: str | None = None
    minFunds: str | None = None
    tradingStartTime: int | None = None


class ContractWire(Struct):
    symbol: str
    baseCurrency: str
    quoteCurrency: str
    settleCurrency: str
    isInverse: bool
    multiplier: Text  # below zero of inverse contracts
    status: str = ""
    tickSize: Text = None
    lotSize: Text = None
    maxOrderQty: Text = None
    expireDate: int | None = None
    firstOpenDate: int | None = None
    indexSymbol: str = ""
    fundingRateGranularity: int | None = None  # ms, of perpetual contracts
    nextFundingRateDateTime: int | None = None  # ms


class InterestWire(Struct):
    symbol: str
    openInterest: Text = None


class Rows(Struct):
    data: list[Raw]


class Interests(Struct):
    data: list[InterestWire]


decode_bullet = Decoder(BulletAnswer).decode
decode_book = Decoder(BookAnswer, float_hook=number, strict=False).decode
decode_symbol = Decoder(SymbolWire).decode
decode_contract = Decoder(ContractWire, float_hook=number).decode
decode_rows = Decoder(Rows).decode
decode_interests = Decoder(Interests, float_hook=number).decode


def read_symbol(row: Raw) -> Instrument:
    """The assets are those of the name: where one was renamed, `baseCurrency` says its new code."""
    s = decode_symbol(row)
    base, dash, quote = s.symbol.partition("-")
    if not dash:
        raise BadFrame(f"{s.symbol[:40]!r} is no pair of assets")
    return Instrument(
        raw_symbol=s.symbol,
        base=base,
        quote=quote,
        tick_size=s.priceIncrement,
        lot_size=s.baseIncrement,
        min_size=s.baseMinSize,
        max_size=s.baseMaxSize,
        min_notional=s.minFunds,
        state="trading" if s.enableTrading else "halt",
        ts_listed=None if s.tradingStartTime is None else stamp(s.tradingStartTime),
    )


def read_contract(row: Raw) -> Instrument:
    c = decode_contract(row)
    lot = optional(c.lotSize)
    interval, offset = funding(c)
    return Instrument(
        raw_symbol=c.symbol,
        kind="perpetual" if c.expireDate is None else "future",
        base=c.baseCurrency,
        quote=c.quoteCurrency,
        settle=c.settleCurrency,
        linear=not c.isInverse,
        contract_size=text(c.multiplier).lstrip("-"),
        tick_size=optional(c.tickSize),
        lot_size=lot,
        min_size=lot,
        max_size=optional(c.maxOrderQty),
        expiry=None if c.expireDate is None else stamp(c.expireDate),
        state=STATES.get(c.status, "unknown"),
        ts_listed=None if c.firstOpenDate is None else stamp(c.firstOpenDate),
        index=c.indexSymbol or None,
        funding_interval_s=interval,
        funding_offset_s=offset,
    )


def funding(c: ContractWire) -> tuple[int | None, int | None]:
    """How often funding is exchanged, and how long after a whole number of such intervals."""
    length, due = c.fundingRateGranularity, c.nextFundingRateDateTime
    return (length // 1000 if length else None), (due % length // 1000 if length and due else None)


def read_snapshot(raw_symbol: str, body: bytes, depth: int) -> BookSnapshot:
    book = decode_book(body).data
    time = book.time or book.ts
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=levels(book.bids or []),
        asks=levels(book.asks or []),
        depth=depth,
        sequence=book.sequence,
        ts_event=None if time is None else stamp(time),
    )


def read_interest(_: str, body: bytes) -> Iterable[OpenInterest]:
    for row in decode_interests(body).data:
        size = optional(row.openInterest)
        if size is not None:
            yield OpenInterest(raw_symbol=row.symbol, size=size, size_unit="contract")


def symbols(api: str) -> Listing:
    return Listing((Request(f"{api}/api/v2/symbols", weight=4),), at("data"), read_symbol)


def contracts(api: str) -> Listing:
    return Listing((Request(f"{api}/api/v1/contracts/active", weight=3),), at("data"), read_contract)


def interest(api: str) -> Poll:
    return Poll(
        name="contracts",
        channels=("open_interest",),
        every=30,
        request=lambda _: Request(f"{api}/api/v1/contracts/active", weight=3),
        parse=read_interest,
        many=True,
    )
