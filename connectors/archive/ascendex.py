"""AscendEX (BitMax), until July 2026: spot, and perpetual contracts, whose sizes are of the base asset.

https://ascendex.github.io/ascendex-pro-api/
https://ascendex.github.io/ascendex-futures-pro-api-v2/
One frame (`futures-pricing-data`) has mark, index, funding as it stands and open interest of every contract. A candle
runs; its time is its start, its volume is of the base asset. Both are read as this documentation of 2021 has them.
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Archive, Event, Exchange, Listing, Stream
from aggregator.records import (
    MS_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    IndexPrice,
    Instrument,
    MarketState,
    MarkPrice,
    OpenInterest,
    Record,
    Trade,
)
from aggregator.sequence import contiguous
from aggregator.wire import Text, at, best, candle, levels, ms, nonzero, optional

STATES: dict[str, MarketState] = {
    "Normal": "trading",
    "NoTrading": "halt",
    "NewUserTradingDisabled": "trading",
    "PublicOnly": "halt",
    "Delisted": "delisted",
}


INTERVALS = {
    "1": "1m",
    "5": "5m",
    "15": "15m",
    "30": "30m",
    "60": "1h",
    "120": "2h",
    "240": "4h",
    "360": "6h",
    "720": "12h",
    "1d": "1d",
    "1w": "1w",
    "1m": "1M",
}


class TradeRow(Struct, gc=False):
    p: str
    q: str
    ts: int
    bm: bool  # the buyer was the maker
    seqnum: int


class BookRow(Struct, gc=False):
    ts: int  # a whole one may say 0
    seqnum: int
    asks: list[list[Text]]
    bids: list[list[Text]]


class BestRow(Struct, gc=False):
    ts: int
    bid: list[str]
    ask: list[str]


class PricesRow(Struct, gc=False):
    s: str
    t: int
    mp: str | None = None
    ip: str | None = None
    r: str | None = None
    f: int | None = None  # when funding is exchanged next
    fi: int | None = None  # how often, in milliseconds
    oi: str | None = None  # since March 2021

    def records(self) -> Iterable[Record]:
        name, time = self.s, self.t * MS_NS
        if mark := nonzero(self.mp):
            yield MarkPrice(raw_symbol=name, price=mark, ts_event=time)
        if index := nonzero(self.ip):
            yield IndexPrice(raw_symbol=name, price=index, ts_event=time)
        if rate := optional(self.r):
            due, interval = ms(self.f) if self.f else None, self.fi // 1000 if self.fi else None
            yield Funding(raw_symbol=name, rate=rate, interval_s=interval, ts_next=due, ts_event=time)
        if size := optional(self.oi):
            yield OpenInterest(raw_symbol=name, size=size, ts_event=time)


class BarRow(Struct, gc=False):
    i: str
    ts: int
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    c: str
    v: str | None = None

    def record(self, symbol: str) -> Candle:
        prices = self.o, self.h, self.l, self.c
        return candle(symbol, INTERVALS.get(self.i, self.i), self.ts * MS_NS, prices, base=self.v)


class Frame(Struct, gc=False):
    m: str
    symbol: str = ""
    s: str = ""  # the symbol of a candle
    data: Raw = Raw(b"null")
    con: list[PricesRow] = []

    def events(self) -> Iterable[Event]:
        match self.m:
            case "trades":
                return [self.trade(row) for row in decode_trades(self.data)]
            case "depth" | "depth-realtime" | "depth-snapshot" | "depth-snapshot-realtime":
                return (self.book(decode_book(self.data)),)
            case "bbo":
                return (self.best(decode_best(self.data)),)
            case "futures-pricing-data":
                return [record for row in self.con for record in row.records()]
            case "bar":
                return (decode_bar(self.data).record(self.s),)
        return ()

    def trade(self, row: TradeRow) -> Trade:
        return Trade(
            raw_symbol=self.symbol,
            id=str(row.seqnum),
            price=row.p,
            size=row.q,
            side="sell" if row.bm else "buy",
            ts_event=row.ts * MS_NS,
        )

    def book(self, row: BookRow) -> BookSnapshot | BookDelta:
        kind = BookSnapshot if self.m.startswith("depth-snapshot") else BookDelta
        return kind(
            raw_symbol=self.symbol,
            bids=levels(row.bids),
            asks=levels(row.asks),
            sequence=row.seqnum,
            ts_event=row.ts * MS_NS or None,
        )

    def best(self, row: BestRow) -> Bbo:
        bid, ask = best(*row.bid) if row.bid else (None, None), best(*row.ask) if row.ask else (None, None)
        return Bbo(
            raw_symbol=self.symbol,
            bid_price=bid[0],
            bid_size=bid[1],
            ask_price=ask[0],
            ask_size=ask[1],
            ts_event=row.ts * MS_NS,
        )


decode = Decoder(Frame).decode
decode_trades = Decoder(list[TradeRow]).decode
decode_book = Decoder(BookRow).decode
decode_best = Decoder(BestRow).decode
decode_bar = Decoder(BarRow).decode


def parse(frame: bytes) -> Iterable[Event]:
    return decode(frame).events()


class PriceFilter(Struct):
    tickSize: str


class LotFilter(Struct):
    lotSize: str
    minQty: str
    maxQty: str


class Market(Struct):
    symbol: str
    status: str
    baseAsset: str = ""  # spot has it, as the four that follow
    quoteAsset: str = ""
    tickSize: str | None = None
    lotSize: str | None = None
    minNotional: str | None = None
    underlying: str = ""  # contracts have it, `BTC/USDT`, and what follows
    settlementAsset: str = ""
    tradingStartTime: int | None = None
    priceFilter: PriceFilter | None = None
    lotSizeFilter: LotFilter | None = None

    def instrument(self) -> Instrument:
        price, lot = self.priceFilter, self.lotSizeFilter
        if price is None or lot is None:
            return Instrument(
                raw_symbol=self.symbol,
                base=self.baseAsset,
                quote=self.quoteAsset,
                tick_size=self.tickSize,
                lot_size=self.lotSize,
                min_notional=self.minNotional,
                state=STATES.get(self.status, "unknown"),
            )
        base, _, quote = self.underlying.partition("/")
        return Instrument(
            raw_symbol=self.symbol,
            kind="perpetual",
            base=base,
            quote=quote,
            settle=self.settlementAsset,
            linear=self.settlementAsset == quote,
            contract_size="1",
            tick_size=price.tickSize,
            lot_size=lot.lotSize,
            min_size=lot.minQty,
            max_size=lot.maxQty,
            state=STATES.get(self.status, "unknown"),
            ts_listed=None if self.tradingStartTime is None else ms(self.tradingStartTime),
        )


decode_market = Decoder(Market).decode


def read(row: Raw) -> Instrument:
    return decode_market(row).instrument()


EXCHANGE = Exchange(
    id="ascendex",
    docs="https://ascendex.github.io/ascendex-pro-api/",
    checked="2026-11, recordings of April 2021 and 2022 by others",
    archives=(
        Archive(
            until="2026-08-01",
            listing=Listing(rows=at("data"), read=read),
            streams=(
                Stream(
                    channels={
                        "trades": "trades",
                        "book": "depth",
                        "bbo": "bbo",
                        "mark_price": "futures-pricing-data",
                        "index_price": "futures-pricing-data",
                        "funding": "futures-pricing-data",
                        "open_interest": "futures-pricing-data",
                        "candles": "bar",
                    },
                    parse=parse,
                    sequence={"book": contiguous},
                ),
            ),
        ),
    ),
)
