"""The figures and candles of version 2 of Bybit's interface: `instrument_info`, `klineV2` and `candle`.

https://bybit-exchange.github.io/docs-legacy/futuresV2/inverse/
https://bybit-exchange.github.io/docs-legacy/futuresV2/linear/
A price was scaled by 10^4 until it was told as it is besides, which is what counts: of five decimals the scale differs.
Contracts in USDC spell the same names otherwise (`lastPriceE4`).
"""

from collections.abc import Iterable
from typing import cast

from msgspec import Raw, Struct, defstruct, field, structs
from msgspec.json import Decoder

from aggregator.records import (
    DAY_S,
    HOUR_S,
    Candle,
    Funding,
    IndexPrice,
    MarkPrice,
    OpenInterest,
    Record,
    SizeUnit,
    Ticker,
)
from aggregator.wire import Text, as_written, candle, from_iso, nonzero, optional, seconds, unscaled

INTERVALS = {
    "1": "1m",
    "3": "3m",
    "5": "5m",
    "15": "15m",
    "30": "30m",
    "60": "1h",
    "120": "2h",
    "240": "4h",
    "360": "6h",
    "720": "12h",
    "D": "1d",
    "W": "1w",
    "M": "1M",
}
NEVER = "1970"  # how the time begins of funding that there is none


class InfoRow(Struct, gc=False):
    """The figures of a contract: all of them at first, then those that have changed."""

    symbol: str
    last_price: Text = None
    last_price_e4: Text = None
    prev_price_24h: Text = None
    prev_price_24h_e4: Text = None
    high_price_24h: Text = None
    high_price_24h_e4: Text = None
    low_price_24h: Text = None
    low_price_24h_e4: Text = None
    mark_price: Text = None
    mark_price_e4: Text = None
    index_price: Text = None
    index_price_e4: Text = None
    volume_24h: Text = None  # dollars, where contracts are of one dollar
    volume_24h_e8: Text = None  # the base asset, where they are not
    turnover_24h_e8: Text = None  # the other side of the volume
    open_interest: Text = None
    open_interest_e8: Text = None
    funding_rate_e6: Text = None
    predicted_funding_rate_e6: Text = None
    next_funding_time: str | None = None
    funding_rate_interval: Text = None  # hours, since 2022

    def has_statistics(self) -> bool:
        return (self.last_price, self.last_price_e4, self.turnover_24h_e8) != (None, None, None)

    def filled(self, before: "InfoRow") -> "InfoRow":
        """This row, with what was said before of whatever it leaves out."""
        for name in self.__struct_fields__:
            if getattr(self, name) is None:
                setattr(self, name, getattr(before, name))
        return self

    def ticker(self, unit: SizeUnit, sent: int) -> Ticker:
        volume = optional(self.volume_24h) or scaled(self.volume_24h_e8, 8)
        turnover = scaled(self.turnover_24h_e8, 8)
        return Ticker(
            raw_symbol=self.symbol,
            last=price(self.last_price, self.last_price_e4),
            open=price(self.prev_price_24h, self.prev_price_24h_e4),
            high=price(self.high_price_24h, self.high_price_24h_e4),
            low=price(self.low_price_24h, self.low_price_24h_e4),
            base_volume=volume if unit == "base" else turnover,
            quote_volume=turnover if unit == "base" else volume,
            window_s=DAY_S,
            ts_sent=sent,
        )

    def figures(self, unit: SizeUnit, sent: int) -> Iterable[Record]:
        """Prices and open interest that this row itself tells."""
        if mark := price(self.mark_price, self.mark_price_e4):
            yield MarkPrice(raw_symbol=self.symbol, price=mark, ts_sent=sent)
        if index := price(self.index_price, self.index_price_e4):
            yield IndexPrice(raw_symbol=self.symbol, price=index, ts_sent=sent)
        size = optional(self.open_interest) or scaled(self.open_interest_e8, 8)
        if size is not None:
            yield OpenInterest(raw_symbol=self.symbol, size=size, size_unit=unit, ts_sent=sent)

    def fundings(self, current: Text, predicted: Text, sent: int) -> Iterable[Funding]:
        """The rates that are news, with what else is known of them."""
        at, hours = self.next_funding_time, optional(self.funding_rate_interval)
        due = None if at is None or at.startswith(NEVER) else from_iso(at)
        length = None if hours is None else int(hours) * HOUR_S or None
        if (rate := scaled(current, 6)) is not None:
            yield Funding(raw_symbol=self.symbol, rate=rate, interval_s=length, ts_next=due, ts_sent=sent)
        if (rate := scaled(predicted, 6)) is not None:
            yield Funding(raw_symbol=self.symbol, rate=rate, kind="predicted", interval_s=length, ts_sent=sent)


def camel(name: str) -> str:
    """The name of a field where contracts in USDC are told: `prev_price_24h_e4` is `prevPrice24hE4`."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


NAMED = [(known.name, known.type, field(default=known.default)) for known in structs.fields(InfoRow)]
UsdcRow = cast("type[InfoRow]", defstruct("UsdcRow", NAMED, bases=(InfoRow,), rename=camel))


class Changes(Struct, gc=False):
    update: list[Raw] = []
    insert: list[Raw] = []


class BarRow(Struct, gc=False):
    start: int  # seconds
    open: Text
    high: Text
    low: Text
    close: Text
    volume: Text
    turnover: Text = None
    confirm: bool | None = None

    def record(self, symbol: str, interval: str, unit: SizeUnit, sent: int | None) -> Candle:
        volume, turnover = optional(self.volume), optional(self.turnover)
        made = candle(
            symbol,
            INTERVALS.get(interval, interval),
            seconds(self.start),
            (self.open, self.high, self.low, self.close),
            base=volume if unit == "base" else turnover,
            quote=turnover if unit == "base" else volume,
        )
        made.closed, made.ts_sent = self.confirm, sent
        return made


decode_info = Decoder(InfoRow, float_hook=as_written).decode
decode_usdc = Decoder(UsdcRow, float_hook=as_written).decode
decode_changes = Decoder(Changes).decode
decode_bars = Decoder(list[BarRow], float_hook=as_written).decode


def scaled(value: Text, places: int) -> str | None:
    found = optional(value)
    return None if found is None else unscaled(int(found), places)


def price(plain: Text, e4: Text) -> str | None:
    return nonzero(plain) or nonzero(scaled(e4, 4))


def read_info(
    data: Raw, known: dict[str, InfoRow], unit: SizeUnit, sent: int, *, is_change: bool, is_usdc: bool
) -> Iterable[Record]:
    """The records that these rows have news for; statistics are filled up with what was said before."""
    changes = decode_changes(data) if is_change else Changes(update=[data])
    for raw in (*changes.update, *changes.insert):
        row: InfoRow = decode_usdc(raw) if is_usdc else decode_info(raw)
        before = known.get(row.symbol) if is_change else None
        has_statistics, told = row.has_statistics(), list(row.figures(unit, sent))
        rates = row.funding_rate_e6, row.predicted_funding_rate_e6
        known[row.symbol] = whole = row if before is None else row.filled(before)
        if has_statistics:
            yield whole.ticker(unit, sent)
        yield from whole.fundings(*rates, sent)
        yield from told


def read_bars(data: Raw, about: str, unit: SizeUnit, sent: int | None) -> Iterable[Record]:
    interval, _, symbol = about.partition(".")
    return [row.record(symbol, interval, unit, sent) for row in decode_bars(data)]
