"""The long names of Delta Exchange's stream: candles, and all the others, which captures have.

https://web.archive.org/web/20260130043054/https://docs-global.delta.exchange/#websocket-feed
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Event
from aggregator.records import BookSnapshot, Candle, Levels, Side, Trade
from aggregator.wire import Text, as_written, by_word, end_of, oldest_first, optional, past, text, us
from connectors.delta.book_wires import ChangesWire
from connectors.delta.frames import READERS, decode_kind, reader
from connectors.delta.long_wires import (
    BestWire,
    DayWire,
    FundingWire,
    IndexWire,
    MarkWire,
    ProductWire,
    ShorterBestWire,
)
from connectors.delta.wires import MARK, unit_of

SHORT = {"subscriptions", "error"}  # both addresses say these alike
CANDLES = "candlestick_"


class TradeRow(Struct, gc=False):
    price: Text
    size: Text
    timestamp: int
    buyer_role: str | None = None  # `taker` or `maker`
    symbol: str = ""

    def trade(self, raw_symbol: str) -> Trade:
        side: Side | None = {"taker": "buy", "maker": "sell"}.get(self.buyer_role or "")  # type: ignore[assignment]
        return Trade(
            raw_symbol=raw_symbol,
            price=text(self.price),
            size=text(self.size),
            size_unit=unit_of(raw_symbol),
            side=side,
            ts_event=us(self.timestamp),
        )

    def events(self) -> Iterable[Event]:
        return (self.trade(self.symbol),)


class TradesWire(Struct):
    """The last fifty trades, of before the subscription."""

    symbol: str
    trades: list[TradeRow]

    def events(self) -> Iterable[Event]:
        return past(oldest_first(row.trade(self.symbol) for row in self.trades))


class CandleWire(Struct, gc=False):
    symbol: str
    resolution: str
    candle_start_time: int
    open: Text  # null, as the other prices, while there was no trade
    high: Text
    low: Text
    close: Text
    volume: Text = None
    timestamp: int | None = None

    def events(self) -> Iterable[Event]:
        if self.open is None or self.symbol.startswith(MARK):  # those of mark prices are of no trades
            return ()
        start, is_spot = us(self.candle_start_time), unit_of(self.symbol) == "base"
        volume = optional(self.volume)
        return (
            Candle(
                raw_symbol=self.symbol,
                interval=self.resolution,
                ts_open=start,
                ts_close=end_of(self.resolution, start),
                open=text(self.open),
                high=text(self.high),
                low=text(self.low),
                close=text(self.close),
                base_volume=volume if is_spot else None,
                contract_volume=None if is_spot else volume,
                ts_sent=None if self.timestamp is None else us(self.timestamp),
            ),
        )


class Level(Struct, gc=False):
    limit_price: Text
    size: Text


class WholeBook(Struct, gc=False):
    symbol: str
    buy: list[Level]
    sell: list[Level]
    last_updated_at: int | None = None
    timestamp: int | None = None

    def events(self) -> Iterable[Event]:
        return (
            BookSnapshot(
                raw_symbol=self.symbol,
                bids=side(self.buy),
                asks=side(self.sell),
                reason="periodic",
                ts_event=None if self.last_updated_at is None else us(self.last_updated_at),
                ts_sent=None if self.timestamp is None else us(self.timestamp),
            ),
        )


def side(rows: list[Level]) -> Levels:
    return [(text(row.limit_price), text(row.size)) for row in rows]


decode_candle = Decoder(CandleWire, float_hook=as_written).decode
LONG = {
    "all_trades": reader(TradeRow),
    "all_trades_snapshot": reader(TradesWire),
    "recent_trade": reader(TradeRow),  # until October 2020
    "recent_trade_snapshot": reader(TradesWire),
    "ticker": reader(DayWire),  # so it was called in 2020
    "l2_orderbook": reader(WholeBook),
    "l2_updates": reader(ChangesWire),
    "l1_orderbook": reader(BestWire),
    "l1ob": reader(ShorterBestWire),
    "v2/ticker": reader(DayWire),
    "mark_price": reader(MarkWire),
    "spot_price": reader(IndexWire),
    "v2/spot_price": reader(IndexWire),
    "funding_rate": reader(FundingWire),
    "product_updates": reader(ProductWire),
} | {word: read for word, read in READERS.items() if word in SHORT}


def parse_other(frame: bytes) -> Iterable[Event]:
    kind = decode_kind(frame).type
    if kind.startswith(CANDLES):
        return decode_candle(frame).events()
    read = LONG.get(kind)
    return () if read is None else read(frame)


parse = by_word(b'"type":"', LONG, parse_other)
