"""CoinEx, version 2 of its interface, until September 2026: spot and perpetual contracts, in one protocol.

https://docs.coinex.com/api/v2/spot/market/ws/market-deals
Amounts are of the base asset, those of inverse contracts (`BTCUSD`) US dollars. No recording was found: this follows
the frames that its documentation quotes. Whether `BTCUSDT` is spot or a contract no frame says, only the address of
the connection.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Archive, Event, Exchange, Listing, Stream
from aggregator.records import MS_NS, Bbo, BookDelta, BookSnapshot, Instrument, SizeUnit, Trade
from aggregator.wire import at, best, gunzip, levels, step


class TradeRow(Struct, gc=False):
    deal_id: int
    created_at: int
    side: Literal["buy", "sell"]  # the taker's
    price: str
    amount: str

    def record(self, symbol: str) -> Trade:
        return Trade(
            raw_symbol=symbol,
            id=str(self.deal_id),
            price=self.price,
            size=self.amount,
            side=self.side,
            size_unit=unit(symbol),
            ts_event=self.created_at * MS_NS,
        )


class Trades(Struct, gc=False):
    market: str
    deal_list: list[TradeRow]


class Sides(Struct, gc=False):
    asks: list[list[str]]
    bids: list[list[str]]
    updated_at: int
    checksum: int | None = None


class Depth(Struct, gc=False):
    market: str
    is_full: bool
    depth: Sides

    def record(self) -> BookSnapshot | BookDelta:
        kind, said = BookSnapshot if self.is_full else BookDelta, self.depth
        return kind(
            raw_symbol=self.market,
            bids=levels(said.bids),
            asks=levels(said.asks),
            checksum=said.checksum,
            ts_event=said.updated_at * MS_NS,
        )


class Best(Struct, gc=False):
    market: str
    updated_at: int
    best_bid_price: str
    best_bid_size: str
    best_ask_price: str
    best_ask_size: str

    def record(self) -> Bbo:
        bid, ask = best(self.best_bid_price, self.best_bid_size), best(self.best_ask_price, self.best_ask_size)
        return Bbo(
            raw_symbol=self.market,
            bid_price=bid[0],
            bid_size=bid[1],
            ask_price=ask[0],
            ask_size=ask[1],
            ts_event=self.updated_at * MS_NS,
        )


class Frame(Struct, gc=False):
    method: str = ""
    data: Raw = Raw(b"null")

    def events(self) -> Iterable[Event]:
        match self.method:
            case "deals.update":
                said = decode_trades(self.data)
                return [row.record(said.market) for row in reversed(said.deal_list)]  # they come newest first
            case "depth.update":
                return (decode_depth(self.data).record(),)
            case "bbo.update":
                return (decode_best(self.data).record(),)
        return ()


decode = Decoder(Frame).decode
decode_trades = Decoder(Trades).decode
decode_depth = Decoder(Depth).decode
decode_best = Decoder(Best).decode


def unit(symbol: str) -> SizeUnit:
    return "quote" if symbol.endswith("USD") else "base"


def parse(frame: bytes) -> Iterable[Event]:
    return decode(frame).events()


class Market(Struct):
    market: str
    base_ccy: str
    quote_ccy: str
    min_amount: str
    base_ccy_precision: int
    quote_ccy_precision: int
    contract_type: Literal["linear", "inverse"] | None = None
    tick_size: str | None = None

    def instrument(self) -> Instrument:
        is_linear, is_spot = self.contract_type == "linear", self.contract_type is None
        return Instrument(
            raw_symbol=self.market,
            kind="spot" if is_spot else "perpetual",
            base=self.base_ccy,
            quote=self.quote_ccy,
            settle=None if is_spot else self.quote_ccy if is_linear else self.base_ccy,
            linear=None if is_spot else is_linear,
            contract_size=None if is_spot else "1",
            tick_size=self.tick_size or step(self.quote_ccy_precision),
            lot_size=step(self.base_ccy_precision),
            min_size=self.min_amount,
        )


decode_market = Decoder(Market).decode


def read(row: Raw) -> Instrument:
    return decode_market(row).instrument()


EXCHANGE = Exchange(
    id="coinex",
    docs="https://docs.coinex.com/api/v2",
    checked="2026-11, frames that its documentation quotes",
    archives=(
        Archive(
            until="2026-09-23",
            listing=Listing(rows=at("data"), read=read),
            streams=(Stream(channels={"trades": "deals", "book": "depth", "bbo": "bbo"}, parse=parse, inflate=gunzip),),
        ),
    ),
)
