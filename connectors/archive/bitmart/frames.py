"""Reading the frames of BitMart, of spot and of contracts."""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Event
from aggregator.records import Channel
from connectors.archive.bitmart.wires import (
    ContractBars,
    ContractBook,
    ContractDay,
    ContractTrade,
    SpotBar,
    SpotBook,
    SpotDay,
    SpotTrade,
)

SPOT_BARS, BARS = "spot/kline", "futures/klineBin"
CHANNELS: dict[Channel, str] = {
    "trades": "trade",
    "book": "depth",
    "bbo": "ticker",
    "ticker": "ticker",
    "candles": "kline",
    "mark_price": "ticker",
    "index_price": "ticker",
}


class Frame(Struct, gc=False):
    table: str = ""
    group: str = ""
    data: Raw = Raw(b"null")

    def events(self) -> Iterable[Event]:
        if not bytes(self.data).startswith((b"[", b"{")):
            return ()  # it confirms something
        if self.table == "spot/trade":
            return [row.record() for row in decode_spot_trades(self.data)]
        if self.table.startswith("spot/depth"):
            return [row.record() for row in decode_spot_books(self.data)]
        if self.group.startswith("futures/trade:"):
            return [row.record() for row in decode_trades(self.data)]
        if self.group.startswith("futures/depthIncrease"):
            return (decode_book(self.data).record(),)
        return self.others()

    def others(self) -> Iterable[Event]:
        """Tickers and candles; an interval is written as ours are, but for hours, days and weeks (`1H`)."""
        if self.table == "spot/ticker":
            return [record for row in decode_spot_days(self.data) for record in row.records()]
        if self.table.startswith(SPOT_BARS):
            interval = ours(self.table.removeprefix(SPOT_BARS))
            return [row.record(interval) for row in decode_spot_bars(self.data)]
        if self.group.startswith("futures/ticker"):
            return decode_day(self.data).records()
        if self.group.startswith(BARS):
            return decode_bars(self.data).records(ours(self.group.removeprefix(BARS).partition(":")[0]))
        return ()


decode = Decoder(Frame).decode
decode_spot_trades = Decoder(list[SpotTrade]).decode
decode_spot_books = Decoder(list[SpotBook]).decode
decode_trades = Decoder(list[ContractTrade]).decode
decode_book = Decoder(ContractBook).decode
decode_spot_days = Decoder(list[SpotDay]).decode
decode_spot_bars = Decoder(list[SpotBar]).decode
decode_day = Decoder(ContractDay).decode
decode_bars = Decoder(ContractBars).decode


def ours(interval: str) -> str:
    return interval if interval.endswith("M") else interval.lower()


def parse(frame: bytes) -> Iterable[Event]:
    return decode(frame).events()
