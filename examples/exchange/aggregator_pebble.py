"""Pebble, spot: an exchange that does not exist, with the least that a connector can be.

https://docs.pebble.example
"""

from collections.abc import Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import (
    Accepted,
    Event,
    Exchange,
    Heartbeat,
    Listing,
    Parse,
    Refused,
    Request,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import BookDelta, BookSnapshot, Channel, Instrument, Levels, Side, Trade
from aggregator.refusals import coded, meaning_of
from aggregator.sequence import contiguous
from aggregator.wire import at, bbo, by_word, encode, ms

API = "https://api.pebble.example"
CHANNELS: dict[Channel, str] = {"trades": "trade", "book": "depth", "bbo": "best"}


class TradeWire(Struct, gc=False):
    sym: str
    id: int
    px: str
    qty: str
    side: Side  # the taker's
    t: int  # when it was matched


class DepthWire(Struct, gc=False):
    sym: str
    seq: int
    bids: Levels
    asks: Levels
    whole: bool = False  # the first one, and after a resubscription


class BestWire(Struct, gc=False):
    sym: str
    bid: str
    bid_qty: str
    ask: str
    ask_qty: str


class Answer(Struct):
    ch: str = ""
    topic: str = ""
    error: str | None = None


decode_trade = Decoder(TradeWire).decode
decode_depth = Decoder(DepthWire).decode
decode_best = Decoder(BestWire).decode
decode_answer = Decoder(Answer).decode


def read_trade(frame: bytes) -> Iterable[Event]:
    t = decode_trade(frame)
    return (Trade(raw_symbol=t.sym, id=str(t.id), price=t.px, size=t.qty, side=t.side, ts_event=ms(t.t)),)


def read_depth(frame: bytes) -> Iterable[Event]:
    d = decode_depth(frame)
    kind = BookSnapshot if d.whole else BookDelta
    return (kind(raw_symbol=d.sym, bids=d.bids, asks=d.asks, sequence=d.seq),)


def read_best(frame: bytes) -> Iterable[Event]:
    b = decode_best(frame)
    return (bbo(b.sym, b.bid, b.bid_qty, b.ask, b.ask_qty),)


READERS: dict[str, Parse] = {"trade": read_trade, "depth": read_depth, "best": read_best}


def read_other(frame: bytes) -> Iterable[Event]:
    """Answers, and data however it is spaced; what else there may be is of no use."""
    said = decode_answer(frame)
    if said.ch in READERS:
        return READERS[said.ch](frame)
    if said.ch != "answer":
        return ()
    if said.error is None:
        return (Accepted(topic=said.topic),)
    return (Refused(said.error, topic=said.topic, meaning=meaning_of(said.error, final=("no such",))),)


def topic(s: Subscription) -> str:
    return f"{CHANNELS[s.channel]}.{s.raw_symbol}"


def asking(operation: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield encode({"op": operation, "id": id, "topics": [topic(s) for s in wanted]})

    return ask


class MarketWire(Struct):
    symbol: str
    base: str
    quote: str
    tick: str
    lot: str


decode_market = Decoder(MarketWire).decode


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    return Instrument(raw_symbol=m.symbol, base=m.base, quote=m.quote, tick_size=m.tick, lot_size=m.lot)


EXCHANGE = Exchange(
    id="pebble",
    docs="https://docs.pebble.example",
    trouble=coded("code", "msg", fine=("0",), busy=("429",)),
    listing=Listing((Request(f"{API}/markets"),), at("data"), read_market),
    feeds=(
        Stream(
            url="wss://stream.pebble.example",
            channels=CHANNELS,
            topic=topic,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parse=by_word(b'"ch":"', READERS, read_other),
            sequence={"book": contiguous},
            heartbeat=Heartbeat(20, b'{"op":"ping"}'),
        ),
    ),
)
