"""Version 2 of Bybit's interface, which contracts in USD, USDT and USDC spoke until October 2023.

https://bybit-exchange.github.io/docs-legacy/futuresV2/inverse/
https://bybit-exchange.github.io/docs-legacy/futuresV2/linear/
Its public streams went offline on 16 October 2023 (https://github.com/hummingbot/hummingbot/issues/6763 quotes the
exchange's letter). A market had two books, of 25 and of 200 levels: where the deeper one has come, the other is passed
over. Contracts in USDC (`BTCPERP`) spell some names otherwise.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Archive, Event, Ignored, Listing, Parse, Stream
from aggregator.records import BookDelta, BookSnapshot, Instrument, Levels, Record, SizeUnit, Trade
from aggregator.sequence import ordered
from aggregator.wire import Text, as_written, at, from_iso, ms, number, optional, text, us
from connectors.families.bybit.legacy import read_forced
from connectors.families.bybit.listing import STATES
from connectors.families.bybit.second_wires import InfoRow, read_bars, read_info
from connectors.families.bybit.spot_legacy import SPOT

SHALLOW, DEEP = "orderBookL2_25", "orderBook_200"
INFO, BARS = "instrument_info", ("klineV2", "candle")


class TradeRow(Struct, gc=False):
    symbol: str
    side: Literal["Buy", "Sell"]  # the taker's
    price: Text
    size: Text
    timestamp: str  # whole seconds
    trade_id: str | None = None
    trade_time_ms: Text = None  # since 2020
    tradeId: str | None = None
    tradeTimeMs: Text = None

    def record(self) -> Trade:
        time = optional(self.trade_time_ms) or optional(self.tradeTimeMs)
        return Trade(
            raw_symbol=self.symbol,
            id=self.trade_id or self.tradeId,
            price=text(self.price),
            size=text(self.size),
            side="buy" if self.side == "Buy" else "sell",
            size_unit=unit(self.symbol),
            ts_event=from_iso(self.timestamp) if time is None else ms(time),
        )


class Level(Struct, gc=False):
    price: str
    side: Literal["Buy", "Sell"]
    size: Text = "0"  # it is not said where the level is gone


class Whole(Struct, gc=False):
    order_book: list[Level] = []
    orderBook: list[Level] = []

    def rows(self) -> list[Level]:
        return self.order_book or self.orderBook


class Changes(Struct, gc=False):
    delete: list[Level]
    update: list[Level]
    insert: list[Level]


class Frame(Struct, gc=False):
    topic: str = ""
    type: str = ""
    data: Raw = Raw(b"null")
    cross_seq: Text = None
    timestamp_e6: Text = None  # when it was sent
    crossSeq: Text = None
    timestampE6: Text = None

    def sent(self) -> int:
        return us(text(self.timestampE6 if self.timestamp_e6 is None else self.timestamp_e6))

    def book(self, symbol: str) -> Record:
        sent = self.sent()
        sequence = int(text(self.crossSeq if self.cross_seq is None else self.cross_seq))
        if self.type == "snapshot":
            rows = decode_rows(self.data) if bytes(self.data).startswith(b"[") else decode_whole(self.data).rows()
            bids, asks = ranked(rows, "Buy"), ranked(rows, "Sell")
            return BookSnapshot(raw_symbol=symbol, bids=bids, asks=asks, sequence=sequence, ts_sent=sent)
        if self.type != "delta":
            raise BadFrame(f"a book of {symbol} that is neither whole nor a change: {self.type[:20]!r}")
        changes = decode_changes(self.data)
        rows = [*changes.delete, *changes.update, *changes.insert]
        bids, asks = side(rows, "Buy"), side(rows, "Sell")
        return BookDelta(raw_symbol=symbol, bids=bids, asks=asks, sequence=sequence, ts_sent=sent)


decode = Decoder(Frame, float_hook=as_written).decode
decode_trades = Decoder(list[TradeRow], float_hook=as_written).decode
decode_rows = Decoder(list[Level], float_hook=as_written).decode
decode_whole = Decoder(Whole, float_hook=as_written).decode
decode_changes = Decoder(Changes, float_hook=as_written).decode


def unit(symbol: str) -> SizeUnit:
    """Contracts in USD, perpetual (`BTCUSD`) and dated (`BTCUSDU21`), are of one dollar."""
    return "base" if symbol.endswith(("USDT", "PERP")) else "quote"


def side(rows: list[Level], word: str) -> Levels:
    return [(row.price, text(row.size)) for row in rows if row.side == word]


def ranked(rows: list[Level], word: str) -> Levels:
    """One side of a whole book, best first: the exchange sent it in the order of prices."""
    return sorted(side(rows, word), key=lambda level: float(level[0]), reverse=word == "Buy")


def parser() -> Parse:
    """The reader of one connection's frames, which knows the markets whose deeper book has come, and their figures."""
    deep: set[str] = set()
    known: dict[str, InfoRow] = {}

    def parse(frame: bytes) -> Iterable[Event]:
        said = decode(frame)
        kind, _, about = said.topic.partition(".")
        symbol = about.rpartition(".")[2]
        if kind == "trade":
            return [row.record() for row in decode_trades(said.data)]
        if kind == "liquidation":
            return read_forced(frame, unit(symbol))
        if kind == INFO:
            is_change, is_usdc = said.type == "delta", said.crossSeq is not None
            return read_info(said.data, known, unit(symbol), said.sent(), is_change=is_change, is_usdc=is_usdc)
        if kind in BARS:
            return read_bars(said.data, about, unit(symbol), said.sent())
        return read_book(said, kind, symbol, deep) if kind in {SHALLOW, DEEP} else ()

    return parse


