"""Reading the frames of the OKX protocol.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data
"""

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Hangup, Parse, Refused
from aggregator.records import MS_NS, Bbo, BookDelta, BookSnapshot, Channel, Levels
from aggregator.refusals import meaning_of, named_in
from aggregator.wire import lower_unit, nonzero
from connectors.families.okx.wires import (
    BarWire,
    BlockWire,
    BookWire,
    FundingWire,
    IndexWire,
    LevelWire,
    LiquidationWire,
    MarkWire,
    OpenWire,
    OptionWire,
    TickerWire,
    TradeWire,
)

CHANNELS: dict[Channel, str] = {
    "trades": "trades",
    "book": "books",
    "bbo": "bbo-tbt",
    "ticker": "tickers",
    "candles": "candle",
    "funding": "funding-rate",
    "open_interest": "open-interest",
    "liquidations": "liquidation-orders",
    "mark_price": "mark-price",
    "index_price": "index-tickers",
    "options": "opt-summary",
}
OURS: dict[str, Channel] = {wire: channel for channel, wire in CHANNELS.items()}
DEPTH = 400
DEPTHS = {"books": DEPTH, "books5": 5, "books50-l2-tbt": 50, "books-l2-tbt": DEPTH}
NAMED = re.compile(r"(?:channel:([\w-]{1,64}),)?instId:([^, ]{1,64}?) doesn't exist")
SWAP = "-SWAP"

T = TypeVar("T")


class Topic(Struct, gc=False):
    channel: str
    instId: str


class Arg(Struct):
    channel: str
    instId: str | None = None  # some channels are had by type or by family of instruments


class Rows(Struct, Generic[T], gc=False):
    """Rows that name their own instrument."""

    data: list[T]


class Named(Struct, Generic[T], gc=False):
    """Rows of one instrument, which only the head names."""

    arg: Topic
    data: list[T]
    action: str | None = None


class Other(Struct):
    arg: Arg | None = None
    event: str | None = None
    code: str = ""
    msg: str = ""


decode_other = Decoder(Other).decode  # those that are not strict read times, which come as text, as integers
decode_trades = Decoder(Rows[TradeWire], strict=False).decode
decode_blocks = Decoder(Rows[BlockWire], strict=False).decode
decode_books = Decoder(Named[BookWire], strict=False).decode
decode_whole = Decoder(Rows[BookWire], strict=False).decode
decode_tickers = Decoder(Rows[TickerWire], strict=False).decode
decode_bars = Decoder(Named[BarWire]).decode
decode_fundings = Decoder(Rows[FundingWire]).decode
decode_open = Decoder(Rows[OpenWire]).decode
decode_marks = Decoder(Rows[MarkWire]).decode
decode_indices = Decoder(Rows[IndexWire]).decode
decode_options = Decoder(Rows[OptionWire]).decode
decode_liquidations = Decoder(Rows[LiquidationWire]).decode


def levels(side: list[LevelWire]) -> Levels:
    return [(level.px, level.sz) for level in side]


def read_trades(frame: bytes) -> Iterable[Event]:
    trades = decode_trades(frame).data
    return (trades[0].record(),) if len(trades) == 1 else [trade.record() for trade in trades]  # one, as a rule


def read_books(frame: bytes) -> Iterable[Event]:
    said = decode_books(frame)
    if said.action == "update":
        return (delta(said.arg, said.data[0]),) if len(said.data) == 1 else [delta(said.arg, b) for b in said.data]
    return [whole(said.arg, b, said.action) for b in said.data]


def delta(arg: Topic, b: BookWire) -> BookDelta:
    return BookDelta(
        raw_symbol=arg.instId,
        bids=levels(b.bids),
        asks=levels(b.asks),
        checksum=b.checksum or None,
        sequence=b.seqId,
        sequence_prev=b.prevSeqId,
        ts_event=b.ts * MS_NS,
    )


def whole(arg: Topic, b: BookWire, action: str | None) -> BookSnapshot:
    return BookSnapshot(
        raw_symbol=arg.instId,
        bids=levels(b.bids),
        asks=levels(b.asks),
        depth=DEPTHS.get(arg.channel),
        checksum=b.checksum or None,
        sequence=b.seqId,
        reason="initial" if action else "periodic",
        ts_event=b.ts * MS_NS,
    )


