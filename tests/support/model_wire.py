"""Dialects of a model exchange: its small JSON wire, and the declaration by which a session speaks it."""

from collections.abc import Iterable, Sequence
from typing import Literal
from zlib import crc32

from msgspec import Struct, json

from aggregator.book import OrderBook
from aggregator.exchange import Accepted, Backfill, Event, Request, Since, Snapshot, Stream, Subscription
from aggregator.records import BookDelta, BookSnapshot, Channel, Instrument, Levels, Trade
from aggregator.sequence import Rule

REST = "https://model.example"
BASE = 1000  # the number before the first
Sides = tuple[dict[int, int], dict[int, int]]  # bids and asks: price -> size


class Dialect(Struct, frozen=True, kw_only=True):
    """One way of numbering, and of having whole books.

    book: the rule of the book's numbers; stride: between two updates; most: updates that one frame covers
    says: which numbers a frame names beside its last
    whole: on subscribing, by REST, on subscribing and by REST, by REST although it may come on subscribing, by a frame
        that asks, or every frame is a whole book
    depth: levels a side that the exchange keeps in its stream; limit: levels a side of a REST answer
    trades: the rule of the numbers of trades, each `trade_stride` after the one before
    is_blind: a book's frame lost without a trace cannot be noticed, so the model loses none
    """

    name: str
    book: Rule | None = None
    stride: int = 1
    most: int = 3
    says: frozenset[Literal["first", "prev"]] = frozenset()
    whole: Literal["in_band", "rest", "both", "withdrawn", "asked", "always"] = "in_band"
    checked: bool = False
    depth: int | None = None
    limit: int | None = None
    trades: Rule | None = None
    trade_stride: int = 1
    backfilled: bool = False

    @property
    def is_blind(self) -> bool:
        return not self.checked and (self.book is None or not self.book.sure) and self.whole != "always"

    def number(self, update: int) -> int:
        """The exchange's number of a book's update."""
        return BASE + update * self.stride

    def update(self, number: int) -> int:
        """The update that has this number."""
        return (number - BASE) // self.stride


class Said(Struct, omit_defaults=True):
    """One thing said on the wire."""

    kind: Literal["delta", "whole", "trade", "ack"]
    s: str = ""
    n: int | None = None
    first: int | None = None
    prev: int | None = None
    sum: int | None = None
    t: int | None = None
    bids: Levels = []
    asks: Levels = []


class Asked(Struct, omit_defaults=True):
    """What the exchange is asked on the socket."""

    op: Literal["subscribe", "unsubscribe", "whole"]
    id: int = 0
    topics: list[tuple[str, str]] = []


decode = json.Decoder(list[Said]).decode
decode_asked = json.Decoder(Asked).decode
encode = json.Encoder().encode


def checksum(book: OrderBook, _: Instrument | None = None) -> int:
    return summed((level_numbers(book.bids()), level_numbers(book.asks())))


def level_numbers(levels: Levels) -> dict[int, int]:
    return {int(price.partition(".")[0]): int(size.partition(".")[0]) for price, size in levels}


def summed(sides: Sides) -> int:
    bids, asks = sides
    return crc32(repr((sorted(bids.items()), sorted(asks.items()))).encode())


def read(said: Said) -> Event:
    if said.kind == "ack":
        return Accepted(id=said.n)
    if said.kind == "trade":
        return Trade(
            raw_symbol=said.s,
            id=str(said.t),
            ts_event=said.t,
            sequence=said.n,
            price="100",
            size="1",
        )
    kind = BookDelta if said.kind == "delta" else BookSnapshot
    return kind(
        raw_symbol=said.s,
        sequence=said.n,
        sequence_first=said.first,
        sequence_prev=said.prev,
        ts_event=said.t,
        checksum=said.sum,
        bids=said.bids,
        asks=said.asks,
    )


def request(raw_symbol: str, since: Since | None = None) -> Request:
    return Request(f"{REST}/{raw_symbol}?since={since.sequence if since else ''}")


def ask_whole(raw_symbol: str, id: int) -> bytes:
    return encode(Asked("whole", id, [("book", raw_symbol)]))


def subscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    yield encode(Asked("subscribe", id, [(s.channel, s.raw_symbol) for s in wanted]))


def unsubscribe(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    yield encode(Asked("unsubscribe", id, [(s.channel, s.raw_symbol) for s in wanted]))


def read_trades(_: str, body: bytes) -> Iterable[Trade]:
    return [event for event in map(read, decode(body)) if isinstance(event, Trade)]


def snapshot_of(dialect: Dialect) -> Snapshot | None:
    """How a whole book is had beside the stream."""

    def read_book(_: str, body: bytes) -> BookSnapshot:
        event = read(decode(body)[0])
        assert isinstance(event, BookSnapshot)
        event.depth = dialect.limit
        return event

    if dialect.whole in {"rest", "both", "withdrawn"}:
        return Snapshot(request=request, parse=read_book, in_band=dialect.whole != "rest")
    return Snapshot(ask=ask_whole) if dialect.whole == "asked" else None


def stream_of(dialect: Dialect) -> Stream:
    """The declaration by which a session speaks a dialect."""

    def parse(frame: bytes) -> Iterable[Event]:
        for said in decode(frame):
            event = read(said)
            if isinstance(event, BookSnapshot):
                event.depth = dialect.depth
                event.reason = "periodic" if dialect.whole == "always" else "initial"
            yield event

    rules: dict[Channel, Rule | None] = {"book": dialect.book, "trades": dialect.trades}
    return Stream(
        channels={"book": "book", "trades": "trades"},
        subscribe=subscribe,
        unsubscribe=unsubscribe,
        parse=parse,
        sequence={channel: rule for channel, rule in rules.items() if rule is not None},
        snapshot=snapshot_of(dialect),
        checksum=checksum if dialect.checked else None,
        backfill=Backfill(request, read_trades) if dialect.backfilled else None,
        depth=dialect.depth,
    )
