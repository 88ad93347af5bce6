"""MEXC's spot streams: protobuf, with answers to requests as JSON text.

https://www.mexc.com/api-docs/spot-v3/websocket-market-streams
Fields and their numbers are those of https://github.com/mexcdevelop/websocket-proto. A message written in protobuf's
JSON form is read too.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Meaning, Refused, Request, Snapshot, Subscribe, Subscription
from aggregator.records import (
    DAY_S,
    MS_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Channel,
    Levels,
    Record,
    Ticker,
    Trade,
)
from aggregator.wire import encode, is_zero, ms, nonzero, optional, protobuf, seconds
from connectors.families.mexc.wires import INTERVALS, OURS, SIDES
from connectors.mexc import first_wires, legacy

CHANNELS: dict[Channel, str] = {
    "trades": "spot@public.aggre.deals.v3.api.pb@100ms",
    "book": "spot@public.aggre.depth.v3.api.pb@100ms",
    "bbo": "spot@public.aggre.bookTicker.v3.api.pb@100ms",
    "ticker": "spot@public.miniTicker.v3.api.pb",
    "candles": "spot@public.kline.v3.api.pb",
}
ZONE = "UTC+8"  # the zone of a ticker's rates, which are not used: its highest and lowest prices are of 24 hours in any
REFUSED = "Not Subscribed successfully! ["  # the topics that are refused stand behind it, separated by commas
BLOCKED = "Blocked!"
DEPTH = 5000  # levels a side that a snapshot may have


class DealWire(Struct, gc=False):
    price: Annotated[str, 1]
    quantity: Annotated[str, 2]
    tradeType: Annotated[int, 3]
    time: Annotated[int, 4]
    tradeId: Annotated[str, 5] = ""  # since June 2026

    def record(self, raw_symbol: str, sent: int | None) -> Trade:
        side = SIDES.get(self.tradeType)
        if side is None:
            raise BadFrame(f"a deal of {raw_symbol} of the unknown type {self.tradeType}")
        return Trade(
            raw_symbol=raw_symbol,
            id=self.tradeId or None,
            price=self.price,
            size=self.quantity,
            side=side,
            ts_event=self.time * MS_NS,
            ts_sent=sent,
        )


class DealsWire(Struct, gc=False):
    deals: Annotated[list[DealWire], 1]


class LevelWire(Struct, gc=False):
    price: Annotated[str, 1]
    quantity: Annotated[str, 2]


class DepthWire(Struct, gc=False):
    fromVersion: Annotated[str, 4]
    toVersion: Annotated[str, 5]
    asks: Annotated[list[LevelWire], 1] = []
    bids: Annotated[list[LevelWire], 2] = []

    def record(self, raw_symbol: str, sent: int | None) -> BookDelta:
        return BookDelta(
            raw_symbol=raw_symbol,
            bids=levels(self.bids),
            asks=levels(self.asks),
            sequence=int(self.toVersion),
            sequence_first=int(self.fromVersion),
            ts_sent=sent,
        )


class LimitWire(Struct, gc=False):
    """The best levels, always whole; how many were asked for stands in the channel alone."""

    version: Annotated[str, 4]
    asks: Annotated[list[LevelWire], 1] = []
    bids: Annotated[list[LevelWire], 2] = []

    def record(self, raw_symbol: str, depth: int, sent: int | None) -> BookSnapshot:
        return BookSnapshot(
            raw_symbol=raw_symbol,
            bids=levels(self.bids),
            asks=levels(self.asks),
            depth=depth,
            reason="periodic",
            sequence=int(self.version),
            ts_sent=sent,
        )


class IncreaseWire(Struct, gc=False):
    version: Annotated[str, 4]
    asks: Annotated[list[LevelWire], 1] = []
    bids: Annotated[list[LevelWire], 2] = []

    def record(self, raw_symbol: str, sent: int | None) -> BookDelta:
        bids, asks, version = levels(self.bids), levels(self.asks), int(self.version)
        return BookDelta(raw_symbol=raw_symbol, bids=bids, asks=asks, sequence=version, ts_sent=sent)


class IncreasesWire(Struct, gc=False):
    items: Annotated[list[IncreaseWire], 1] = []


class BestWire(Struct, gc=False):
    """The best prices; what nobody offers is empty, or 0."""

    bidPrice: Annotated[str, 1] = ""
    bidQuantity: Annotated[str, 2] = ""
    askPrice: Annotated[str, 3] = ""
    askQuantity: Annotated[str, 4] = ""
    version: Annotated[str, 5] = ""  # since June 2026

    def record(self, raw_symbol: str, sent: int | None) -> Bbo:
        has_bid, has_ask = not is_zero(self.bidPrice), not is_zero(self.askPrice)
        return Bbo(
            raw_symbol=raw_symbol,
            bid_price=self.bidPrice if has_bid else None,
            bid_size=self.bidQuantity or None if has_bid else None,
            ask_price=self.askPrice if has_ask else None,
            ask_size=self.askQuantity or None if has_ask else None,
            sequence=int(self.version) if self.version else None,
            ts_sent=sent,
        )


class BestsWire(Struct, gc=False):
    items: Annotated[list[BestWire], 1] = []


class TickerWire(Struct, gc=False):
    price: Annotated[str, 2]
    symbol: Annotated[str, 1] = ""
    high: Annotated[str, 5] = ""
    low: Annotated[str, 6] = ""
    volume: Annotated[str, 7] = ""  # in the quote asset
    quantity: Annotated[str, 8] = ""  # in the base asset

    def record(self, raw_symbol: str, sent: int | None) -> Ticker:
        return Ticker(
            raw_symbol=raw_symbol or self.symbol,
            last=nonzero(self.price),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.quantity),
            quote_volume=optional(self.volume),
            window_s=DAY_S,
            ts_sent=sent,
        )


class TickersWire(Struct, gc=False):
    items: Annotated[list[TickerWire], 1] = []


class BarWire(Struct, gc=False):
    interval: Annotated[str, 1]
    windowStart: Annotated[int, 2]  # seconds, as windowEnd, which is the start of the next
    openingPrice: Annotated[str, 3]
    closingPrice: Annotated[str, 4]
    highestPrice: Annotated[str, 5]
    lowestPrice: Annotated[str, 6]
    windowEnd: Annotated[int, 9]
    volume: Annotated[str, 7] = ""
    amount: Annotated[str, 8] = ""

    def record(self, raw_symbol: str, sent: int | None) -> Candle:
        return Candle(
            raw_symbol=raw_symbol,
            interval=OURS.get(self.interval, self.interval),
            ts_open=seconds(self.windowStart),
            ts_close=seconds(self.windowEnd),
            open=self.openingPrice,
            high=self.highestPrice,
            low=self.lowestPrice,
            close=self.closingPrice,
            base_volume=optional(self.volume),
            quote_volume=optional(self.amount),
            ts_sent=sent,
        )


class PushWire(Struct, gc=False):
    """The envelope of every message: it has one of these bodies, and those of `aggre` are asked for."""

    channel: Annotated[str, 1]
    symbol: Annotated[str, 3] = ""
    createTime: Annotated[int, 5] = 0
    sendTime: Annotated[int, 6] = 0
    publicDeals: Annotated[DealsWire | None, 301] = None
    publicIncreaseDepths: Annotated[IncreaseWire | None, 302] = None
    publicLimitDepths: Annotated[LimitWire | None, 303] = None
    publicBookTicker: Annotated[BestWire | None, 305] = None
    publicSpotKline: Annotated[BarWire | None, 308] = None
    publicMiniTicker: Annotated[TickerWire | None, 309] = None
    publicMiniTickers: Annotated[TickersWire | None, 310] = None
    publicBookTickerBatch: Annotated[BestsWire | None, 311] = None
    publicIncreaseDepthsBatch: Annotated[IncreasesWire | None, 312] = None
    publicAggreDepths: Annotated[DepthWire | None, 313] = None
    publicAggreDeals: Annotated[DealsWire | None, 314] = None
    publicAggreBookTicker: Annotated[BestWire | None, 315] = None

    def records(self) -> Iterable[Record]:
        name = self.symbol
        sent = ms(self.sendTime or self.createTime) or None
        if self.publicAggreDeals is not None:
            return [deal.record(name, sent) for deal in self.publicAggreDeals.deals]
        body = self.publicAggreDepths or self.publicAggreBookTicker or self.publicSpotKline or self.publicMiniTicker
        if body is not None:
            return (body.record(name, sent),)
        if self.publicLimitDepths is not None:
            return (self.publicLimitDepths.record(name, int(self.channel.rpartition("@")[2]), sent),)
        return self.others(name, sent)

    def others(self, name: str, sent: int | None) -> Iterable[Record]:
        """The bodies that are not asked for."""
        if self.publicDeals is not None:
            return [deal.record(name, sent) for deal in self.publicDeals.deals]
        one = self.publicIncreaseDepths or self.publicBookTicker
        if one is not None:
            return (one.record(name, sent),)
        many = self.publicIncreaseDepthsBatch or self.publicBookTickerBatch or self.publicMiniTickers
        if many is not None:
            return [each.record(name, sent) for each in many.items]
        return ()  # pushes without a body are sent of symbols where nothing is traded


class Answer(Struct):
    msg: str
    id: int | str | None = None
    code: int = 0


class Depth(Struct):
    lastUpdateId: int
    bids: Levels
    asks: Levels
    timestamp: int | None = None


decode_push = protobuf(PushWire)
decode_written = Decoder(PushWire, strict=False).decode  # protobuf's JSON form has its longer integers as text
decode_answer = Decoder(Answer).decode
decode_depth = Decoder(Depth, strict=False).decode


def levels(side: list[LevelWire]) -> Levels:
    return [(level.price, level.quantity) for level in side]


def parse(frame: bytes) -> Iterable[Event]:
    if frame[:1] == b"[" or (frame[:1] == b"{" and b'"push.' in frame):
        return first_wires.read(frame)
    if frame[:1] != b"{" or b'"channel"' in frame:
        return (decode_written if frame[:1] == b"{" else decode_push)(frame).records()
    return legacy.read(frame) if b'"c":' in frame else read_answer(decode_answer(frame))


def read_answer(said: Answer) -> Iterable[Event]:
    """One answer tells which topics of a request are confirmed, and which are refused.

    Several are refused in one pair of brackets, behind those that are confirmed. `Blocked!` is said of channels that
    are no longer served and of symbols that there are not (as users met both in 2025 and 2026).
    """
    id = int(said.id or 0) or None
    if said.msg == "PONG":
        return ()
    if said.code == 0 and said.msg.startswith("spot@"):
        return (Accepted(id=id),)
    _, _, refused = said.msg.partition(REFUSED)
    names, _, reason = refused.partition("]")
    if said.code or not names:
        return (Refused(said.msg if said.code == 0 else f"{said.code}: {said.msg}", id=id),)
    reason = reason.rpartition("\uff1a")[2].strip()
    meaning: Meaning = "final" if reason == BLOCKED else "unknown"
    told = [Refused(reason, topic=name, meaning=meaning) for name in names.split(",")]
    return [*told, Accepted(id=id)] if id is not None else told


def topic(s: Subscription) -> str:
    name = f"{CHANNELS[s.channel]}@{s.raw_symbol}"
    if s.channel == "candles":
        return f"{name}@{INTERVALS.get(s.interval, s.interval)}"
    return f"{name}@{ZONE}" if s.channel == "ticker" else name


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield encode({"id": id, "method": method, "params": [topic(s) for s in wanted]})

    return ask


def read_snapshot(raw_symbol: str, body: bytes) -> BookSnapshot:
    depth = decode_depth(body)
    sent = None if depth.timestamp is None else ms(depth.timestamp)
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=depth.bids,
        asks=depth.asks,
        depth=DEPTH,
        sequence=depth.lastUpdateId,
        ts_sent=sent,
    )


def snapshot(rest: str) -> Snapshot:
    """Declare the request for a whole book."""
    return Snapshot(lambda name: Request(f"{rest}/depth?symbol={name}&limit={DEPTH}"), read_snapshot)
