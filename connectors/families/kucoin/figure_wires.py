"""The figures that the KuCoin protocol sends: statistics, candles, mark and index prices, funding.

https://www.kucoin.com/docs-new/3470063w0
"""

from msgspec import Struct

from aggregator.errors import BadFrame
from aggregator.records import DAY_S, Candle, Funding, IndexPrice, MarkPrice, Record, Ticker
from aggregator.wire import Text, candle, end_of, nonzero, optional, seconds, text
from connectors.families.kucoin.wires import FUTURES, about, stamp

INTERVALS = {
    "1m": "1min",
    "3m": "3min",
    "5m": "5min",
    "15m": "15min",
    "30m": "30min",
    "1h": "1hour",
    "2h": "2hour",
    "4h": "4hour",
    "6h": "6hour",
    "8h": "8hour",
    "12h": "12hour",
    "1d": "1day",
    "1w": "1week",
    "1M": "1month",
}
LENGTHS = {60: "1h", 120: "2h", 240: "4h", 480: "8h", 720: "12h", 1440: "1d", 10080: "1w"}  # minutes; others are so
SPELLED = {wire: interval for interval, wire in INTERVALS.items()}
LINEAR, INVERSE = ("USDTM", "USDCM"), "USDM"  # how the names of perpetual contracts end
MINUTE_MS = 60_000


class StatisticsWire(Struct, gc=False):
    symbol: str
    lastTradedPrice: Text = None
    open: Text = None
    high: Text = None
    low: Text = None
    vol: Text = None
    volValue: Text = None
    changePrice: Text = None
    datetime: int | None = None

    def record(self) -> Ticker:
        return Ticker(
            raw_symbol=self.symbol,
            last=nonzero(self.lastTradedPrice),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.vol),
            quote_volume=optional(self.volValue),
            change=optional(self.changePrice),
            window_s=DAY_S,
            ts_sent=None if self.datetime is None else stamp(self.datetime),
        )


class StatisticsBox(Struct, gc=False):
    data: StatisticsWire | list[StatisticsWire]  # a market's came several at once


class StatisticsFrame(Struct, tag_field="subject", tag="trade.snapshot", gc=False):
    data: StatisticsBox

    def records(self) -> list[Record]:
        rows = self.data.data
        return [row.record() for row in rows] if isinstance(rows, list) else [rows.record()]


class DayWire(Struct, gc=False):
    volume: Text
    turnover: Text
    lastPrice: Text
    highPrice: Text = None
    lowPrice: Text = None
    price24HoursBefore: Text = None
    priceChg: Text = None
    ts: int | None = None


class DayFrame(Struct, tag_field="subject", tag="snapshot.24h", gc=False):
    topic: str
    data: DayWire

    def records(self) -> tuple[Record, ...]:
        """Volume is of the base asset and turnover of the quote asset; of inverse contracts they change places."""
        d, raw_symbol = self.data, about(self.topic)
        base, quote = (d.volume, d.turnover) if raw_symbol.endswith(LINEAR) else (None, None)
        if raw_symbol.endswith(INVERSE):
            base, quote = d.turnover, d.volume
        return (
            Ticker(
                raw_symbol=raw_symbol,
                last=nonzero(d.lastPrice),
                open=nonzero(d.price24HoursBefore),
                high=nonzero(d.highPrice),
                low=nonzero(d.lowPrice),
                base_volume=optional(base),
                quote_volume=optional(quote),
                change=optional(d.priceChg),
                window_s=DAY_S,
                ts_sent=None if d.ts is None else stamp(d.ts),
            ),
        )


class BarWire(Struct, gc=False):
    symbol: str
    candles: tuple[str, str, str, str, str, str, str]  # start in seconds, open, close, high, low, volume, turnover
    time: int | None = None


