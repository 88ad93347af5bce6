"""The messages of LBank's pairs: those that are pushed, and answers to questions, which have rows of columns.

https://www.lbank.com/en-US/docs/index.html
Times name no zone and are of Beijing, eight hours east of UTC: in a sample of ccxt 4.5.90 an answer of 08:29:41 holds
the five minutes that began at 00:20 UTC.
"""

from collections.abc import Callable, Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.records import DAY_S, BookSnapshot, Candle, Record, Side, Ticker, Trade
from aggregator.wire import (
    Text,
    as_written,
    candle,
    end_of,
    from_iso,
    levels,
    ms,
    nonzero,
    optional,
    seconds,
    text,
)

SLOTS = {
    "1m": "1min",
    "5m": "5min",
    "15m": "15min",
    "30m": "30min",
    "1h": "1hr",
    "4h": "4hr",
    "1d": "day",
    "1w": "week",
    "1M": "month",
    "1y": "year",
}
INTERVALS = {slot: interval for interval, slot in SLOTS.items()}
DEPTH = 100  # levels a side, the most that is offered
BEIJING = "+08:00"
OPPOSITE: dict[str, Side] = {"buy": "sell", "sell": "buy"}
BARS = ["timestamp", "open", "high", "low", "close", "volume", "turnover", "count"]
DEALS = ["timestamp", "price", "volume", "direction"]


def taker(direction: str) -> Side:
    """The taker's side of `sell`, `buy_market`, or of `sell_maker`, which is the maker's."""
    word, kind = direction.partition("_")[::2]
    if word not in OPPOSITE:
        raise BadFrame(f"a trade of the direction {direction[:20]!r}")
    maker = OPPOSITE[word]
    return maker if kind == "maker" else OPPOSITE[maker]


class TradeWire(Struct, gc=False):
    volume: Text
    price: Text
    direction: str
    TS: str
    amount: Text = None  # in the quote asset

    def records(self, pair: str, _: int | None) -> Iterable[Record]:
        yield Trade(
            raw_symbol=pair,
            price=text(self.price),
            size=text(self.volume),
            quote_size=optional(self.amount),
            side=taker(self.direction),
            ts_event=from_iso(self.TS + BEIJING),
        )


class DepthWire(Struct, gc=False):
    asks: list[list[Text]]
    bids: list[list[Text]]

    def records(self, pair: str, sent: int | None) -> Iterable[Record]:
        yield BookSnapshot(
            raw_symbol=pair,
            bids=levels(self.bids),
            asks=levels(self.asks),
            depth=DEPTH,
            reason="periodic",
            ts_sent=sent,
        )


class TickWire(Struct, gc=False):
    latest: Text = None
    high: Text = None
    low: Text = None
    vol: Text = None
    turnover: Text = None  # in the quote asset

    def records(self, pair: str, sent: int | None) -> Iterable[Record]:
        yield Ticker(
            raw_symbol=pair,
            last=nonzero(self.latest),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.vol),
            quote_volume=optional(self.turnover),
            window_s=DAY_S,
            ts_sent=sent,
        )


class BarWire(Struct, gc=False):
    t: str  # when it begins
    slot: str
    o: Text
    h: Text
    l: Text  # noqa: E741 - the exchange's own name
    c: Text
    v: Text = None
    a: Text = None  # in the quote asset
    n: int | None = None

    def records(self, pair: str, sent: int | None) -> Iterable[Record]:
        interval, start = INTERVALS.get(self.slot, self.slot), from_iso(self.t + BEIJING)
        yield Candle(
            raw_symbol=pair,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            base_volume=optional(self.v),
            quote_volume=optional(self.a),
            trades=self.n,
            ts_sent=sent,
        )


class BarRow(Struct, array_like=True, gc=False):
    timestamp: int  # seconds
    open: Text
    high: Text
    low: Text
    close: Text
    volume: Text
    turnover: Text  # in the quote asset
    count: int

    def record(self, pair: str, interval: str) -> Record:
        prices = (self.open, self.high, self.low, self.close)
        start, count = seconds(self.timestamp), self.count
        return candle(pair, interval, start, prices, base=self.volume, quote=self.turnover, trades=count)


class DealRow(Struct, array_like=True, gc=False):
    timestamp: int  # milliseconds, as ccxt 4.5.90 reads it
    price: Text
    volume: Text
    direction: str

    def record(self, pair: str) -> Record:
        price, size, side = text(self.price), text(self.volume), taker(self.direction)
        return Trade(raw_symbol=pair, price=price, size=size, side=side, ts_event=ms(self.timestamp))


class Frame(Struct, gc=False):
    type: str = ""
    pair: str = ""
    TS: str | None = None
    trade: TradeWire | None = None
    depth: DepthWire | None = None
    tick: TickWire | None = None
    kbar: Raw = Raw(b"null")  # an answer to a question has the name of its interval alone
    action: str = ""
    ping: str = ""
    status: str = ""
    message: str = ""
    columns: list[str] | None = None  # an answer to a question has it, and one of these two
    records: list[BarRow] = []
    trades: list[DealRow] = []
    asks: list[list[Text]] | None = None  # an answer has the book without a name
    bids: list[list[Text]] = []

    def row(self) -> TradeWire | DepthWire | TickWire | BarWire | None:
        """Give what it pushes, or the book that it answers with."""
        if self.type == "kbar":
            return decode_bar(self.kbar)
        book = None if self.asks is None else DepthWire(self.asks, self.bids)
        return self.trade or self.depth or self.tick or book


decode = Decoder(Frame, float_hook=as_written).decode
decode_bar: Callable[[Raw], BarWire] = Decoder(BarWire, float_hook=as_written).decode
decode_slot: Callable[[Raw], str] = Decoder(str).decode
