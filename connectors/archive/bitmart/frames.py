"""Reading the frames of BitMart, of spot and of contracts."""

import re
from collections.abc import Callable, Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Event, Parse
from aggregator.records import BookSnapshot, Channel, Levels
from aggregator.wire import as_written, ms
from connectors.archive.bitmart.contract_wires import (
    ContractBars,
    ContractBest,
    ContractBook,
    ContractDay,
    ContractFunding,
    ContractSide,
    ContractTrade,
    named,
)
from connectors.archive.bitmart.spot_wires import SpotBar, SpotBook, SpotDay, SpotTrade

SIDED = re.compile(r"futures/depth[0-9]")
BIDS, ASKS = 1, 2
BOOKS = ("futures/depthIncrease", "futures/depthAll")
SPOT_BARS, BARS = "spot/kline", "futures/klineBin"
CHANNELS: dict[Channel, str] = {
    "trades": "trade",
    "book": "depth",
    "bbo": "ticker",
    "ticker": "ticker",
    "candles": "kline",
    "mark_price": "ticker",
    "index_price": "ticker",
    "funding": "fundingRate",
}


class Frame(Struct, gc=False):
    table: str = ""
    group: str = ""
    data: Raw = Raw(b"null")

    def events(self) -> Iterable[Event]:
        if not bytes(self.data).startswith((b"[", b"{")):
            return ()  # it confirms something
        return self.spot() if self.table else self.contracts()

    def spot(self) -> Iterable[Event]:
        """The records of a table; an interval is written as ours are, but for hours, days and weeks (`1H`)."""
        if self.table == "spot/trade":
            return [row.record() for row in decode_spot_trades(self.data)]
        if self.table.startswith("spot/depth"):
            return [row.record() for row in decode_spot_books(self.data)]
        if self.table == "spot/ticker":
            return [record for row in decode_spot_days(self.data) for record in row.records()]
        if self.table.startswith(SPOT_BARS):
            interval = ours(self.table.removeprefix(SPOT_BARS))
            return [row.record(interval) for row in decode_spot_bars(self.data)]
        return ()

    def contracts(self) -> Iterable[Event]:
        """The records of a group, but books of one side."""
        kind, _, _ = self.group.partition(":")
        if kind.startswith(BARS):
            return decode_bars(self.data).records(ours(kind.removeprefix(BARS)))
        if kind.startswith(BOOKS):
            return (decode_book(self.data).record(),)
        read = READERS.get(kind)
        return () if read is None else read(self.data)


decode = Decoder(Frame).decode
decode_spot_trades = Decoder(list[SpotTrade]).decode
decode_spot_books = Decoder(list[SpotBook]).decode
decode_trades = Decoder(list[ContractTrade]).decode
decode_book = Decoder(ContractBook).decode
decode_side = Decoder(ContractSide).decode
decode_best = Decoder(ContractBest).decode
decode_funding = Decoder(ContractFunding, float_hook=as_written).decode
decode_spot_days = Decoder(list[SpotDay]).decode
decode_spot_bars = Decoder(list[SpotBar]).decode
decode_day = Decoder(ContractDay).decode
decode_bars = Decoder(ContractBars).decode

READERS: dict[str, Callable[[Raw], Iterable[Event]]] = {
    "futures/trade": lambda data: [row.record() for row in decode_trades(data)],
    "futures/ticker": lambda data: decode_day(data).records(),
    "futures/bookticker": lambda data: (decode_best(data).record(),),
    "futures/fundingRate": lambda data: decode_funding(data).records(),
}


def ours(interval: str) -> str:
    return interval if interval.endswith("M") else interval.lower()


def parser() -> Parse:
    """The reader of one connection's frames, which knows the last side of each book that comes one side at a time."""
    sides: dict[tuple[str, int], Levels] = {}

    def read_side(said: ContractSide) -> Iterable[Event]:
        sides[said.symbol, said.way] = named(said.depths)
        bids, asks = sides.get((said.symbol, BIDS)), sides.get((said.symbol, ASKS))
        if bids is not None and asks is not None:
            time = ms(said.ms_t)
            yield BookSnapshot(raw_symbol=said.symbol, bids=bids, asks=asks, reason="periodic", ts_event=time)

    def parse(frame: bytes) -> Iterable[Event]:
        if frame == b"pong":
            return ()
        said = decode(frame)
        if SIDED.match(said.group) and bytes(said.data).startswith(b"{"):
            return [*read_side(decode_side(said.data))]
        return said.events()

    return parse
