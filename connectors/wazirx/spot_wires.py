"""The messages of spot, which have no word of their own for what they are: the name of their stream says it."""

from collections.abc import Iterable

from msgspec import Struct

from aggregator.records import DAY_S, BookSnapshot, Candle, Record, Ticker, Trade
from aggregator.wire import Text, bbo, end_of, levels, ms, nonzero, optional, text
from connectors.wazirx.wires import LEVELS


class SpotTrade(Struct, gc=False):
    """Its `S` is the maker's side: the documentation's example says `buy` where the buyer's order is the older one."""

    E: int  # when it was matched
    m: bool  # the buyer was the maker, so the taker sold
    p: str
    q: str
    s: str
    t: int

    def record(self) -> Record:
        return Trade(
            raw_symbol=self.s,
            id=str(self.t),
            price=text(self.p),
            size=text(self.q),
            side="sell" if self.m else "buy",
            sequence=self.t,
            ts_event=ms(self.E),
        )


def number_of(trade: SpotTrade) -> int:
    return trade.t


class SpotTrades(Struct, gc=False):
    """Trades, of which nothing says in which order they stand."""

    trades: list[SpotTrade]

    def records(self) -> Iterable[Record]:
        return [trade.record() for trade in sorted(self.trades, key=number_of)]


class SpotBook(Struct, gc=False):
    E: int
    s: str
    a: list[list[Text]]
    b: list[list[Text]]

    def records(self) -> Iterable[Record]:
        book = BookSnapshot(
            raw_symbol=self.s,
            bids=levels(self.b),
            asks=levels(self.a),
            depth=LEVELS,
            ts_sent=ms(self.E),
            reason="periodic",
        )
        return (book,)


class SpotTicker(Struct, gc=False):
    """Prices are `0.0` where there is none; a null of one pair leaves those of the others readable."""

    E: int
    s: str
    a: Text = None
    b: Text = None
    c: Text = None
    h: Text = None
    l: Text = None  # noqa: E741 - the wire's name
    o: Text = None
    q: Text = None  # the quantity, which is in the base as that of a trade

    def records(self) -> Iterable[Record]:
        sent = ms(self.E)
        statistics = Ticker(
            raw_symbol=self.s,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            base_volume=optional(self.q),
            window_s=DAY_S,
            ts_sent=sent,
        )
        return statistics, bbo(self.s, self.b, None, self.a, None, ts_sent=sent)


class SpotCandle(Struct, gc=False):
    s: str
    t: int  # when it begins
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the wire's name
    v: str  # in the base
    E: int | None = None

    def records(self) -> Iterable[Record]:
        start = ms(self.t)
        candle = Candle(
            raw_symbol=self.s,
            interval=self.i,
            ts_open=start,
            ts_close=end_of(self.i, start),
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            base_volume=text(self.v),
            ts_sent=None if self.E is None else ms(self.E),
        )
        return (candle,)
