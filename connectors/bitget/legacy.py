"""Bitget's version 1, which ended in 2025: what old captures of it hold that reads otherwise than version 2.

https://bitgetlimited.github.io/apidoc/en/mix/#tickers-channel
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Event
from aggregator.records import Record, Side, Trade
from aggregator.wire import past
from connectors.bitget.wires import TickerWire, TradeWire


class Topic(Struct):
    instId: str


class Fill(Struct, array_like=True):
    """A trade, which had no id."""

    ts: int
    price: str
    size: str
    side: Side  # the taker's

    def record(self, name: str) -> Trade:
        return TradeWire(self.ts, self.price, self.size, self.side).record(name, None)


class Fills(Struct):
    arg: Topic
    data: list[Fill]
    action: str = ""


class Statistics(Struct):
    """The ticker of a contract; that of spot reads as version 2 does."""

    instId: str
    last: str
    high24h: str
    low24h: str
    baseVolume: str
    quoteVolume: str
    systemTime: int
    capitalRate: str | None = None
    nextSettleTime: int | None = None
    holding: str | None = None
    markPrice: str | None = None
    indexPrice: str | None = None

    def records(self) -> Iterable[Record]:
        ticker = TickerWire(
            instId=self.instId,
            ts=self.systemTime,
            lastPr=self.last,
            high24h=self.high24h,
            low24h=self.low24h,
            baseVolume=self.baseVolume,
            quoteVolume=self.quoteVolume,
            fundingRate=self.capitalRate,
            nextFundingTime=self.nextSettleTime,
            holdingAmount=self.holding,
            markPrice=self.markPrice,
            indexPrice=self.indexPrice,
        )
        return ticker.records(None)


class Tickers(Struct):
    data: list[Statistics]


decode_fills = Decoder(Fills, strict=False).decode  # not strict: times come as text
decode_tickers = Decoder(Tickers, strict=False).decode


def read_trades(frame: bytes) -> Iterable[Event]:
    """Read trades, which come newest first; those at the beginning of a connection are past ones."""
    said = decode_fills(frame)
    trades = [fill.record(said.arg.instId) for fill in reversed(said.data)]
    return past(trades) if said.action == "snapshot" else trades


def read_tickers(frame: bytes) -> Iterable[Event]:
    return [record for row in decode_tickers(frame).data for record in row.records()]


TYPES = {"sp", "mc"}  # spot and contracts
READERS: dict[str, Callable[[bytes], Iterable[Event]]] = {"trade": read_trades, "ticker": read_tickers}
