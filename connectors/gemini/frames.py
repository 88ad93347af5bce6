"""Gemini's newer address: streams of a symbol (`btcusd@trade`), lower-case there and upper-case in the listing.

https://developer.gemini.com/websocket/streams
With `snapshot=-1` a book begins with a frame that is the whole of it, and whose first and last numbers are the same:
each later frame begins with the number that the one before it ended with. All times are nanoseconds.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Heartbeat, Refused, Stream, Subscribe, Subscription
from aggregator.records import Bbo, BookDelta, BookSnapshot, Channel, Record, Trade
from aggregator.sequence import linked
from aggregator.wire import best, encode, text

CHANNELS: dict[Channel, str] = {"trades": "trade", "book": "depth@100ms", "bbo": "bookTicker"}
OK = 200
TOO_MANY = -1003
NO_STREAM = "Invalid stream name:"
Level = tuple[str, str]


class ErrorWire(Struct):
    code: int | None = None
    msg: str = ""


class Message(Struct, gc=False):
    """A trade (`t`), a change of the book (`e`: depthUpdate), best prices (`B`), an answer, or what is not ours."""

    E: int = 0
    s: str = ""
    e: str = ""
    t: int | None = None
    p: str | None = None
    q: str | None = None
    m: bool | None = None  # True: the buyer was the maker
    U: int | None = None
    u: int | None = None
    b: str | list[Level] = ""
    a: str | list[Level] = ""
    B: str | None = None
    A: str = ""
    lastUpdateId: int | None = None  # only a message of the best levels has it, and does not say whose they are
    id: int | str | None = None
    status: int | None = None
    error: ErrorWire | None = None

    def events(self) -> Iterable[Event]:
        if self.status is not None:
            return self.answer()
        if self.e == "depthUpdate":
            return (self.named(self.book()),)
        if self.e:
            return ()
        if self.t is not None:
            return (self.named(self.trade()),)
        if self.B is not None:
            return (self.named(self.best()),)
        if not self.s and self.lastUpdateId is None:
            raise BadFrame("a message of neither a stream nor an answer")
        return ()

    def named(self, record: Record) -> Record:
        if not self.s or not self.E:
            raise BadFrame("a message without its symbol or its time")
        return record

    def trade(self) -> Trade:
        return Trade(
            raw_symbol=self.s.upper(),
            id=str(self.t),
            price=text(self.p),
            size=text(self.q),
            side=None if self.m is None else "sell" if self.m else "buy",
            ts_event=self.E,
        )

    def book(self) -> Record:
        if isinstance(self.b, str) or isinstance(self.a, str) or self.U is None:
            raise BadFrame("a book without levels or numbers")
        name, at = self.s.upper(), self.E
        if self.u == self.U:
            bids = sorted(self.b, key=price, reverse=True)
            return BookSnapshot(
                raw_symbol=name, bids=bids, asks=sorted(self.a, key=price), sequence=self.u, ts_event=at
            )
        return BookDelta(raw_symbol=name, bids=self.b, asks=self.a, sequence=self.u, sequence_prev=self.U, ts_event=at)

    def best(self) -> Bbo:
        bid_price, bid_size = side(self.b, self.B)
        ask_price, ask_size = side(self.a, self.A)
        return Bbo(
            raw_symbol=self.s.upper(),
            bid_price=bid_price,
            bid_size=bid_size,
            ask_price=ask_price,
            ask_size=ask_size,
            sequence=self.u,
            ts_event=self.E,
        )

    def answer(self) -> Iterable[Event]:
        if isinstance(self.id, str):
            return ()  # the answer to a ping
        if self.status != OK:
            return (refused(self.error or ErrorWire(), self.id),)
        return () if self.id is None else (Accepted(id=self.id),)


def refused(said: ErrorWire, id: int | None) -> Refused:
    """A request is refused whole; where it is for a stream that there is not, that one is named."""
    reason = f"{said.msg} (code {said.code})"
    if said.code == TOO_MANY:
        return Refused(reason, id, meaning="passing")
    if not said.msg.startswith(NO_STREAM):
        return Refused(reason, id)
    name, _, wire = said.msg.removeprefix(NO_STREAM).strip().partition("@")
    channel = next((channel for channel, own in CHANNELS.items() if own == wire), None)
    return Refused(reason, id, channel=channel, raw_symbol=name.upper(), meaning="final")


decode: Callable[[bytes], Message] = Decoder(Message).decode


def price(level: Level) -> Decimal:
    return Decimal(level[0])


def side(price: str | list[Level], size: str | None) -> tuple[str | None, str | None]:
    """One side of the best prices: the name of their field is that of a book's levels too."""
    if not isinstance(price, str):
        raise BadFrame("best prices that are levels")
    return best(price, size)


def parse(frame: bytes) -> Iterable[Event]:
    return decode(frame).events()


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        named = dict.fromkeys(f"{s.raw_symbol.lower()}@{CHANNELS[s.channel]}" for s in wanted)
        yield encode({"id": id, "method": method, "params": list(named)})

    return ask


def stream() -> Stream:
    """Declare the address."""
    return Stream(
        name="streams",
        url="wss://ws.gemini.com?snapshot=-1",
        channels=CHANNELS,
        subscribe=asking("SUBSCRIBE"),
        unsubscribe=asking("UNSUBSCRIBE"),
        parse=parse,
        sequence={"book": linked},
        heartbeat=Heartbeat(20, b'{"id":"ping","method":"ping"}'),
    )
