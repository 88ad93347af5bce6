"""Frames of BigONE's pairs: a request's name is a key, and so is that of what comes back.

https://open.big.one/docs/spot_stream.html
The messages are protobuf in their JSON form: numbers of 64 bits are text, and what is zero or empty may be left out.
Nobody has probed them in 2026; names and rule are those of two public clients.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Refused, Subscription
from aggregator.records import BookDelta, BookSnapshot, Channel, Level, Record, Side, Trade
from aggregator.refusals import meaning_of
from aggregator.wire import Text, encode, from_iso, number, past, text

CHANNELS: dict[Channel, str] = {"trades": "MarketTradesRequest", "book": "MarketDepthRequest"}
SIDES: dict[str, Side] = {"BID": "buy", "ASK": "sell"}
FINAL = ("not found", "invalid market")


class LevelWire(Struct, gc=False):
    price: Text
    amount: Text = "0"

    def level(self) -> Level:
        return text(self.price), text(self.amount)


class DepthWire(Struct):
    market: str
    bids: list[LevelWire] = []
    asks: list[LevelWire] = []


class BookWire(Struct):
    depth: DepthWire
    changeId: Text
    prevId: Text = "0"

    def snapshot(self) -> Record:
        bids, asks = [row.level() for row in self.depth.bids], [row.level() for row in self.depth.asks]
        return BookSnapshot(raw_symbol=self.depth.market, bids=bids, asks=asks, sequence=int(self.changeId))

    def delta(self) -> Record:
        bids, asks = [row.level() for row in self.depth.bids], [row.level() for row in self.depth.asks]
        return BookDelta(
            raw_symbol=self.depth.market,
            bids=bids,
            asks=asks,
            sequence=int(self.changeId),
            sequence_prev=int(self.prevId),
        )


class TradeRow(Struct, gc=False):
    id: Text
    price: Text
    amount: Text
    market: str
    createdAt: str
    takerSide: str | None = None

    def record(self) -> Trade:
        return Trade(
            raw_symbol=self.market,
            id=text(self.id),
            price=text(self.price),
            size=text(self.amount),
            side=None if self.takerSide is None else SIDES[self.takerSide],
            ts_event=from_iso(self.createdAt),
        )


class TradesWire(Struct):
    trades: list[TradeRow] = []


class TradeWire(Struct):
    trade: TradeRow


class Failure(Struct):
    code: Text = ""
    message: str = ""


class Success(Struct):
    ok: bool = True


class Frame(Struct):
    requestId: str | None = None
    depthSnapshot: BookWire | None = None
    depthUpdate: BookWire | None = None
    tradesSnapshot: TradesWire | None = None
    tradeUpdate: TradeWire | None = None
    success: Success | None = None
    error: Failure | None = None


decode = Decoder(Frame, float_hook=number).decode


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    if said.depthUpdate is not None:
        return (said.depthUpdate.delta(),)
    if said.tradeUpdate is not None:
        return (said.tradeUpdate.trade.record(),)
    id = int(said.requestId) if said.requestId is not None and said.requestId.isdecimal() else None
    if said.error is not None:
        reason = f"{text(said.error.code)}: {said.error.message}"
        return (Refused(reason, id, meaning=meaning_of(reason, final=FINAL)),)
    confirmed = () if id is None else (Accepted(id=id),)
    if said.depthSnapshot is not None:
        return (*confirmed, said.depthSnapshot.snapshot())
    if said.tradesSnapshot is not None:
        return (*confirmed, *past(sorted((row.record() for row in said.tradesSnapshot.trades), key=number_of)))
    return confirmed if said.success is not None else ()


def number_of(trade: Trade) -> int:
    return int(trade.id or 0)


def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    for s in wanted:
        more = {"limit": "100"} if s.channel == "trades" else {}
        yield encode({"requestId": str(id), f"subscribe{CHANNELS[s.channel]}": {"market": s.raw_symbol} | more})


def leave(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
    """A request without a number that is ours, so that its answer confirms nothing."""
    for s in wanted:
        yield encode({"requestId": "leave", f"unsubscribe{CHANNELS[s.channel]}": {"market": s.raw_symbol}})
