"""STOMP's frames, and the messages within them."""

from collections.abc import Iterator

from msgspec import Struct

from aggregator.errors import BadFrame
from aggregator.records import DAY_S, BookDelta, BookSnapshot, Levels, Ticker, Trade
from aggregator.wire import ms, nonzero, optional, text

DEPTH = 100  # levels a side of a whole book; those beyond come as they change
END = b"\0"
BEAT = b"\n"


class Frame(Struct, frozen=True):
    """One frame of STOMP: its command, its headers and its body."""

    command: bytes
    head: bytes
    body: bytes

    def header(self, name: bytes) -> str:
        """A header's value; empty where there is none."""
        _, _, found = self.head.partition(b"\n" + name + b":")
        return found.partition(b"\n")[0].decode()


def frames_of(message: bytes) -> Iterator[Frame]:
    """The frames of a message: usually one; a line feed alone is a heartbeat."""
    for part in message.split(END):
        said = part.lstrip(b"\r\n")
        if not said:
            continue
        head, found, body = said.partition(b"\n\n")
        if not found:
            raise BadFrame(f"a frame of {len(said)} bytes has no end of its headers")
        yield Frame(head.partition(b"\n")[0], head, body)


def written(command: str, **headers: str) -> bytes:
    """A frame without a body."""
    lines = (f"{name.replace('_', '-')}:{escaped(value)}" for name, value in headers.items())
    return "\n".join((command, *lines, "", "")).encode() + END


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")


class Level(Struct, gc=False):
    price: str
    quantity: str  # absolute; zero deletes

    @property
    def level(self) -> tuple[str, str]:
        return text(self.price), text(self.quantity)


class Sides(Struct, gc=False):
    ask: list[Level]
    bid: list[Level]


class BookWire(Struct, gc=False):
    payload: Sides
    nonce: int  # 0 is a whole book
    timestamp: int

    def record(self, name: str) -> BookSnapshot | BookDelta:
        bids: Levels = [row.level for row in self.payload.bid]  # in the order of the wire: a price may come twice
        asks: Levels = [row.level for row in self.payload.ask]
        sent = ms(self.timestamp)
        if self.nonce == 0:
            return BookSnapshot(raw_symbol=name, bids=bids, asks=asks, depth=DEPTH, sequence=0, ts_sent=sent)
        return BookDelta(raw_symbol=name, bids=bids, asks=asks, sequence=self.nonce, ts_sent=sent)


class TradeRow(Struct, gc=False):
    id: str
    timestamp: int
    price: str
    quantity: str
    cost: str | None = None
    makerBuyer: bool | None = None

    def record(self, name: str) -> Trade:
        return Trade(
            raw_symbol=name,
            id=self.id,
            price=text(self.price),
            size=text(self.quantity),
            quote_size=optional(self.cost),
            side=None if self.makerBuyer is None else "sell" if self.makerBuyer else "buy",
            ts_event=ms(self.timestamp),
        )


class TradesWire(Struct, gc=False):
    payload: list[TradeRow]
    nonce: int  # 0 is what was traded before the subscription
    timestamp: int

    def records(self, name: str) -> list[Trade]:
        found = self.payload[::-1]  # newest first on the wire
        found.sort(key=lambda row: row.timestamp)
        return [row.record(name) for row in found]


class TickerRow(Struct, gc=False):
    volume24h: str | None = None  # it counts the quote asset
    lastPrice: str | None = None
    updateTimestamp: int | None = None  # 0 is none

    def record(self, name: str, sent: int) -> Ticker:
        return Ticker(
            raw_symbol=name,
            last=nonzero(self.lastPrice),
            quote_volume=optional(self.volume24h),
            window_s=DAY_S,
            ts_event=ms(self.updateTimestamp) if self.updateTimestamp else None,
            ts_sent=sent,
        )


class TickerWire(Struct, gc=False):
    payload: TickerRow | list[TickerRow]
    nonce: int
    timestamp: int

    def records(self, name: str) -> list[Ticker]:
        rows = self.payload if isinstance(self.payload, list) else [self.payload]
        return [row.record(name, ms(self.timestamp)) for row in rows]
