"""BitMart, until July 2026: spot, and perpetual contracts.

https://developer-pro.bitmart.com/en/spot/ and /en/futuresv2/
Spot names a table, contracts name a group, and sizes of contracts count these. No recording was found: this follows the
frames that its documentation quotes. They tell which side of a contract's trade was the maker only since `m` is there.
Books that came one side at a time (`futures/depth5`) are not read.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Archive, Event, Exchange, Listing, Stream
from aggregator.records import MS_NS, BookDelta, BookSnapshot, Instrument, Levels, Trade
from aggregator.sequence import ordered
from aggregator.wire import at, from_iso, levels, ms, seconds, step


class SpotTrade(Struct, gc=False):
    symbol: str
    price: str
    side: Literal["buy", "sell"]
    size: str
    s_t: int  # seconds
    ms_t: int | None = None

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.symbol,
            price=self.price,
            size=self.size,
            side=self.side,
            ts_event=seconds(self.s_t) if self.ms_t is None else ms(self.ms_t),
        )


class SpotBook(Struct, gc=False):
    symbol: str
    asks: list[list[str]]
    bids: list[list[str]]
    ms_t: int
    type: Literal["snapshot", "update"] | None = None  # a book of few levels is always whole, and does not say it
    version: int | None = None

    def record(self) -> BookSnapshot | BookDelta:
        kind = BookDelta if self.type == "update" else BookSnapshot
        bids, asks, time = levels(self.bids), levels(self.asks), self.ms_t * MS_NS
        return kind(raw_symbol=self.symbol, bids=bids, asks=asks, sequence=self.version, ts_event=time)


class ContractTrade(Struct, gc=False):
    trade_id: int
    symbol: str
    deal_price: str
    deal_vol: str
    created_at: str
    m: bool | None = None  # the buyer was the maker

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.symbol,
            id=str(self.trade_id),
            price=self.deal_price,
            size=self.deal_vol,
            side=None if self.m is None else "sell" if self.m else "buy",
            size_unit="contract",
            ts_event=from_iso(self.created_at),
        )


class Level(Struct, gc=False):
    price: str
    vol: str


class ContractBook(Struct, gc=False):
    symbol: str
    asks: list[Level]
    bids: list[Level]
    ms_t: int
    version: int
    type: Literal["snapshot", "update"]

    def record(self) -> BookSnapshot | BookDelta:
        kind = BookDelta if self.type == "update" else BookSnapshot
        bids, asks, time = named(self.bids), named(self.asks), self.ms_t * MS_NS
        return kind(raw_symbol=self.symbol, bids=bids, asks=asks, sequence=self.version, ts_event=time)


class Frame(Struct, gc=False):
    table: str = ""
    group: str = ""
    data: Raw = Raw(b"null")

    def events(self) -> Iterable[Event]:
        if not bytes(self.data).startswith((b"[", b"{")):
            return ()  # it confirms something
        if self.table == "spot/trade":
            return [row.record() for row in decode_spot_trades(self.data)]
        if self.table.startswith("spot/depth"):
            return [row.record() for row in decode_spot_books(self.data)]
        if self.group.startswith("futures/trade:"):
            return [row.record() for row in decode_trades(self.data)]
        if self.group.startswith("futures/depthIncrease"):
            return (decode_book(self.data).record(),)
        return ()


decode = Decoder(Frame).decode
decode_spot_trades = Decoder(list[SpotTrade]).decode
decode_spot_books = Decoder(list[SpotBook]).decode
decode_trades = Decoder(list[ContractTrade]).decode
decode_book = Decoder(ContractBook).decode


def named(rows: list[Level]) -> Levels:
    return [(row.price, row.vol) for row in rows]


def parse(frame: bytes) -> Iterable[Event]:
    return decode(frame).events()


class Market(Struct):
    symbol: str
    base_currency: str
    quote_currency: str
    price_max_precision: int | None = None  # spot has it, and the two that follow
    base_min_size: str | None = None
    min_buy_amount: str | None = None
    product_type: int | None = None  # contracts have it, and what follows
    contract_size: str | None = None
    price_precision: str | None = None
    vol_precision: str | None = None
    min_volume: str | None = None
    max_volume: str | None = None
    open_timestamp: int = 0

    def instrument(self) -> Instrument:
        if self.product_type is None:
            return Instrument(
                raw_symbol=self.symbol,
                base=self.base_currency,
                quote=self.quote_currency,
                tick_size=step(self.price_max_precision),
                min_size=self.base_min_size,
                min_notional=self.min_buy_amount,
            )
        if self.product_type != PERPETUAL:
            raise BadFrame(f"{self.symbol} is of an unknown type: {self.product_type}")
        return Instrument(
            raw_symbol=self.symbol,
            kind="perpetual",
            base=self.base_currency,
            quote=self.quote_currency,
            settle=self.quote_currency,
            linear=True,
            contract_size=self.contract_size,
            tick_size=self.price_precision,
            lot_size=self.vol_precision,
            min_size=self.min_volume,
            max_size=self.max_volume,
            ts_listed=seconds(self.open_timestamp) if self.open_timestamp < MILLISECONDS else ms(self.open_timestamp),
        )


PERPETUAL = 1
MILLISECONDS = 10**11  # times from here on are of milliseconds: the documentation shows both
decode_market = Decoder(Market).decode


def read(row: Raw) -> Instrument:
    return decode_market(row).instrument()


EXCHANGE = Exchange(
    id="bitmart",
    docs="https://developer-pro.bitmart.com",
    checked="2026-11, frames that its documentation quotes",
    archives=(
        Archive(
            until="2026-07-27",
            listing=Listing(rows=at("data", "symbols"), read=read),
            streams=(
                Stream(
                    channels={"trades": "trade", "book": "depth"},
                    parse=parse,
                    sequence={"book": ordered},
                ),
            ),
        ),
    ),
)
