"""Version 3 of dYdX, on StarkEx, until October 2024: perpetual contracts in US dollars, settled in USDC.

https://docs.dydx.exchange (https://github.com/dydxprotocol/v3-client)
Changes of a book may come out of turn: each level has the number of its newest change, and an older one is passed over.
A book may be crossed at times. A trade has no number.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Archive, Event, Listing, Parse, Stream
from aggregator.records import HOUR_S, BookDelta, BookSnapshot, Instrument, Levels, Trade
from aggregator.wire import Text, as_written, from_iso, is_zero, levels, oldest_first, past, text
from connectors.dydx.legacy_wires import STATES, FiguresWire, Markets

Newest = dict[tuple[str, str], int]  # side and price -> the number of the newest change


class TradeRow(Struct, gc=False):
    side: Literal["BUY", "SELL"]  # the taker's
    size: str
    price: str
    createdAt: str
    liquidation: bool = False  # since 2022

    def record(self, symbol: str) -> Trade:
        return Trade(
            raw_symbol=symbol,
            price=text(self.price),
            size=text(self.size),
            side="buy" if self.side == "BUY" else "sell",
            kind="liquidation" if self.liquidation else "trade",
            ts_event=from_iso(self.createdAt),
        )


class Trades(Struct, gc=False):
    trades: list[TradeRow]


class Level(Struct, gc=False):
    price: str
    size: str
    offset: str = "0"


class Whole(Struct, gc=False):
    bids: list[Level]
    asks: list[Level]


class Changes(Struct, gc=False):
    offset: str
    bids: list[list[Text]]
    asks: list[list[Text]]


class Frame(Struct, gc=False):
    type: str
    channel: str = ""
    id: str = ""
    contents: Raw = Raw(b"null")


decode = Decoder(Frame).decode
decode_trades = Decoder(Trades).decode
decode_whole = Decoder(Whole).decode
decode_changes = Decoder(Changes).decode
decode_markets = Decoder(Markets, float_hook=as_written).decode
decode_figures = Decoder(dict[str, FiguresWire], float_hook=as_written).decode


def whole(symbol: str, said: Whole, newest: Newest) -> BookSnapshot:
    newest.clear()
    newest |= {(side, text(row.price)): int(row.offset) for side in ("bids", "asks") for row in getattr(said, side)}
    bids, asks = ranked(said.bids), ranked(said.asks)
    return BookSnapshot(raw_symbol=symbol, bids=bids[::-1], asks=asks)


def ranked(rows: list[Level]) -> Levels:
    """The levels by price; those that are gone are told with a size of 0."""
    there = ((text(row.price), text(row.size)) for row in rows)
    return sorted((level for level in there if not is_zero(level[1])), key=lambda level: float(level[0]))


def changed(side: str, rows: Levels, offset: int, newest: Newest) -> Levels:
    """The rows that are newer than what is known of their level."""
    news = [row for row in rows if newest.get((side, row[0]), -1) <= offset]
    newest |= {(side, price): offset for price, _ in news}
    return news


def parser() -> Parse:
    """The reader of one connection's frames, which knows of each level how new it is."""
    books: dict[str, Newest] = {}

    def parse(frame: bytes) -> Iterable[Event]:
        said = decode(frame)
        if said.type not in {"subscribed", "channel_data"}:
            return ()
        is_first = said.type == "subscribed"
        if said.channel == "v3_trades":
            rows = [row.record(said.id) for row in decode_trades(said.contents).trades]
            return past(reversed(rows)) if is_first else oldest_first(rows)  # those from before come newest first
        if said.channel == "v3_markets":
            told = decode_markets(said.contents).markets if is_first else decode_figures(said.contents)
            return [record for name, figures in told.items() for record in figures.records(name)]
        if said.channel != "v3_orderbook":
            return ()
        newest = books.setdefault(said.id, {})
        if is_first:
            return (whole(said.id, decode_whole(said.contents), newest),)
        changes = decode_changes(said.contents)
        offset = int(changes.offset)
        bids = changed("bids", levels(changes.bids), offset, newest)
        asks = changed("asks", levels(changes.asks), offset, newest)
        return (BookDelta(raw_symbol=said.id, bids=bids, asks=asks),) if bids or asks else ()

    return parse


class Market(Struct):
    market: str
    status: str
    baseAsset: str
    stepSize: str
    tickSize: str
    minOrderSize: str

    def instrument(self) -> Instrument:
        return Instrument(
            raw_symbol=self.market,
            kind="perpetual",
            base=self.baseAsset,
            quote="USDC",
            settle="USDC",
            linear=True,
            contract_size="1",
            tick_size=text(self.tickSize),
            lot_size=text(self.stepSize),
            min_size=text(self.minOrderSize),
            state=STATES.get(self.status, "unknown"),
            funding_interval_s=HOUR_S,
            funding_offset_s=0,
        )


class Answer(Struct):
    markets: dict[str, Raw]


decode_answer = Decoder(Answer).decode
decode_market = Decoder(Market).decode


def rows(body: bytes) -> Iterable[Raw]:
    return decode_answer(body).markets.values()


def read_market(row: Raw) -> Instrument:
    return decode_market(row).instrument()


ARCHIVE = Archive(
    until="2024-11-01",
    listing=Listing(rows=rows, read=read_market),
    streams=(
        Stream(
            name="version3",
            channels={
                "trades": "v3_trades",
                "book": "v3_orderbook",
                "ticker": "v3_markets",
                "funding": "v3_markets",
                "open_interest": "v3_markets",
                "mark_price": "v3_markets",
                "index_price": "v3_markets",
                "status": "v3_markets",
            },
            parser=parser,
            crosses=True,
        ),
    ),
)
