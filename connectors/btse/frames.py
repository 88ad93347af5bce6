"""Reading BTSE's frames: data whose topic says what it is, and answers.

https://docs.btse.com/futures/websocket/orderbook-incremental-updates
https://docs.btse.com/futures/websocket/public-trade-fills
A frame is of the market that its data name: its topic may have the longer spelling of a contract.
Trades of contracts came in the topic of today's spot trades once (a frame of March 2020): what sizes count is told by
the market, not by the topic.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Refused
from aggregator.records import MS_NS, Bbo, BookDelta, BookSnapshot, Level, Side, Trade
from aggregator.refusals import meaning_of
from aggregator.wire import Text, as_written, bbo, levels, text

DEPTH = 50
PONG = b"pong"
CONTRACT = re.compile(r"[^-]+(-PERP|-[0-9]{6}|$)", re.ASCII)  # `BTC-PERP-USDT` too, and `BTCPFC` of 2020
SIDES: dict[str, Side] = {"BUY": "buy", "SELL": "sell"}
NOTHING: Level = ("", "")


class BookWire(Struct, gc=False):
    symbol: str
    timestamp: int
    type: Literal["snapshot", "delta", "snapshotL1"]
    bids: list[list[Text]]
    asks: list[list[Text]]  # the dearest stands first in a whole book
    seqNum: int | None = None  # the next two only of books, one higher each time
    prevSeqNum: int | None = None

    def record(self) -> BookSnapshot | BookDelta | Bbo:
        at, bids, asks = self.timestamp * MS_NS, levels(self.bids), levels(self.asks)
        if self.type == "snapshotL1":
            bid, ask = (bids or [NOTHING])[0], (asks or [NOTHING])[0]
            return bbo(self.symbol, *bid, *ask, ts_event=at)
        if self.seqNum is None or self.prevSeqNum is None:
            raise BadFrame(f"a book of {self.symbol} without its number")
        if self.type == "delta":
            return BookDelta(
                raw_symbol=self.symbol,
                bids=bids,
                asks=asks,
                sequence=self.seqNum,
                sequence_prev=self.prevSeqNum,
                ts_event=at,
            )
        return BookSnapshot(
            raw_symbol=self.symbol,
            bids=sorted(bids, key=price, reverse=True),
            asks=sorted(asks, key=price),
            depth=DEPTH,
            sequence=self.seqNum,
            ts_event=at,
        )


class QuoteRow(Struct, gc=False):
    price: Text
    size: Text


class OlderBook(Struct, gc=False):
    """A whole book of before the one by changes; captures of 2020 and 2022 hold it, the older without name and time.

    https://github.com/btsecom/docs (orderbook snapshot by depth, and by grouping)
    """

    buyQuote: list[QuoteRow]
    sellQuote: list[QuoteRow]  # the dearest stands first
    symbol: str = ""
    timestamp: int | None = None

    def record(self, named: str) -> BookSnapshot:
        bids, asks = ([(text(row.price), text(row.size)) for row in side] for side in (self.buyQuote, self.sellQuote))
        return BookSnapshot(
            raw_symbol=self.symbol or named,
            bids=sorted(bids, key=price, reverse=True),
            asks=sorted(asks, key=price),
            reason="periodic",
            ts_event=None if self.timestamp is None else self.timestamp * MS_NS,
        )


class TradeRow(Struct, gc=False):
    symbol: str
    price: Text
    size: Text  # base units on spot, else contracts
    side: str
    tradeId: int
    timestamp: int

    def record(self) -> Trade:
        is_contract = CONTRACT.match(self.symbol) is not None
        return Trade(
            raw_symbol=self.symbol,
            id=str(self.tradeId),
            price=text(self.price),
            size=text(self.size),
            side=SIDES[self.side],
            size_unit="contract" if is_contract else "base",
            ts_event=self.timestamp * MS_NS,
        )


class Fault(Struct):
    code: int
    message: str = ""


class Bad(Struct):
    error: Fault
    arg: str | None = None


class Frame(Struct):
    topic: str = ""
    data: Raw = field(default_factory=Raw)
    event: str = ""
    channel: list[str] = []
    errors: list[Bad] = []


decode = Decoder(Frame).decode
decode_book = Decoder(BookWire).decode
decode_older = Decoder(OlderBook, float_hook=as_written).decode
decode_trades = Decoder(list[TradeRow], float_hook=as_written).decode


def price(level: Level) -> Decimal:
    return Decimal(level[0])


def read_older(topic: str, data: Raw) -> Iterable[Event]:
    """A whole book: its topic may name the market, and says so where prices are put together in groups."""
    kind, _, rest = topic.partition(":")
    name, _, groups = rest.rpartition("_")
    if kind == "orderBookApi" and groups not in {"", "0"}:
        return ()
    if not (book := decode_older(data)).symbol and not name:
        raise BadFrame("a book of a market that is not named")
    return (book.record(name),)


def parse(frame: bytes) -> Iterable[Event]:
    if frame == PONG:
        return ()
    said = decode(frame)
    kind = said.topic.partition(":")[0]
    if kind in {"update", "snapshotL1"}:
        return (decode_book(said.data).record(),)
    if kind in {"tradeHistoryApi", "tradeHistoryApiV2", "tradeHistoryApiV3"}:
        return [row.record() for row in sorted(decode_trades(said.data), key=lambda row: row.tradeId)]
    if kind in {"orderBookApi", "orderBookL2Api"}:
        return read_older(said.topic, said.data)
    if said.event == "subscribe":
        return [Accepted(topic=topic) for topic in said.channel]
    return [refusal(bad) for bad in said.errors]


def refusal(bad: Bad) -> Refused:
    reason = f"{bad.error.code}: {bad.error.message}"
    return Refused(reason, topic=bad.arg, meaning=meaning_of(reason, final=("not supported", "does not exist")))