class BarFrame(Struct, tag_field="subject", tag="trade.candles.update", gc=False):
    topic: str
    data: BarWire

    def records(self) -> tuple[Record, ...]:
        d = self.data
        start, first, last, high, low, volume, turnover = d.candles
        wire = about(self.topic).rpartition("_")[2]
        interval, opened = SPELLED.get(wire, wire), seconds(start)
        # for futures the documentation calls the sixth figure wrong; the seventh counts contracts (2025-01)
        is_spot = not self.topic.startswith(FUTURES)
        return (
            Candle(
                raw_symbol=d.symbol,
                interval=interval,
                ts_open=opened,
                ts_close=end_of(interval, opened),
                open=text(first),
                high=text(high),
                low=text(low),
                close=text(last),
                base_volume=text(volume) if is_spot else None,
                quote_volume=text(turnover) if is_spot else None,
                contract_volume=None if is_spot else text(turnover),
                ts_sent=None if d.time is None else stamp(d.time),
            ),
        )


class NewBarFrame(BarFrame, tag_field="subject", tag="trade.candles.add", gc=False):
    """The first message of a candle."""


class FuturesBarWire(Struct, gc=False):
    """A candle of futures; one of 2022 has names in place of a list, and counts contracts in both of its volumes."""

    symbol: str
    candles: tuple[str, str, str, str, str, str, str] | None = None
    time: int | None = None  # when it was sent; in 2022 when the candle began
    granularity: int = 0  # minutes
    open: Text = None
    high: Text = None
    low: Text = None
    close: Text = None
    volume: Text = None


class FuturesBarFrame(Struct, tag_field="subject", tag="candle.stick", gc=False):
    """Futures' name of it."""

    topic: str
    data: FuturesBarWire

    def records(self) -> tuple[Record, ...]:
        d = self.data
        if d.candles is not None:
            return BarFrame(self.topic, BarWire(d.symbol, d.candles, d.time)).records()
        if d.time is None or not d.granularity:
            raise BadFrame(f"a candle of {d.symbol} that does not say of when it is")
        interval = LENGTHS.get(d.granularity, f"{d.granularity}m")
        made = candle(d.symbol, interval, stamp(d.time), (d.open, d.high, d.low, d.close))
        made.contract_volume = optional(d.volume)
        return (made,)


class MarkWire(Struct, gc=False):
    timestamp: int
    markPrice: Text = None
    indexPrice: Text = None


class MarkFrame(Struct, tag_field="subject", tag="mark.index.price", gc=False):
    topic: str
    data: MarkWire

    def records(self) -> list[Record]:
        d, raw_symbol, at = self.data, about(self.topic), stamp(self.data.timestamp)
        mark, index = nonzero(d.markPrice), nonzero(d.indexPrice)
        said: list[Record] = []
        if mark is not None:
            said.append(MarkPrice(raw_symbol=raw_symbol, price=mark, ts_event=at))
        if index is not None:
            said.append(IndexPrice(raw_symbol=raw_symbol, price=index, ts_event=at))
        return said


class RateWire(Struct, gc=False):
    granularity: int  # milliseconds: of a minute, or once the cycle; a minute is how often it is told (2026-09)
    fundingRate: Text
    timestamp: int


class RateFrame(Struct, tag_field="subject", tag="funding.rate", gc=False):
    topic: str
    data: RateWire

    def records(self) -> tuple[Record, ...]:
        """The rate that will be paid, which the unified address tells as such; the listing knows how often."""
        d, rate = self.data, optional(self.data.fundingRate)
        if rate is None:
            return ()
        is_cycle = d.granularity > MINUTE_MS
        return (
            Funding(
                raw_symbol=about(self.topic),
                rate=rate,
                interval_s=d.granularity // 1000 if is_cycle else None,
                ts_event=stamp(d.timestamp),
            ),
        )


class SettlementWire(Struct, gc=False):
    symbol: str
    fundingTime: int
    fundingRate: Text
    timestamp: int


class SettlementFrame(Struct, tag_field="subject", tag="funding.begin", gc=False):
    data: SettlementWire

    def records(self) -> tuple[Record, ...]:
        d = self.data
        return (
            Funding(
                raw_symbol=d.symbol,
                rate=text(d.fundingRate),
                kind="settled",
                ts_next=stamp(d.fundingTime),
                ts_event=stamp(d.timestamp),
            ),
        )


class SettledFrame(SettlementFrame, tag_field="subject", tag="funding.end", gc=False):
    """The same once more, when all is paid."""
