"""Version 3 of Gate's sockets, of spot: requests and notices by `method`, whose `params` are arrays without names.

https://www.gate.io/docs/websocket/index.html, until 2023
By 2023-04-29 recorders had gone over to version 4 (https://github.com/tardis-dev/tardis-node); the day on which this
ended was not found. Amounts are of the base asset; a ticker calls that its quote, as it names currencies the other way
around. A candle does not say of which interval it is.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Archive, Event, Ignored, Stream
from aggregator.records import BookDelta, BookSnapshot, Channel, Ticker, Trade
from aggregator.wire import Text, as_written, levels, nonzero, oldest_first, optional, seconds, text

CHANNELS: dict[Channel, str] = {"trades": "trades.update", "book": "depth.update", "ticker": "ticker.update"}


class TradeRow(Struct, gc=False):
    id: int
    time: Text  # seconds
    price: str
    amount: str
    type: Literal["buy", "sell"]  # the taker's

    def record(self, symbol: str) -> Trade:
        time = seconds(text(self.time))
        return Trade(
            raw_symbol=symbol, id=str(self.id), price=self.price, size=self.amount, side=self.type, ts_event=time
        )


class BookRow(Struct, gc=False):
    asks: list[list[Text]] = []  # a change leaves out a side of which it says nothing
    bids: list[list[Text]] = []
    id: int | None = None
    current: Text = None  # seconds, since 2022

    def record(self, symbol: str, *, is_whole: bool) -> BookSnapshot | BookDelta:
        bids, asks = levels(self.bids), levels(self.asks)
        sent = None if self.current is None else seconds(text(self.current))
        kind = BookSnapshot if is_whole else BookDelta
        return kind(raw_symbol=symbol, bids=bids, asks=asks, sequence=self.id, ts_sent=sent)


class DayRow(Struct, gc=False):
    period: int
    last: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    quoteVolume: str | None = None  # in the base asset
    baseVolume: str | None = None  # in the quote asset

    def record(self, symbol: str) -> Ticker:
        return Ticker(
            raw_symbol=symbol,
            last=nonzero(self.last),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.quoteVolume),
            quote_volume=optional(self.baseVolume),
            window_s=self.period,
        )


class Frame(Struct, gc=False):
    method: str = ""
    params: Raw = Raw(b"null")


decode = Decoder(Frame).decode
decode_trades = Decoder(tuple[str, list[TradeRow]], float_hook=as_written).decode
decode_book = Decoder(tuple[bool, BookRow, str], float_hook=as_written).decode
decode_day = Decoder(tuple[str, DayRow], float_hook=as_written).decode


def read_trades(params: Raw) -> Iterable[Event]:
    symbol, rows = decode_trades(params)
    return oldest_first(row.record(symbol) for row in rows)


def read_book(params: Raw) -> Iterable[Event]:
    is_whole, row, symbol = decode_book(params)
    return (row.record(symbol, is_whole=is_whole),)


def read_day(params: Raw) -> Iterable[Event]:
    symbol, row = decode_day(params)
    return (row.record(symbol),)


READERS: dict[str, Callable[[Raw], Iterable[Event]]] = {
    "trades.update": read_trades,
    "depth.update": read_book,
    "ticker.update": read_day,
}


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    read = READERS.get(said.method)
    if read is not None:
        return read(said.params)
    return (Ignored(f"{said.method[:40]} is of no use"),) if said.method else ()


ARCHIVE = Archive(until="2023-04-29", streams=(Stream(name="version3", channels=CHANNELS, parse=parse),))
