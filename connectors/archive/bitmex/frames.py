"""Reading the frames of BitMEX.

https://www.bitmex.com/app/wsAPI
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Event, Ignored, Parse
from aggregator.records import BookDelta, BookSnapshot, Funding, Levels, Trade
from aggregator.wire import Text, as_written, from_iso, levels, optional, past, text
from connectors.archive.bitmex.figures_wires import InstrumentRow, read_instrument
from connectors.archive.bitmex.wires import BarRow, ForcedRow, FundingRow, QuoteRow, TradeRow

BARS = "tradeBin"
PASSED = Ignored("the same book is told by orderBookL2")
Action = Literal["partial", "insert", "update", "delete"]


class LevelRow(Struct, gc=False):
    symbol: str
    id: int
    side: Literal["Buy", "Sell"]
    size: Text = "0"
    price: Text = None
    timestamp: str | None = None  # in newer frames


class TopRow(Struct, gc=False):
    """The ten best levels of a side, all of them each time; a side of none is left out."""

    symbol: str
    timestamp: str
    bids: list[list[Text]] = []
    asks: list[list[Text]] = []

    def record(self) -> BookSnapshot:
        bids, asks, time = levels(self.bids), levels(self.asks), from_iso(self.timestamp)
        return BookSnapshot(raw_symbol=self.symbol, bids=bids, asks=asks, depth=10, reason="periodic", ts_event=time)


class Filter(Struct, frozen=True):
    symbol: str | None = None


class Frame(Struct, gc=False):
    table: str = ""
    action: Action = "insert"
    data: Raw = Raw(b"[]")
    filter: Filter = Filter()


decode = Decoder(Frame).decode
decode_trades = Decoder(list[TradeRow], float_hook=as_written).decode
decode_quotes = Decoder(list[QuoteRow], float_hook=as_written).decode
decode_bars = Decoder(list[BarRow], float_hook=as_written).decode
decode_forced = Decoder(list[ForcedRow], float_hook=as_written).decode
decode_funding = Decoder(list[FundingRow], float_hook=as_written).decode
decode_tops = Decoder(list[TopRow], float_hook=as_written).decode
decode_instruments = Decoder(list[InstrumentRow], float_hook=as_written).decode
decode_levels = Decoder(list[LevelRow], float_hook=as_written).decode


class Book:
    """The prices of the levels of one market, by their numbers."""

    def __init__(self) -> None:
        """Begin without a level."""
        self._prices: dict[int, str] = {}

    def levels(self, rows: list[LevelRow], action: Action) -> tuple[Levels, Levels]:
        """Bids and asks of a frame. Raises BadFrame where a level has no price."""
        bids: Levels = []
        asks: Levels = []
        for row in rows:
            price = optional(row.price) or self._prices.get(row.id)
            if price is None:
                raise BadFrame(f"the level {row.id} of {row.symbol} has no price")
            self._prices[row.id] = price
            size = "0" if action == "delete" else text(row.size)
            (bids if row.side == "Buy" else asks).append((price, size))
        if action == "delete":
            for row in rows:
                self._prices.pop(row.id, None)
        return bids, asks


class Reading:
    """The reader of one connection's frames, which knows the levels of each market whose whole book has come."""

    def __init__(self) -> None:
        """Begin without a market."""
        self._books: dict[str, Book] = {}
        self._instruments: dict[str, InstrumentRow] = {}

    def parse(self, frame: bytes) -> Iterable[Event]:
        """The events of a frame. Raises what an unreadable one provokes."""
        said = decode(frame)
        match said.table:
            case "orderBookL2" | "orderBookL2_25":
                return list(self._changes(said))
            case "orderBook10":
                return [PASSED if row.symbol in self._books else row.record() for row in decode_tops(said.data)]
            case "instrument":
                known, is_whole = self._instruments, said.action == "partial"
                rows = decode_instruments(said.data)
                return [record for row in rows for record in read_instrument(row, known, is_whole=is_whole)]
            case "trade" | "funding":
                return happened(said)
        return others(said)

    def _changes(self, said: Frame) -> Iterable[Event]:
        markets: dict[str, list[LevelRow]] = {}
        if said.action == "partial" and said.filter.symbol is not None:
            markets[said.filter.symbol] = []  # its book may be empty
        for row in decode_levels(said.data):
            markets.setdefault(row.symbol, []).append(row)
        for symbol, rows in markets.items():
            at = max((row.timestamp for row in rows if row.timestamp is not None), default=None)
            time = None if at is None else from_iso(at)
            if said.action == "partial":
                book = self._books[symbol] = Book()
                bids, asks = book.levels(rows, said.action)
                bids, asks = sorted(bids, key=price_of, reverse=True), sorted(asks, key=price_of)
                yield BookSnapshot(raw_symbol=symbol, bids=bids, asks=asks, ts_event=time)
            elif symbol in self._books:  # changes before the whole book are in it
                bids, asks = self._books[symbol].levels(rows, said.action)
                yield BookDelta(raw_symbol=symbol, bids=bids, asks=asks, ts_event=time)


def happened(said: Frame) -> Iterable[Event]:
    """Trades or funding, of which the first frame has the last one of before."""
    records: list[Trade | Funding]
    if said.table == "trade":
        records = [row.record() for row in decode_trades(said.data) if row.is_trade()]
    else:
        records = [rate for row in decode_funding(said.data) for rate in row.records()]
    return past(records) if said.action == "partial" else records


def others(said: Frame) -> Iterable[Event]:
    """Best prices, liquidations and candles."""
    if said.table == "quote":
        return [row.record() for row in decode_quotes(said.data)]
    if said.table == "liquidation" and said.action == "insert":
        return [row.record() for row in decode_forced(said.data)]
    if said.table.startswith(BARS):
        interval = said.table.removeprefix(BARS)
        return [bar for row in decode_bars(said.data) for bar in row.records(interval)]
    return ()


def parser() -> Parse:
    return Reading().parse


def price_of(level: tuple[str, str]) -> float:
    return float(level[0])
