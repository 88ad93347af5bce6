"""The part of ZebPay that comes by REST alone: all of its pairs, and candles.

https://github.com/zebpay/zebpay-api-references/blob/main/spot/api-reference/public-endpoints.md
Candles of pairs begin at a time in seconds, those of perpetuals in milliseconds. `side` and `isBuyerMaker` of a trade
say one thing: the side is the taker's.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Poll, Request
from aggregator.records import DAY_S, MS_NS, BookSnapshot, Instrument, Record, Side, Ticker, Trade
from aggregator.wire import Text, bbo, candle, encode, levels, ms, nonzero, optional, seconds, text

FUTURES = "https://futuresbe.zebpay.com/api/v1"
SPOT = "https://sapi.zebpay.com/api/v2"
DEPTH = 50
RECENT_MS = 5 * 60_000


class TradeRow(Struct):
    id: int
    side: Side
    amount: str
    price: str
    timestamp: int


class Trades(Struct):
    data: list[TradeRow]


class Sides(Struct):
    bids: list[list[Text]]
    asks: list[list[Text]]
    nonce: int | None = None
    timestamp: int | None = None  # seconds


class Depth(Struct):
    data: Sides


class DayRow(Struct):
    symbol: str
    timestamp: int
    high: str | None = None
    low: str | None = None
    open: str | None = None
    last: str | None = None
    change: str | None = None
    baseVolume: str | None = None
    quoteVolume: str | None = None
    bid: str | None = None
    bidVolume: str | None = None
    ask: str | None = None
    askVolume: str | None = None


class Days(Struct):
    data: list[DayRow]


class Bar(Struct, array_like=True):
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


def is_pair(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def is_perpetual(instrument: Instrument) -> bool:
    return instrument.kind == "perpetual"


def read_trades(raw_symbol: str, body: bytes) -> Iterable[Record]:
    for t in sorted(decode_trades(body).data, key=lambda t: t.id):
        at = ms(t.timestamp)
        yield Trade(
            raw_symbol=raw_symbol, id=str(t.id), price=text(t.price), size=text(t.amount), side=t.side, ts_event=at
        )


def read_depth(raw_symbol: str, body: bytes) -> Iterable[Record]:
    d = decode_depth(body).data
    at = None if d.timestamp is None else seconds(d.timestamp)
    yield BookSnapshot(
        raw_symbol=raw_symbol,
        bids=levels(d.bids),
        asks=levels(d.asks),
        depth=DEPTH,
        reason="periodic",
        sequence=d.nonce,
        ts_sent=at,
    )


def read_days(_: str, body: bytes) -> Iterable[Record]:
    for day in decode_days(body).data:
        sent = ms(day.timestamp)
        yield Ticker(
            raw_symbol=day.symbol,
            last=nonzero(day.last),
            open=nonzero(day.open),
            high=nonzero(day.high),
            low=nonzero(day.low),
            base_volume=optional(day.baseVolume),
            quote_volume=optional(day.quoteVolume),
            change=optional(day.change),
            window_s=DAY_S,
            ts_sent=sent,
        )
        yield bbo(day.symbol, day.bid, day.bidVolume, day.ask, day.askVolume, ts_sent=sent)


def reading(time: Callable[[int], int]) -> Callable[[str, bytes], Iterable[Record]]:
    def read(raw_symbol: str, body: bytes) -> Iterable[Record]:
        for bar in sorted(decode_bars(body).data, key=lambda bar: bar.start):
            prices = bar.open, bar.high, bar.low, bar.close
            yield candle(raw_symbol, "1m", time(bar.start), prices, base=bar.volume)

    return read


def ask_pair(raw_symbol: str) -> Request:
    url = f"{SPOT}/market/klines?symbol={raw_symbol}&interval=1m"
    return Request(url, timed=lambda now: f"startTime={now // MS_NS - RECENT_MS}&endTime={now // MS_NS}")


def ask_perpetual(raw_symbol: str) -> Request:
    body = encode({"symbol": raw_symbol, "interval": "1m", "limit": 5})
    return Request(f"{FUTURES}/market/klines", "POST", body, headers={"Content-Type": "application/json"})


POLLS = (
    Poll(
        name="trades",
        channels=("trades",),
        every=15,
        request=lambda name: Request(f"{SPOT}/market/trades?symbol={name}&limit=200"),
        parse=read_trades,
        serves=is_pair,
    ),
    Poll(
        name="book",
        channels=("book",),
        every=10,
        request=lambda name: Request(f"{SPOT}/market/orderbook?symbol={name}&limit={DEPTH}"),
        parse=read_depth,
        serves=is_pair,
    ),
    Poll(
        name="days",
        channels=("ticker", "bbo"),
        every=10,
        request=lambda _: Request(f"{SPOT}/market/allTickers"),
        parse=read_days,
        many=True,
        serves=is_pair,
    ),
    Poll(
        name="pair-candles",
        channels=("candles",),
        every=60,
        request=ask_pair,
        parse=reading(seconds),
        serves=is_pair,
    ),
    Poll(
        name="candles",
        channels=("candles",),
        every=60,
        request=ask_perpetual,
        parse=reading(ms),
        serves=is_perpetual,
    ),
)