def read_book(said: Frame, kind: str, symbol: str, deep: set[str]) -> Iterable[Event]:
    """A book, but the shallow one of a market whose deeper one has come."""
    if kind == DEEP:
        deep.add(symbol)
    elif symbol in deep:
        return (Ignored(f"the same book is told by {DEEP}"),)
    return (said.book(symbol),)


class PriceFilter(Struct):
    tick_size: str


class LotFilter(Struct):
    qty_step: Text
    min_trading_qty: Text
    max_trading_qty: Text


class Market(Struct):
    name: str
    alias: str  # it ends with month and day where there are any: `BTCUSD0924`
    status: str
    base_currency: str
    quote_currency: str
    price_filter: PriceFilter
    lot_size_filter: LotFilter

    def instrument(self) -> Instrument:
        is_linear, lot = self.quote_currency != "USD", self.lot_size_filter
        is_dated = self.name != self.alias
        expiry = f"20{self.name[-2:]}-{self.alias[-4:-2]}-{self.alias[-2:]}T08:00:00Z"  # so `settle_time_e9` says
        return Instrument(
            raw_symbol=self.name,
            kind="future" if is_dated else "perpetual",
            base=self.base_currency,
            quote=self.quote_currency,
            settle=self.quote_currency if is_linear else self.base_currency,
            linear=is_linear,
            contract_size="1",
            tick_size=self.price_filter.tick_size,
            lot_size=text(lot.qty_step),
            min_size=text(lot.min_trading_qty),
            max_size=text(lot.max_trading_qty),
            expiry=from_iso(expiry) if is_dated else None,
            state=STATES.get(self.status, "unknown"),
        )


decode_market = Decoder(Market, float_hook=number).decode


def read_market(row: Raw) -> Instrument:
    return decode_market(row).instrument()


ARCHIVE = Archive(
    until="2023-10-16",
    listing=Listing(rows=at("result"), read=read_market),
    streams=(
        Stream(
            name="version2",
            channels={
                "trades": "trade",
                "book": DEEP,
                "liquidations": "liquidation",
                "ticker": INFO,
                "funding": INFO,
                "open_interest": INFO,
                "mark_price": INFO,
                "index_price": INFO,
                "candles": "klineV2",
            },
            parser=parser,
            sequence={"book": ordered},
            depth=200,
        ),
        SPOT,
    ),
)
