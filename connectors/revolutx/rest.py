"""Requests and answers of Revolut X by REST, all of which are lists or maps of rows in its own spelling.

A request that names no region is answered with rows of both: each says its own.

https://developer.revolut.com/docs/api/revolut-x-crypto-exchange
"""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Request
from aggregator.records import DAY_S, MS_NS, BookSnapshot, Candle, Level, Levels, Record, Side, Ticker, Trade
from aggregator.wire import bbo, candle, ms, nonzero, oldest_first, optional, text

API = "https://revx.revolut.com/api"
REGION = "EEA"
DEPTH = 50
RECENT_MS = 5 * 60_000


class Metadata(Struct, frozen=True):
    timestamp: int | None = None

    @property
    def sent(self) -> int | None:
        return None if self.timestamp is None else ms(self.timestamp)


class TradeRow(Struct):
    id: str
    price: str
    quantity: str
    side: Side
    timestamp: int
    region: str = REGION


class Trades(Struct):
    data: list[TradeRow]


class LevelRow(Struct):
    price: str
    quantity: str


class Sides(Struct):
    bids: list[LevelRow]
    asks: list[LevelRow]


class Depth(Struct):
    data: Sides
    metadata: Metadata = Metadata()


class DayRow(Struct):
    symbol: str
    bid: str | None = None
    ask: str | None = None
    last_price: str | None = None
    low_24h: str | None = None
    high_24h: str | None = None
    price_change_24h: str | None = None
    volume_24h: str | None = None
    quote_volume_24h: str | None = None
    region: str = REGION


class Days(Struct):
    data: list[DayRow]
    metadata: Metadata = Metadata()


class Bar(Struct):
    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str


class Bars(Struct):
    data: list[Bar]


decode_trades = Decoder(Trades).decode
decode_depth = Decoder(Depth).decode
decode_days = Decoder(Days).decode
decode_bars = Decoder(Bars).decode


def dashed(raw_symbol: str) -> str:
    return raw_symbol.replace("/", "-")


def ask_trades(raw_symbol: str) -> Request:
    return Request(f"{API}/1.0/public/trades/all?symbol={dashed(raw_symbol)}&limit=100&region={REGION}")


def ask_depth(raw_symbol: str) -> Request:
    return Request(f"{API}/2.0/public/order-book/{dashed(raw_symbol)}?limit={DEPTH}&region={REGION}")


def ask_days(_: str) -> Request:
    return Request(f"{API}/1.0/public/tickers?region={REGION}")


def ask_bars(raw_symbol: str) -> Request:
    url = f"{API}/1.0/public/candles/{dashed(raw_symbol)}?interval=1&region={REGION}"
    return Request(url, timed=lambda now: f"since={now // MS_NS - RECENT_MS}&until={now // MS_NS}")


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return oldest_first(
        Trade(
            raw_symbol=raw_symbol,
            id=t.id,
            price=text(t.price),
            size=text(t.quantity),
            side=t.side,
            ts_event=ms(t.timestamp),
        )
        for t in decode_trades(body).data
        if t.region == REGION
    )


def price(level: Level) -> Decimal:
    return Decimal(level[0])


def levels(rows: Iterable[LevelRow]) -> Levels:
    return sorted(((text(row.price), text(row.quantity)) for row in rows), key=price)


def read_depth(raw_symbol: str, body: bytes) -> Iterable[Record]:
    said = decode_depth(body)
    return (
        BookSnapshot(
            raw_symbol=raw_symbol,
            bids=levels(said.data.bids)[::-1],
            asks=levels(said.data.asks),
            depth=DEPTH,
            reason="periodic",
            ts_sent=said.metadata.sent,
        ),
    )


def read_days(_: str, body: bytes) -> Iterable[Record]:
    said = decode_days(body)
    for day in said.data:
        if day.region != REGION:
            continue
        yield Ticker(
            raw_symbol=day.symbol,
            last=nonzero(day.last_price),
            high=nonzero(day.high_24h),
            low=nonzero(day.low_24h),
            base_volume=optional(day.volume_24h),
            quote_volume=optional(day.quote_volume_24h),
            change=optional(day.price_change_24h),
            window_s=DAY_S,
            ts_sent=said.metadata.sent,
        )
        yield bbo(day.symbol, day.bid, None, day.ask, None, ts_sent=said.metadata.sent)


def bars(raw_symbol: str, interval: str, body: bytes) -> list[Candle]:
    """The candles of an answer, the oldest first."""
    return [
        candle(raw_symbol, interval, ms(bar.start), (bar.open, bar.high, bar.low, bar.close), base=bar.volume)
        for bar in sorted(decode_bars(body).data, key=lambda bar: bar.start)
    ]


def read_bars(raw_symbol: str, body: bytes) -> Iterable[Record]:
    return bars(raw_symbol, "1m", body)
