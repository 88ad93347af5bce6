"""The candles of BingX in its own spelling, of which each kind of market has another.

https://bingx-api.github.io/docs-v3/
Only the running candle is sent, and nothing says that one is closed.
"""

from msgspec import Struct

from aggregator.records import Candle, Record
from aggregator.wire import Text, end_of, ms, optional, text


class BarRow(Struct, gc=False):
    """The running candle of a contract."""

    T: int  # when it began
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    c: str
    v: str

    def record(self, symbol: str, interval: str) -> Record:
        start = ms(self.T)
        return Candle(
            raw_symbol=symbol,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            base_volume=text(self.v),
        )


class PairBar(Struct, gc=False):
    t: int
    T: int  # its last millisecond
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    c: str
    v: str
    q: str
    n: int


class KlineWire(Struct, gc=False):
    """The running candle of a pair."""

    E: int
    K: PairBar

    def record(self, symbol: str, interval: str) -> Record:
        bar = self.K
        return Candle(
            raw_symbol=symbol,
            interval=interval,
            ts_open=ms(bar.t),
            ts_close=ms(bar.T + 1),
            open=text(bar.o),
            high=text(bar.h),
            low=text(bar.l),
            close=text(bar.c),
            base_volume=text(bar.v),
            quote_volume=text(bar.q),
            trades=bar.n,
            ts_sent=ms(self.E),
        )


class CoinBarWire(Struct, gc=False):
    """The running candle of a contract settled in coins: `v` counts contracts, `a` what they are in coins."""

    t: int
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    c: Text
    a: Text
    v: Text

    def record(self, symbol: str, interval: str) -> Record:
        start = ms(self.t)
        return Candle(
            raw_symbol=symbol,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            base_volume=optional(self.a),
            contract_volume=optional(self.v),
        )
