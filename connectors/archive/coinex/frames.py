"""Reading the frames of CoinEx: trades, books, best prices, statistics and indices."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Event
from aggregator.records import (
    MS_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Channel,
    Funding,
    OpenInterest,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import best, levels, ms, nonzero, optional
from connectors.archive.coinex import legacy_frames
from connectors.archive.coinex.shared_frames import prices, unit

SIGN_PRICE = "_SIGNPRICE"
CHANNELS: dict[Channel, str] = {
    "trades": "deals",
    "book": "depth",
    "bbo": "bbo",
    "ticker": "state",
    "open_interest": "state",
    "funding": "state",
    "mark_price": "index",
    "index_price": "index",
}


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


class StateRow(Struct, gc=False):
    """Statistics of a market; contracts have the fields from `open_interest_size` on."""

    market: str
    last: str
    open: str
    high: str
    low: str
    volume: str
    value: str
    period: int
    open_interest_size: str | None = None
    mark_price: str | None = None
    index_price: str | None = None
    latest_funding_rate: str | None = None
    next_funding_rate: str | None = None
    latest_funding_time: int | None = None
    next_funding_time: int | None = None

    def records(self) -> Iterable[Record]:
        if self.market.endswith(SIGN_PRICE):
            return  # no market: the price by which contracts are settled
        is_dollars = unit(self.market) == "quote"
        yield Ticker(
            raw_symbol=self.market,
            last=nonzero(self.last),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=self.value if is_dollars else self.volume,
            quote_volume=self.volume if is_dollars else self.value,
            window_s=self.period,
        )
        yield from prices(self.market, self.mark_price, self.index_price)
        if (size := optional(self.open_interest_size)) is not None:
            yield OpenInterest(raw_symbol=self.market, size=size, size_unit=unit(self.market))
        if self.latest_funding_time and (rate := optional(self.latest_funding_rate)) is not None:
            yield Funding(raw_symbol=self.market, rate=rate, kind="settled", ts_next=ms(self.latest_funding_time))
        if self.next_funding_time and (rate := optional(self.next_funding_rate)) is not None:
            yield Funding(raw_symbol=self.market, rate=rate, ts_next=ms(self.next_funding_time))


class States(Struct, gc=False):
    state_list: list[StateRow]


class Index(Struct, gc=False):
    market: str
    index_price: str | None = None
    mark_price: str | None = None


class Frame(Struct, gc=False):
    method: str = ""
    data: Raw = Raw(b"null")
    params: Raw = Raw()  # version 1 has it in place of `data`

    def events(self) -> Iterable[Event]:
        match self.method:
            case "deals.update":
                said = decode_trades(self.data)
                return [row.record(said.market) for row in reversed(said.deal_list)]  # they come newest first
            case "depth.update":
                return (decode_depth(self.data).record(),)
            case "bbo.update":
                return (decode_best(self.data).record(),)
            case "state.update":
                return [record for row in decode_states(self.data).state_list for record in row.records()]
            case "index.update":
                index = decode_index(self.data)
                return prices(index.market, index.mark_price, index.index_price)
        return ()


decode = Decoder(Frame).decode
decode_trades = Decoder(Trades).decode
decode_depth = Decoder(Depth).decode
decode_best = Decoder(Best).decode
decode_states = Decoder(States).decode
decode_index = Decoder(Index).decode


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    return legacy_frames.events(said.method, said.params) if bytes(said.params) else said.events()
