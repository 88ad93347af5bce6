"""Spot at Bybit before version 5 of its interface: versions 1 to 3 of its own, until 2023.

https://bybit-exchange.github.io/docs-legacy/spot/v3/#t-websocket
Versions 1 and 2 name a topic and a symbol beside it (`trade`, `BTCUSDT`), version 3 both in one (`trade.BTCUSDT`), as
contracts do. Version 1 has rows, of which `f` marks those that come first; the others have one row alone. Of a trade
`m` says that the buyer was the taker. A book is whole each time, but for `diffDepth`.
"""

from collections.abc import Callable, Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Ignored, Stream
from aggregator.records import DAY_S, BookDelta, BookSnapshot, Record, Ticker, Trade
from aggregator.wire import Text, as_written, bbo, candle, levels, ms, nonzero, oldest_first, optional, past, text

CHANGES = "diffDepth"
DEPTHS = {"depth": 40, "orderbook": 40, CHANGES: None}


class TradeRow(Struct, gc=False):
    v: Text
    t: int
    p: Text
    q: Text
    m: bool  # the buyer was the taker

    def record(self, symbol: str) -> Trade:
        return Trade(
            raw_symbol=symbol,
            id=text(self.v),
            price=text(self.p),
            size=text(self.q),
            side="buy" if self.m else "sell",
            ts_event=ms(self.t),
        )


class BookRow(Struct, gc=False):
    t: int
    b: list[list[Text]]
    a: list[list[Text]]

    def delta(self, symbol: str) -> BookDelta:
        return BookDelta(raw_symbol=symbol, bids=levels(self.b), asks=levels(self.a), ts_event=ms(self.t))

    def whole(self, symbol: str, kind: str) -> BookSnapshot:
        return BookSnapshot(
            raw_symbol=symbol,
            bids=levels(self.b),
            asks=levels(self.a),
            depth=DEPTHS[kind],
            reason="initial" if kind == CHANGES else "periodic",
            ts_event=ms(self.t),
        )


class BestRow(Struct, gc=False):
    """The best prices; version 3 has short names."""

    bidPrice: Text = None
    bidQty: Text = None
    askPrice: Text = None
    askQty: Text = None
    time: int | None = None
    bp: Text = None
    bq: Text = None
    ap: Text = None
    aq: Text = None
    t: int | None = None

    def record(self, symbol: str) -> Record:
        if self.t is None:
            time = None if self.time is None else ms(self.time)
            return bbo(symbol, self.bidPrice, self.bidQty, self.askPrice, self.askQty, ts_event=time)
        return bbo(symbol, self.bp, self.bq, self.ap, self.aq, ts_event=ms(self.t))


class DayRow(Struct, gc=False):
    t: int
    o: Text = None
    h: Text = None
    l: Text = None  # noqa: E741 - the wire's name
    c: Text = None
    v: Text = None
    qv: Text = None

    def record(self, symbol: str) -> Ticker:
        return Ticker(
            raw_symbol=symbol,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            base_volume=optional(self.v),
            quote_volume=optional(self.qv),
            window_s=DAY_S,
            ts_event=ms(self.t),
        )


class BarRow(Struct, gc=False):
    t: int
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    c: Text
    v: Text = None

    def record(self, symbol: str, interval: str) -> Record:
        return candle(symbol, interval, ms(self.t), (self.o, self.h, self.l, self.c), base=self.v)


class Params(Struct, frozen=True):
    symbol: str = ""
    klineType: str = ""


class Frame(Struct, gc=False):
    topic: str = ""
    symbol: str = ""
    params: Params = Params()
    event: str = ""
    f: bool = False
    data: Raw = Raw(b"")

    def rows(self) -> list[Raw]:
        return decode_rows(self.data) if bytes(self.data).startswith(b"[") else [self.data]


decode = Decoder(Frame).decode
decode_rows = Decoder(list[Raw]).decode
decode_trade = Decoder(TradeRow, float_hook=as_written).decode
decode_book = Decoder(BookRow, float_hook=as_written).decode
decode_best = Decoder(BestRow, float_hook=as_written).decode
decode_day = Decoder(DayRow, float_hook=as_written).decode
decode_bar = Decoder(BarRow, float_hook=as_written).decode

READERS: dict[str, Callable[[Frame, str, str], Iterable[Event]]] = {
    "trade": lambda said, symbol, _: read_trades(said, symbol),
    "depth": lambda said, symbol, _: read_books(said, symbol, "depth"),
    CHANGES: lambda said, symbol, _: read_books(said, symbol, CHANGES),
    "orderbook": lambda said, symbol, _: read_books(said, symbol, "orderbook"),
    "bookTicker": lambda said, symbol, _: [decode_best(row).record(symbol) for row in said.rows()],
    "bookticker": lambda said, symbol, _: [decode_best(row).record(symbol) for row in said.rows()],
    "realtimes": lambda said, symbol, _: [decode_day(row).record(symbol) for row in said.rows()],
    "tickers": lambda said, symbol, _: [decode_day(row).record(symbol) for row in said.rows()],
    "kline": lambda said, symbol, interval: [decode_bar(row).record(symbol, interval) for row in said.rows()],
}


def read_trades(said: Frame, symbol: str) -> Iterable[Event]:
    trades = oldest_first(decode_trade(row).record(symbol) for row in said.rows())
    return past(trades) if said.f else trades


def read_books(said: Frame, symbol: str, kind: str) -> Iterable[Event]:
    books = [decode_book(row) for row in said.rows()]
    if kind == CHANGES and not said.f:
        return [book.delta(symbol) for book in books]
    return [book.whole(symbol, kind) for book in books]


def parse(frame: bytes) -> Iterable[Event]:
    """The events of a frame. One that names its symbol with its topic may be a contract's, or of version 5."""
    said = decode(frame)
    if said.event == "sub":
        return (Accepted(topic=(said.topic, said.params.symbol)),)
    if not bytes(said.data) or not said.topic:
        return ()
    kind, dot, about = said.topic.partition(".")
    first, _, symbol = about.rpartition(".")
    if dot:
        return READERS[kind](said, symbol, first) if is_third(said, kind, first) else ()
    read = READERS.get(kind)
    if read is None:
        return (Ignored(f"the topic {kind[:40]} is of no use"),)
    return read(said, said.params.symbol or said.symbol, said.params.klineType)


def is_third(said: Frame, kind: str, first: str) -> bool:
    """Tell whether a frame is of version 3: the same topics of other interfaces have other data."""
    words = {"trade": "", "orderbook": "40", "bookticker": "", "tickers": ""}
    is_topic = words.get(kind) == first or (kind == "kline" and first[-1:].isalpha())
    return is_topic and b'"t":' in bytes(said.data) and bytes(said.data).startswith(b"{")


SPOT = Stream(
    name="spot-legacy",
    channels={"trades": "trade", "book": "depth", "bbo": "bookTicker", "ticker": "realtimes", "candles": "kline"},
    parse=parse,
    depth=40,
)
