"""The messages of the stream."""

from collections.abc import Iterable

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Refused
from aggregator.records import BookSnapshot, Side, Trade
from aggregator.refusals import meaning_of
from aggregator.wire import Text, as_written, from_iso, levels, past, text

DEPTH = 20  # levels a side that its web site knows of
AGAIN = "Already subscribed to channel "
CONFIRMED = "Subscribed to channel "


class Book(Struct, gc=False):
    bids: list[list[Text]] = []
    asks: list[list[Text]] = []
    timestamp: str | None = None


class BookWire(Struct, tag_field="topic", tag="orderbook", gc=False):
    """A whole book, at each change."""

    symbol: str
    data: Book  # the frame's own `time` has whole seconds, and may lie before the book's

    def events(self) -> Iterable[Event]:
        whole = BookSnapshot(
            raw_symbol=self.symbol,
            bids=levels(self.data.bids),
            asks=levels(self.data.asks),
            depth=DEPTH,
            reason="periodic",
            ts_event=None if self.data.timestamp is None else from_iso(self.data.timestamp),
        )
        return whole, Accepted(topic=f"orderbook:{self.symbol}")


class TradeRow(Struct, gc=False):
    size: Text
    price: Text
    side: Side
    timestamp: str


class TradesWire(Struct, tag_field="topic", tag="trade", gc=False):
    """Trades, newest first; `partial` are those before the subscription."""

    symbol: str
    action: str
    data: list[TradeRow]

    def events(self) -> Iterable[Event]:
        found = [
            Trade(
                raw_symbol=self.symbol,
                price=text(row.price),
                size=text(row.size),
                side=row.side,
                ts_event=from_iso(row.timestamp),
            )
            for row in reversed(self.data)
        ]
        if self.action == "partial":
            return *past(found), Accepted(topic=f"trade:{self.symbol}")
        return found


class Other(Struct):
    """Any other frame: a refusal has `error`, a greeting, a pong and what answers a request `message`."""

    topic: str = ""
    error: str = ""
    message: str = ""

    def events(self) -> Iterable[Event]:
        for words, start in ((self.error, AGAIN), (self.message, CONFIRMED)):
            if words.startswith(start):
                return (Accepted(topic=words.removeprefix(start)),)
        if not self.error:
            return ()
        meaning = meaning_of(self.error, final=("Invalid symbol", "is not supported"), passing=("Rate limit",))
        return (Refused(self.error, meaning=meaning),)


decode = Decoder(BookWire | TradesWire, float_hook=as_written).decode
decode_other = Decoder(Other).decode


def parse(frame: bytes) -> Iterable[Event]:
    said: BookWire | TradesWire | Other
    try:
        said = decode(frame)
    except ValidationError:
        said = decode_other(frame)
        if said.topic in {"orderbook", "trade"}:
            raise
    return said.events()
