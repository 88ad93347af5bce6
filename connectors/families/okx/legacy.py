"""Version 3 of the OKX protocol: a table and its rows, for spot, swaps, dated contracts, options and indices.

https://github.com/okcoin-okex/API-docs-OKEx.com, and https://www.okcoin.com/docs/en/
Frames were deflated. A market had two whole books: `depth`, and from the end of 2019 `depth_l2_tbt`, which tells each
change. Where the latter has come, the former is passed over. A sum of each guards them; nothing is numbered.
Frames of version 1, which was spoken until 2019, are lists, and are read as well.
"""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.book import OrderBook
from aggregator.exchange import Archive, Event, Ignored, Parse, Stream
from aggregator.records import BookDelta, BookSnapshot, Channel, Instrument
from aggregator.wire import as_written, from_iso, levels, undeflate
from connectors.families.okx import first_legacy
from connectors.families.okx.legacy_wires import (
    BarRow,
    BookRow,
    FundingRow,
    IndexRow,
    MarkRow,
    OptionRow,
    TickerRow,
    TradeRow,
)

SPOT: dict[Channel, str] = {
    "trades": "trade",
    "book": "depth_l2_tbt",
    "bbo": "ticker",
    "ticker": "ticker",
    "candles": "candle",
}
CHANNELS: dict[Channel, str] = SPOT | {
    "funding": "funding_rate",
    "open_interest": "ticker",
    "mark_price": "mark_price",
    "index_price": "ticker",
    "options": "summary",
}
DEEP = "depth_l2_tbt"
DEPTHS = {"depth5": 5, "depth": 400, DEEP: 400}
BARS = "candle"
PONG = b"pong"  # plain in captures that hold what was inflated, and in the time of version 5, which began before


class Frame(Struct, gc=False):
    table: str = ""
    action: str = ""
    data: Raw = Raw(b"[]")


decode = Decoder(Frame).decode
decode_trades = Decoder(list[TradeRow], float_hook=as_written).decode
decode_books = Decoder(list[BookRow], float_hook=as_written).decode
decode_tickers = Decoder(list[TickerRow], float_hook=as_written).decode
decode_bars = Decoder(list[BarRow], float_hook=as_written).decode
decode_fundings = Decoder(list[FundingRow], float_hook=as_written).decode
decode_marks = Decoder(list[MarkRow], float_hook=as_written).decode
decode_indices = Decoder(list[IndexRow], float_hook=as_written).decode
decode_options = Decoder(list[OptionRow], float_hook=as_written).decode

READERS: dict[str, Callable[[Raw], Iterable[Event]]] = {
    "index/ticker": lambda data: [record for row in decode_indices(data) for record in row.records()],
    "trade": lambda data: [row.record() for row in decode_trades(data)],
    "ticker": lambda data: [record for row in decode_tickers(data) for record in row.records()],
    "funding_rate": lambda data: [record for row in decode_fundings(data) for record in row.records()],
    "mark_price": lambda data: [record for row in decode_marks(data) for record in row.records()],
    "summary": lambda data: [row.record() for row in decode_options(data)],
}


def book(row: BookRow, kind: str, action: str) -> BookSnapshot | BookDelta:
    name, bids, asks = row.instrument_id, levels(row.bids), levels(row.asks)
    time, checksum = from_iso(row.timestamp) or None, row.checksum
    if action == "update":
        return BookDelta(raw_symbol=name, bids=bids, asks=asks, checksum=checksum, ts_event=time)
    return BookSnapshot(
        raw_symbol=name,
        bids=bids,
        asks=asks,
        depth=DEPTHS[kind],
        checksum=checksum,
        reason="initial" if action else "periodic",
        ts_event=time,
    )


def read_books(data: Raw, kind: str, action: str, deep: set[str]) -> Iterable[Event]:
    """The books of a frame, but those of which the one of each change has come."""
    rows = decode_books(data)
    if kind == DEEP:
        deep.update(row.instrument_id for row in rows)
        return [book(row, kind, action) for row in rows]
    passed = Ignored(f"the same book is told by {DEEP}")
    return [passed if row.instrument_id in deep else book(row, kind, action) for row in rows]


def inflate(frame: bytes) -> bytes:
    return frame if frame == PONG else undeflate(frame)


def parser() -> Parse:
    """The reader of one connection's frames, which knows the markets whose book of each change has come."""
    deep: set[str] = set()
    asked: set[str] = set()  # channels of version 1 that were granted, and have not come yet

    def parse(frame: bytes) -> Iterable[Event]:
        if frame == PONG:
            return ()
        if frame.startswith(b"["):
            return first_legacy.read(frame, asked)
        said = decode(frame)
        kind = said.table.partition("/")[2]
        if kind in DEPTHS:
            return read_books(said.data, kind, said.action, deep)
        if kind.startswith(BARS):
            length = kind.removeprefix(BARS).removesuffix("s")
            return [row.record(length) for row in decode_bars(said.data)]
        read = READERS.get(said.table) or READERS.get(kind)
        if read is not None:
            return read(said.data)
        return (Ignored(f"the table {said.table[:40]} is of no use"),) if said.table else ()

    return parse


def archive(
    until: str, channels: Mapping[Channel, str], checksum: Callable[[OrderBook, Instrument | None], int]
) -> Archive:
    """Declare version 3, as it was spoken until a day."""
    stream = Stream(
        name="version3",
        channels=channels,
        parser=parser,
        inflate=inflate,
        checksum=checksum,
        depth=DEPTHS[DEEP],
    )
    return Archive(until=until, streams=(stream,))