def read_whole(raw_symbol: str, body: bytes) -> BookSnapshot:
    """A book that was asked for; one that does not say its number joins nothing."""
    book = decode_whole(body).data[0]
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=levels(book.bids),
        asks=levels(book.asks),
        depth=DEPTH,
        sequence=-1 if book.seqId is None else book.seqId,
        ts_event=book.ts * MS_NS,
    )


def read_bests(frame: bytes) -> Iterable[Event]:
    said = decode_books(frame)
    return [best(said.arg, b) for b in said.data]


def best(arg: Topic, b: BookWire) -> Bbo:
    bids, asks = b.bids, b.asks
    return Bbo(
        raw_symbol=arg.instId,
        bid_price=bids[0].px if bids else None,
        bid_size=bids[0].sz if bids else None,
        ask_price=asks[0].px if asks else None,
        ask_size=asks[0].sz if asks else None,
        sequence=b.seqId,
        ts_event=b.ts * MS_NS,
    )


def read_bars(frame: bytes) -> Iterable[Event]:
    said = decode_bars(frame)
    interval = lower_unit(said.arg.channel.removeprefix("candle").removesuffix("utc"))
    return [bar.record(said.arg.instId, interval) for bar in said.data]


def read_tickers(frame: bytes) -> Iterable[Event]:
    tickers = decode_tickers(frame).data
    return (tickers[0].record(),) if len(tickers) == 1 else [ticker.record() for ticker in tickers]


READERS: dict[str, Parse] = {
    "trades": read_trades,
    "trades-all": read_trades,
    "option-trades": read_trades,
    "public-block-trades": lambda frame: [t.record(kind="block") for t in decode_trades(frame).data],
    "public-struc-block-trades": lambda frame: [t for b in decode_blocks(frame).data for t in b.records()],
    "books": read_books,
    "books5": read_books,
    "books-l2-tbt": read_books,
    "books50-l2-tbt": read_books,
    "bbo-tbt": read_bests,
    "tickers": read_tickers,
    "funding-rate": lambda frame: [r for f in decode_fundings(frame).data for r in f.records()],
    "open-interest": lambda frame: [o.record() for o in decode_open(frame).data if o.oi],
    "mark-price": lambda frame: [m.record() for m in decode_marks(frame).data if nonzero(m.markPx)],
    "index-tickers": lambda frame: [i.record() for i in decode_indices(frame).data if nonzero(i.idxPx)],
    "opt-summary": lambda frame: [o.record() for o in decode_options(frame).data],
    "liquidation-orders": lambda frame: [r for w in decode_liquidations(frame).data for r in w.records()],
}
BUSY: dict[bytes, Parse] = {  # the busiest, known by how their frames begin
    b'{"arg":{"channel":"trades': read_trades,
    b'{"arg":{"channel":"books"': read_books,
    b'{"arg":{"channel":"bbo-tb': read_bests,
    b'{"arg":{"channel":"ticker': read_tickers,
}
START = len(next(iter(BUSY)))


def parse(frame: bytes) -> Iterable[Event]:
    read = BUSY.get(frame[:START])
    if read is not None:
        try:
            return read(frame)
        except ValidationError:
            pass  # an event that names its channel first, or it is unreadable
    return parse_other(frame)


def parse_other(frame: bytes) -> Iterable[Event]:
    if frame == b"pong":
        return ()
    said = decode_other(frame)
    if said.event is not None:
        return parse_event(said)
    if said.arg is None:
        raise BadFrame("neither an event nor data of a channel")
    read = read_bars if said.arg.channel.startswith("candle") else READERS.get(said.arg.channel)
    return read(frame) if read is not None else ()


def parse_event(said: Other) -> Iterable[Event]:
    wire, raw_symbol = (said.arg.channel, said.arg.instId) if said.arg else (None, None)
    if said.event == "subscribe":
        return (Accepted(channel=ours(wire), raw_symbol=raw_symbol),)
    if said.event == "error":
        named = named_in(said.msg, NAMED)
        if named is not None:
            wire, raw_symbol = named[1] or wire, named[2]
        reason = f"{said.code}: {said.msg}"
        meaning = meaning_of(
            reason, final=("doesn't exist", "60029"), passing=("60014", "63999", "too frequent", "too many")
        )
        return (Refused(reason, channel=ours(wire), raw_symbol=raw_symbol, meaning=meaning),)
    return (Hangup(f"{said.code}: {said.msg}"),) if said.event == "notice" and said.code == "64008" else ()


def ours(wire: str | None) -> Channel | None:
    return "candles" if wire and wire.startswith("candle") else OURS.get(wire or "")
