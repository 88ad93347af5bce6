"""The frames of Coinbase International before it spoke Deribit's protocol: perpetuals, and a few spot markets.

https://docs.cdp.coinbase.com/international-exchange/websocket-feed/channels
Sizes are of the base asset. A frame names its product, whose book is told whole at first, then by changes.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Archive, Event, Ignored, Stream
from aggregator.records import (
    BookDelta,
    BookSnapshot,
    Channel,
    Funding,
    IndexPrice,
    Levels,
    MarkPrice,
    OpenInterest,
    Record,
    Side,
    Trade,
)
from aggregator.wire import bbo, candle, from_iso, levels, nonzero, optional, past, sides, text

SIDES: dict[str, Side] = {"BUY": "buy", "SELL": "sell"}  # a fill at the opening has none
BARS = "CANDLES_"
INTERVALS = {
    "ONE_MINUTE": "1m",
    "FIVE_MINUTES": "5m",
    "THIRTY_MINUTES": "30m",
    "ONE_HOUR": "1h",
    "TWO_HOURS": "2h",
    "SIX_HOURS": "6h",
    "ONE_DAY": "1d",
}
CHANNELS: dict[Channel, str] = {
    "trades": "MATCH",
    "book": "LEVEL2",
    "bbo": "LEVEL1",
    "candles": BARS,
    "funding": "FUNDING",
    "mark_price": "RISK",
    "index_price": "RISK",
    "open_interest": "RISK",
}


class BarRow(Struct, gc=False):
    time: str
    open: str
    high: str
    low: str
    close: str
    volume: str | None = None


class Frame(Struct, gc=False):
    """A frame of any channel: its fields are named differently enough to stand beside each other."""

    channel: str = ""
    type: str = ""
    product_id: str = ""
    time: str | None = None
    sequence: int | None = None
    match_id: str | None = None  # `MATCH` has it, and the three that follow
    trade_price: str | None = None
    trade_qty: str | None = None
    aggressor_side: str = ""
    bids: list[list[str]] | None = None  # `LEVEL2` has it, and the two that follow
    asks: list[list[str]] | None = None
    changes: list[tuple[str, str, str]] | None = None
    bid_price: str | None = None  # `LEVEL1` has it, and the three that follow
    bid_qty: str | None = None
    ask_price: str | None = None
    ask_qty: str | None = None
    mark_price: str | None = None  # `RISK` has it, and the two that follow
    index_price: str | None = None
    open_interest: str | None = None
    funding_rate: str | None = None  # `FUNDING` has it, and what follows
    is_final: bool = False
    candles: list[BarRow] = []

    def at(self) -> int | None:
        """When it happened; a time before 1970 stood where it was not known."""
        time = from_iso(self.time) if self.time else 0
        return time if time > 0 else None

    def trade(self) -> Iterable[Record]:
        yield Trade(
            raw_symbol=self.product_id,
            id=self.match_id,
            price=text(self.trade_price),
            size=text(self.trade_qty),
            side=SIDES.get(self.aggressor_side),
            kind="trade" if self.aggressor_side in SIDES else "auction",
            ts_event=self.at(),
        )

    def book(self) -> Iterable[Record]:
        name, time, number = self.product_id, self.at(), self.sequence
        bids: Levels
        asks: Levels
        if self.bids is not None and self.asks is not None:
            bids, asks = levels(self.bids), levels(self.asks)
            yield BookSnapshot(raw_symbol=name, bids=bids, asks=asks, sequence=number, ts_event=time)
        elif self.changes is None:
            raise BadFrame(f"a book of {name} that is neither whole nor a change")
        else:
            bids, asks = sides(self.changes, bid="BUY")
            yield BookDelta(raw_symbol=name, bids=bids, asks=asks, sequence=number, ts_event=time)

    def best(self) -> Iterable[Record]:
        bid, ask = (self.bid_price, self.bid_qty), (self.ask_price, self.ask_qty)
        yield bbo(self.product_id, *bid, *ask, ts_event=self.at(), sequence=self.sequence)

    def risk(self) -> Iterable[Record]:
        name, time = self.product_id, self.at()
        if mark := nonzero(self.mark_price):
            yield MarkPrice(raw_symbol=name, price=mark, ts_event=time)
        if index := nonzero(self.index_price):
            yield IndexPrice(raw_symbol=name, price=index, ts_event=time)
        if size := optional(self.open_interest):
            yield OpenInterest(raw_symbol=name, size=size, ts_event=time)

    def funding(self) -> Iterable[Record]:
        """A rate as it stands, or the one that was exchanged at that time."""
        time = self.at()
        if rate := optional(self.funding_rate):
            made = Funding(raw_symbol=self.product_id, rate=rate, ts_event=time)
            if self.is_final:
                made.kind, made.ts_next = "settled", time
            yield made

    def bars(self) -> Iterable[Record]:
        word = self.channel.removeprefix(BARS)
        rows = [
            candle(
                self.product_id,
                INTERVALS.get(word, word.lower()),
                from_iso(bar.time),
                (bar.open, bar.high, bar.low, bar.close),
                base=bar.volume,
            )
            for bar in self.candles
        ]
        return past(rows) if self.type == "SNAPSHOT" else rows


READERS: dict[str, Callable[[Frame], Iterable[Record]]] = {
    "MATCH": Frame.trade,
    "LEVEL2": Frame.book,
    "LEVEL1": Frame.best,
    "RISK": Frame.risk,
    "FUNDING": Frame.funding,
}
decode = Decoder(Frame).decode


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    if not said.channel:
        return ()
    read = Frame.bars if said.channel.startswith(BARS) else READERS.get(said.channel)
    return (Ignored(f"the channel {said.channel[:40]} is of no use"),) if read is None else [*read(said)]


ARCHIVE = Archive(
    until="2026-10-01",
    streams=(Stream(name="legacy", channels=CHANNELS, parse=parse),),
)
