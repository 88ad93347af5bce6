"""BYDFi's own protocol before 22 September 2026, as captures hold it: tickers, candles and whole books of contracts.

https://github.com/ccxt/ccxt/blob/master/python/ccxt/pro/bydfi.py
Changes of a book had the same shape as a whole one; the books that ccxt asked for were whole.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from aggregator.exchange import Event, Parse, Refused
from aggregator.records import DAY_S, MS_NS, BookSnapshot, Candle, Instrument, Level, Ticker
from aggregator.wire import Text, candle, levels, nonzero, number, optional, step
from connectors.families.mexc.listing import read_instrument


class DayWire(Struct):
    s: str
    E: int
    c: Text
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    v: Text  # contracts

    def record(self) -> Ticker:
        return Ticker(
            raw_symbol=self.s,
            last=nonzero(self.c),
            open=nonzero(self.o),
            high=nonzero(self.h),
            low=nonzero(self.l),
            contract_volume=optional(self.v),
            window_s=DAY_S,
            ts_event=self.E * MS_NS,
        )


class BarWire(Struct):
    s: str
    i: str
    t: int
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    c: Text
    v: Text  # contracts

    def record(self) -> Candle:
        made = candle(self.s, self.i, self.t * MS_NS, (self.o, self.h, self.l, self.c))
        made.contract_volume = optional(self.v)
        return made


class BookWire(Struct):
    s: str
    at: int = field(name="E")
    bids: list[list[Text]] = field(name="b")
    asks: list[list[Text]] = field(name="a")

    def record(self) -> BookSnapshot:
        """Give a whole book; the dearest ask stands first in the frame that ccxt shows."""
        bids = sorted(levels(self.bids), key=price, reverse=True)
        asks = sorted(levels(self.asks), key=price)
        return BookSnapshot(
            raw_symbol=self.s, bids=bids, asks=asks, depth=100, reason="periodic", ts_event=self.at * MS_NS
        )


class ContractWire(Struct):
    symbol: str
    baseAsset: str
    quoteAsset: str
    marginAsset: str
    contractFactor: Text
    reverse: bool = False  # settled in its base asset
    priceOrderPrecision: Text = None
    limitMinQty: Text = None
    limitMaxQty: Text = None
    onboardTime: Text = None  # ms
    status: str = ""

    def record(self) -> Instrument:
        listed = optional(self.onboardTime)
        return Instrument(
            raw_symbol=self.symbol,
            kind="perpetual",
            base=self.baseAsset,
            quote=self.quoteAsset,
            settle=self.marginAsset,
            linear=not self.reverse,
            contract_size=optional(self.contractFactor),
            tick_size=step(self.priceOrderPrecision),
            min_size=optional(self.limitMinQty),
            max_size=optional(self.limitMaxQty),
            state="trading" if self.status == "NORMAL" else "unknown",
            ts_listed=None if listed is None else int(listed) * MS_NS,
        )


class Other(Struct):
    e: str = ""
    channel: str = ""
    id: int | str | None = None
    result: bool | str | None = None
    code: int | str | None = None
    msg: str = ""


def price(level: Level) -> Decimal:
    return Decimal(level[0])


decode_day = Decoder(DayWire, float_hook=number).decode
decode_bar = Decoder(BarWire, float_hook=number).decode
decode_book = Decoder(BookWire, float_hook=number).decode
decode_contract = Decoder(ContractWire, float_hook=number).decode
decode_other = Decoder(Other).decode

READERS: dict[str, Callable[[bytes], Iterable[Event]]] = {
    "24hrTicker": lambda frame: (decode_day(frame).record(),),
    "kline": lambda frame: (decode_bar(frame).record(),),
    "depthUpdate": lambda frame: (decode_book(frame).record(),),
}


def read_listed(row: Raw) -> Instrument:
    """An instrument of today's listing, or a contract of the older one."""
    return decode_contract(row).record() if b'"contractFactor"' in bytes(row) else read_instrument(row)


def parse_other(parse: Parse) -> Parse:
    """A reader of answers, of refusals without a topic, and of data spaced in another way; the rest is `parse`'s."""

    def read(frame: bytes) -> Iterable[Event]:
        said = decode_other(frame)
        if (own := READERS.get(said.e)) is not None:
            return own(frame)
        if said.channel:
            return parse(frame)
        if said.code is not None:
            return (Refused(f"{said.code}: {said.msg}"),)
        return parse(frame) if said.id is None or said.result is None else ()

    return read
