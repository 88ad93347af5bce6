"""Bittrex, version 3 of its interface, until December 2023: spot.

https://bittrex.github.io/api/v3
SignalR wraps messages, each packed by itself. A book has changes alone: a whole one was had by REST, and its number
stood in a header, which a capture does not keep.
"""

import binascii
from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Archive, Event, Exchange, Listing, Stream
from aggregator.records import Bbo, BookDelta, Candle, Instrument, Levels, MarketState, Record, Ticker, Trade
from aggregator.sequence import contiguous
from aggregator.wire import candle, from_iso, step, undeflate

STATES: dict[str, MarketState] = {"ONLINE": "trading", "OFFLINE": "halt"}
INTERVALS = {"MINUTE_1": "1m", "MINUTE_5": "5m", "HOUR_1": "1h", "DAY_1": "1d"}


class TradeRow(Struct, gc=False):
    id: str
    executedAt: str
    quantity: str
    rate: str
    takerSide: Literal["BUY", "SELL"]


class Trades(Struct, gc=False):
    marketSymbol: str
    deltas: list[TradeRow]

    def records(self) -> Iterable[Record]:
        for row in self.deltas:
            yield Trade(
                raw_symbol=self.marketSymbol,
                id=row.id,
                price=row.rate,
                size=row.quantity,
                side="buy" if row.takerSide == "BUY" else "sell",
                ts_event=from_iso(row.executedAt),
            )


class Level(Struct, gc=False):
    quantity: str
    rate: str


class Changes(Struct, gc=False):
    marketSymbol: str
    sequence: int
    bidDeltas: list[Level]
    askDeltas: list[Level]

    def records(self) -> Iterable[Record]:
        bids, asks = levels(self.bidDeltas), levels(self.askDeltas)
        yield BookDelta(raw_symbol=self.marketSymbol, bids=bids, asks=asks, sequence=self.sequence)


class Quote(Struct, gc=False):
    symbol: str
    lastTradeRate: str
    bidRate: str
    askRate: str

    def records(self) -> Iterable[Record]:
        yield Bbo(raw_symbol=self.symbol, bid_price=self.bidRate, ask_price=self.askRate)
        yield Ticker(raw_symbol=self.symbol, last=self.lastTradeRate)


class Bar(Struct, gc=False):
    startsAt: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    quoteVolume: str


class Bars(Struct, gc=False):
    marketSymbol: str
    interval: str
    delta: Bar

    def records(self) -> Iterable[Record]:
        bar, interval = self.delta, INTERVALS[self.interval]
        prices = (bar.open, bar.high, bar.low, bar.close)
        made: Candle = candle(self.marketSymbol, interval, from_iso(bar.startsAt), prices, base=bar.volume)
        made.quote_volume = bar.quoteVolume
        yield made


class Message(Struct, gc=False):
    M: str
    A: list[str] = []


class Frame(Struct, gc=False):
    M: list[Message] = []


decode = Decoder(Frame).decode
READERS: dict[str, Callable[[bytes], Trades | Changes | Quote | Bars]] = {
    "trade": Decoder(Trades).decode,
    "orderBook": Decoder(Changes).decode,
    "ticker": Decoder(Quote).decode,
    "candle": Decoder(Bars).decode,
}


def levels(rows: list[Level]) -> Levels:
    return [(row.rate, row.quantity) for row in rows]


def unpacked(text: str) -> bytes:
    """A message's content. Raises BadFrame where it is no base64, or cannot be inflated."""
    try:
        return undeflate(binascii.a2b_base64(text, strict_mode=True))
    except binascii.Error as error:
        raise BadFrame(f"a message that is no base64: {error}") from None


def parse(frame: bytes) -> Iterable[Event]:
    found: list[Event] = []
    for message in decode(frame).M:
        reader = READERS.get(message.M)
        if reader is not None:
            for content in message.A:
                found += reader(unpacked(content)).records()
    return found


class Market(Struct):
    symbol: str
    baseCurrencySymbol: str
    quoteCurrencySymbol: str
    minTradeSize: str
    precision: int
    status: str
    createdAt: str

    def instrument(self) -> Instrument:
        return Instrument(
            raw_symbol=self.symbol,
            base=self.baseCurrencySymbol,
            quote=self.quoteCurrencySymbol,
            tick_size=step(self.precision),
            min_size=self.minTradeSize,
            state=STATES.get(self.status, "unknown"),
            ts_listed=from_iso(self.createdAt),
        )


decode_rows = Decoder(list[Raw]).decode
decode_market = Decoder(Market).decode


def read(row: Raw) -> Instrument:
    return decode_market(row).instrument()


EXCHANGE = Exchange(
    id="bittrex",
    docs="https://bittrex.github.io/api/v3",
    checked="2026-11, a recording of June 2021 by others",
    archives=(
        Archive(
            until="2023-12-05",
            listing=Listing(rows=decode_rows, read=read),
            streams=(
                Stream(
                    channels={
                        "trades": "trade",
                        "book": "orderBook",
                        "bbo": "ticker",
                        "ticker": "ticker",
                        "candles": "candle",
                    },
                    parse=parse,
                    sequence={"book": contiguous},
                    depth=500,
                ),
            ),
        ),
    ),
)
