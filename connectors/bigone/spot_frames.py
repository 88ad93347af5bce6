"""Frames of BigONE's pairs: a request's name is a key, and so is that of what comes back.

https://open.bigone.com/docs/spot/pusher
The messages are protobuf in their JSON form: numbers of 64 bits are text, and what is zero or empty may be left out.
Nobody has probed them in 2026; names and rule are those of two public clients. Each frame repeats the number of its
request, which names the period of candles as well (`7-MIN1`), since they may not. The first documentation has books
without numbers.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Refused, Subscription
from aggregator.records import BookDelta, BookSnapshot, Channel, Level, Record, Side, Trade
from aggregator.refusals import meaning_of
from aggregator.wire import Text, encode, from_iso, past, text
from aggregator.wire import number as as_number
from connectors.bigone.spot_figure_wires import INTERVALS, PERIODS, CandlesWire, CandleWire, TickersWire, TickerWire

CHANNELS: dict[Channel, str] = {
    "trades": "MarketTradesRequest",
    "book": "MarketDepthRequest",
    "candles": "MarketCandlesRequest",
}
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
    changeId: Text = None
    prevId: Text = "0"

    @property
    def number(self) -> int | None:
        return None if self.changeId is None else int(self.changeId)

    def snapshot(self) -> Record:
        bids, asks = [row.level() for row in self.depth.bids], [row.level() for row in self.depth.asks]
        return BookSnapshot(raw_symbol=self.depth.market, bids=bids, asks=asks, sequence=self.number)

    def delta(self) -> Record:
        bids, asks = [row.level() for row in self.depth.bids], [row.level() for row in self.depth.asks]
        return BookDelta(
            raw_symbol=self.depth.market,
            bids=bids,
            asks=asks,
            sequence=self.number,
            sequence_prev=None if self.number is None else int(self.prevId or 0),
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
    tickersSnapshot: TickersWire | None = None
    tickerUpdate: TickerWire | None = None
    candlesSnapshot: CandlesWire | None = None
    candleUpdate: CandleWire | None = None
    success: Success | None = None
    error: Failure | None = None

    @property
    def is_answer(self) -> bool:
        """Tell whether it is the first frame of a topic."""
        first = (self.success, self.depthSnapshot, self.tradesSnapshot, self.tickersSnapshot, self.candlesSnapshot)
        return any(said is not None for said in first)

    def snapshots(self) -> Iterable[Event]:
        if self.depthSnapshot is not None:
            yield self.depthSnapshot.snapshot()
        if self.tradesSnapshot is not None:
            yield from past(sorted((row.record() for row in self.tradesSnapshot.trades), key=number_of))

    def figures(self, period: str) -> Iterable[Event]:
        """Statistics, which are polled and which captures may hold, and candles; one of no known period is left out."""
        tickers = [] if self.tickersSnapshot is None else self.tickersSnapshot.tickers
        for row in tickers if self.tickerUpdate is None else [self.tickerUpdate.ticker]:
            yield from row.records()
        candles = [] if self.candlesSnapshot is None else self.candlesSnapshot.candles[::-1]
        for bar in candles if self.candleUpdate is None else [self.candleUpdate.candle]:
            if bar.period or period in INTERVALS:
                yield bar.record(period)


decode = Decoder(Frame, float_hook=as_number).decode


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    if said.depthUpdate is not None:
        return (said.depthUpdate.delta(),)
    if said.tradeUpdate is not None:
        return (said.tradeUpdate.trade.record(),)
    number, _, period = (said.requestId or "").partition("-")
    id = int(number) if number.isdecimal() else None
    if said.error is not None:
        reason = f"{text(said.error.code)}: {said.error.message}"
        return (Refused(reason, id, meaning=meaning_of(reason, final=FINAL)),)
    confirmed = (Accepted(id=id),) if said.is_answer and id is not None else ()
    return (*confirmed, *said.snapshots(), *said.figures(period))


def number_of(trade: Trade) -> int:
    return int(trade.id or 0)


def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    for s in wanted:
        more, number = {"market": s.raw_symbol}, str(id)
        if s.channel == "trades":
            more["limit"] = "100"
        elif s.channel == "candles":
            more["period"] = PERIODS.get(s.interval, s.interval)
            number += f"-{more['period']}"
        yield encode({"requestId": number, f"subscribe{CHANNELS[s.channel]}": more})


def leave(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
    """A request without a number that is ours, so that its answer confirms nothing."""
    for s in wanted:
        more = {"period": PERIODS.get(s.interval, s.interval)} if s.channel == "candles" else {}
        yield encode({"requestId": "leave", f"unsubscribe{CHANNELS[s.channel]}": {"market": s.raw_symbol} | more})
