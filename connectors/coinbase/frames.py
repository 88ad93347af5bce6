"""Advanced Trade's frames.

All frames of a connection are counted together, and a book's delta does not name the delta before it: the parser
remembers that.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused
from aggregator.records import Channel
from aggregator.refusals import meaning_of
from aggregator.sequence import Count
from aggregator.wire import from_iso
from connectors.coinbase.wires import (
    BookEvent,
    CandlesEvent,
    StatusEvent,
    TickersEvent,
    TradesEvent,
)

CHANNELS: dict[Channel, str] = {
    "trades": "market_trades",
    "book": "level2",
    "ticker": "ticker",
    "bbo": "ticker",
    "candles": "candles",
    "status": "status",
}
TAGS = {"market_trades", "l2_data", "ticker", "ticker_batch", "candles", "status"}


class Frame(Struct):
    timestamp: str
    sequence_num: int


class Trades(Frame, tag_field="channel", tag="market_trades"):
    events: list[TradesEvent]

    def records(self, _: Count) -> Sequence[Event]:
        sent = from_iso(self.timestamp)
        if len(self.events) == 1:  # the usual case
            return self.events[0].records(sent)
        return [trade for event in self.events for trade in event.records(sent)]


class Books(Frame, tag_field="channel", tag="l2_data"):
    events: list[BookEvent]

    def records(self, count: Count) -> Sequence[Event]:
        sent = from_iso(self.timestamp)
        if len(self.events) == 1:  # the usual case
            return (self.events[0].record(sent, count),)
        return [event.record(sent, count) for event in self.events]


class Tickers(Frame, tag_field="channel", tag="ticker"):
    events: list[TickersEvent]

    def records(self, _: Count) -> Sequence[Event]:
        """A row without a name is empty altogether."""
        sent = from_iso(self.timestamp)
        found: list[Event] = []
        for event in self.events:
            for row in event.tickers or ():
                if row.product_id:
                    found += row.records(sent)
        return found


class TickerBatch(Tickers, tag_field="channel", tag="ticker_batch"):
    """The same every five seconds."""


class Candles(Frame, tag_field="channel", tag="candles"):
    events: list[CandlesEvent]

    def records(self, _: Count) -> Sequence[Event]:
        """The whole of the past comes in no sure order."""
        sent = from_iso(self.timestamp)
        found: list[Event] = []
        for event in self.events:
            candles = sorted((row.record(sent) for row in event.candles or ()), key=lambda candle: candle.ts_open)
            for candle in candles if event.type == "snapshot" else ():
                candle.flags = ("snapshot",)
            found += candles
        return found


class Statuses(Frame, tag_field="channel", tag="status"):
    events: list[StatusEvent]

    def records(self, _: Count) -> Sequence[Event]:
        sent = from_iso(self.timestamp)
        return [row.record(sent) for event in self.events for row in event.products or ()]


class OtherEvent(Struct):
    subscriptions: dict[str, list[str]] = {}


class Other(Struct):
    """A list of what is now subscribed to, a heartbeat, a refusal, or a kind that is not ours."""

    channel: str = ""
    sequence_num: int | None = None
    events: list[OtherEvent] = []
    type: str = ""
    message: str = ""

    def records(self, _: Count) -> Sequence[Event]:
        if self.type == "error":
            # It names nothing, and may be of any frame of a request: what it seems to mean is asked for again.
            meaning = meaning_of(self.message, passing=("rate limit",))
            return (Refused(self.message, meaning=meaning),)
        return [
            Accepted(channel=ours, raw_symbol=product)
            for event in self.events
            for name, products in event.subscriptions.items()
            for ours, theirs in CHANNELS.items()
            if theirs == name
            for product in products
        ]


Message = Trades | Books | Tickers | TickerBatch | Candles | Statuses
decode: Callable[[bytes], Message] = Decoder(Message).decode
decode_other = Decoder(Other).decode


def parser() -> Parse:
    """A frame that cannot be read is not counted: it is missed like one that did not come."""
    count = Count()

    def parse(frame: bytes) -> Sequence[Event]:
        try:
            message: Message | Other = decode(frame)
        except ValidationError:
            message = decode_other(frame)
            if message.channel in TAGS:
                raise BadFrame(f"a message of {message.channel} that cannot be read") from None
        if message.sequence_num is not None:
            count.hear(message.sequence_num)
        return message.records(count)

    return parse
