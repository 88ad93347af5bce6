"""The rows of AlphaPoint's protocol: lists of JSON numbers, each in a place of its own.

https://apidoc.ndax.io/
Books of another exchange on the same platform were probed in September 2026 (Bitazza, by others). Numbers rise from
event to event, skip, and stand in no order within one. A price may be deleted and told anew in one event. Of a book
that was asked for with 20 levels, those that left the twenty were not all deleted, and stood within the best ones
later; one that was asked for whole stayed right. A row's time is that of the level's last change.
"""

from msgspec import Raw, Struct

from aggregator.errors import BadFrame
from aggregator.records import DAY_S, Bbo, BookDelta, BookSnapshot, Candle, Side, Ticker, Trade
from aggregator.wire import Text, bbo, is_zero, ms, nonzero, optional, text

DEPTH = 1000  # levels a side that are asked for: more than there are, as those that leave a smaller window stay
DELETED = 2
MINUTE_MS = 60_000
INTERVALS = {  # minutes of a candle -> its interval
    1: "1m",
    5: "5m",
    15: "15m",
    30: "30m",
    60: "1h",
    120: "2h",
    240: "4h",
    360: "6h",
    720: "12h",
    1440: "1d",
    10080: "1w",
    40320: "4w",
}


class Envelope(Struct):
    m: int  # 1 is a reply, 3 an event, 5 an error
    n: str  # the function that is answered, or the event
    o: Raw  # JSON within a text
    i: int = 0  # a reply's is the request's


class Refusal(Struct):
    """An answer that is an object: a result, or what is against the request."""

    result: bool | None = None
    errormsg: str | None = None
    errorcode: int = 0
    detail: str | None = None

    @property
    def words(self) -> str:
        return ": ".join(str(part) for part in (self.errorcode, self.errormsg, self.detail) if part) or "refused"


class LevelRow(Struct, array_like=True, gc=False):
    update: int  # rises with each change
    accounts: int
    time: int
    action: int  # 0 is new, 1 changed, 2 deleted
    last: Text
    orders: int
    price: Text
    instrument: int
    quantity: Text  # absolute
    side: int  # 0 is a bid

    @property
    def level(self) -> tuple[str, str]:
        return text(self.price), "0" if self.action == DELETED else text(self.quantity)


def snapshot(rows: list[LevelRow], instrument: int) -> BookSnapshot:
    """A whole book; a row of size zero is no level."""
    found = [(row.side, *row.level) for row in rows]
    return BookSnapshot(
        raw_symbol=str(instrument),
        bids=[(price, size) for side, price, size in found if side == 0 and not is_zero(size)],
        asks=[(price, size) for side, price, size in found if side == 1 and not is_zero(size)],
        sequence=max((row.update for row in rows), default=None),
        ts_event=max((ms(row.time) for row in rows), default=None),
    )


def delta(rows: list[LevelRow]) -> BookDelta:
    """The changes of one book, in the order of the wire, which is not that of their numbers: a price may come twice."""
    return BookDelta(
        raw_symbol=str(rows[0].instrument),
        bids=[row.level for row in rows if row.side == 0],
        asks=[row.level for row in rows if row.side == 1],
        sequence=max(row.update for row in rows),
        sequence_first=min(row.update for row in rows),
        ts_event=ms(max(row.time for row in rows)),
    )


SIDES: tuple[Side, Side] = ("buy", "sell")


class TradeRow(Struct, array_like=True, gc=False):
    id: int
    instrument: int
    quantity: Text
    price: Text
    order: int
    other_order: int
    time: int
    direction: int  # the price rose or fell
    taker: int  # 0 bought, 1 sold
    is_block: Text = 0

    def record(self) -> Trade:
        if not 0 <= self.taker < len(SIDES):
            raise BadFrame(f"the trade {self.id} has the side {self.taker}, where 0 and 1 are known")
        return Trade(
            raw_symbol=str(self.instrument),
            id=str(self.id),
            price=text(self.price),
            size=text(self.quantity),
            side=SIDES[self.taker],
            kind="block" if self.is_block else "trade",
            sequence=self.id,
            ts_event=ms(self.time),
        )


class Level1(Struct, gc=False):
    """The best prices, whose sizes are always told as 0, and figures of 24 hours."""

    InstrumentId: int
    TimeStamp: int | str | None = None
    BestBid: Text = None
    BestOffer: Text = None
    BidQty: Text = None
    AskQty: Text = None
    LastTradedPx: Text = None
    Rolling24HrVolume: Text = None
    Rolling24HrNotional: Text = None
    Rolling24NumTrades: int | None = None

    def records(self) -> tuple[Ticker, Bbo]:
        name = str(self.InstrumentId)
        sent = None if self.TimeStamp is None else ms(self.TimeStamp)
        volume = optional(self.Rolling24HrVolume)
        # An amount of 0 beside a volume is none: its own example has it so.
        has_traded = volume is not None and not is_zero(volume)
        statistics = Ticker(
            raw_symbol=name,
            last=nonzero(self.LastTradedPx),
            base_volume=volume,
            quote_volume=nonzero(self.Rolling24HrNotional) if has_traded else optional(self.Rolling24HrNotional),
            trades=self.Rolling24NumTrades,
            window_s=DAY_S,
            ts_sent=sent,
        )
        bid, ask = nonzero(self.BidQty), nonzero(self.AskQty)
        return statistics, bbo(name, self.BestBid, bid, self.BestOffer, ask, ts_sent=sent)


class CandleRow(Struct, array_like=True, gc=False):
    end: int
    high: Text
    low: Text
    open: Text
    close: Text
    volume: Text
    bid: Text
    ask: Text
    instrument: int
    start: int

    def record(self) -> Candle:
        interval = INTERVALS.get((self.end - self.start) // MINUTE_MS)
        if interval is None:
            raise BadFrame(f"a candle from {self.start} to {self.end} is of no interval that is known")
        return Candle(
            raw_symbol=str(self.instrument),
            interval=interval,
            ts_open=ms(self.start),
            ts_close=ms(self.end),
            open=text(self.open),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close),
            base_volume=text(self.volume),
        )
