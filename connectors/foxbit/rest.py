"""Requests and answers by REST, candles and the listing among them."""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Request, Since
from aggregator.records import Candle, Instrument, Record, Trade
from aggregator.wire import candle, from_iso, ms, optional
from connectors.foxbit.wires import trade

API = "https://api.foxbit.com.br/rest/v3"
INTERVAL = "1m"


class PastTrade(Struct, gc=False):
    id: int
    price: str
    volume: str
    taker_side: str
    created_at: str

    def record(self, raw_symbol: str) -> Trade:
        return trade(raw_symbol, self.id, self.price, self.volume, self.taker_side, from_iso(self.created_at))


class PastTrades(Struct):
    data: list[PastTrade]


class CandleRow(Struct, array_like=True, gc=False):
    start: str  # ms, as the end
    open: str
    high: str
    low: str
    close: str
    end: str
    base_volume: str
    quote_volume: str
    trades: int

    def record(self, raw_symbol: str) -> Candle:
        prices = self.open, self.high, self.low, self.close
        base, quote = self.base_volume, self.quote_volume
        return candle(raw_symbol, INTERVAL, ms(self.start), prices, base=base, quote=quote, trades=self.trades)


class Asset(Struct):
    symbol: str


class MarketWire(Struct):
    symbol: str
    base: Asset
    quote: Asset
    price_increment: str | None = None
    quantity_increment: str | None = None
    quantity_min: str | None = None

    def instrument(self) -> Instrument:
        return Instrument(
            raw_symbol=self.symbol,
            base=self.base.symbol.upper(),
            quote=self.quote.symbol.upper(),
            tick_size=optional(self.price_increment),
            lot_size=optional(self.quantity_increment),
            min_size=optional(self.quantity_min),
        )


decode_past = Decoder(PastTrades).decode
decode_candles = Decoder(list[CandleRow]).decode
decode_market = Decoder(MarketWire).decode


def missed(raw_symbol: str, _: Since) -> Request:
    return Request(f"{API}/markets/{raw_symbol}/trades/history?page_size=200")


def read_missed(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    return [row.record(raw_symbol) for row in sorted(decode_past(body).data, key=lambda row: row.id)]


def ask_candles(raw_symbol: str) -> Request:
    return Request(f"{API}/markets/{raw_symbol}/candlesticks?interval={INTERVAL}&limit=5")


def read_candles(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return sorted((row.record(raw_symbol) for row in decode_candles(body)), key=lambda candle: candle.ts_open)


def read_market(row: Raw) -> Instrument:
    return decode_market(row).instrument()
