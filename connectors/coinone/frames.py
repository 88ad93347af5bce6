"""Reading Coinone's frames, and asking for topics."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec import Struct, convert
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Parse, Refused, Subscribe, Subscription
from aggregator.records import Channel
from aggregator.wire import by_word, encode
from connectors.coinone.short_wires import Short
from connectors.coinone.wires import (
    BOOK,
    CANDLES,
    TICKER,
    TRADES,
    Answer,
    BookFrame,
    BookWire,
    CandleFrame,
    CandleWire,
    TickerFrame,
    TickerWire,
    Topic,
    TradeFrame,
    TradeWire,
)

CHANNELS: dict[Channel, str] = {"trades": TRADES, "book": BOOK, "ticker": TICKER, "candles": CANDLES}
NO_TOPIC = 160012
PING = encode({"request_type": "PING"})


class Heard(Struct):
    """The memory of one connection.

    confirmed: the topic that was confirmed last, until it is sure that no refusal follows
    """

    confirmed: Topic | None = None

    def settle(self) -> Iterable[Event]:
        """Take the confirmation for good."""
        topic, self.confirmed = self.confirmed, None
        return () if topic is None else (Accepted(topic=topic),)

    def answer(self, said: Answer) -> Iterable[Event]:
        if said.response_type == "ERROR":
            return (self.refusal(said),)
        if said.response_type == "PONG":
            return self.settle()
        if said.response_type != "SUBSCRIBED":
            return ()  # a greeting, or a topic is left
        before, self.confirmed = self.settle(), said.topic
        return before

    def refusal(self, said: Answer) -> Event:
        """Read a refusal, which names no topic: it comes at once after what seemed to confirm it."""
        reason = f"{said.error_code}: {said.message}" + (f" ({said.field})" if said.field else "")
        if said.error_code != NO_TOPIC:
            return Refused(reason)
        topic, self.confirmed = self.confirmed, None
        return Refused(reason, topic=topic, meaning="final")

    def data(self, topic: Topic, event: Event) -> Iterable[Event]:
        """Pass data while an answer is remembered: data of its topic show that no refusal follows."""
        return (*self.settle(), event) if topic == self.confirmed else (event,)


class Told(Protocol):
    @property
    def topic(self) -> Topic: ...

    def event(self) -> Event: ...


class Frame(Protocol):
    @property
    def data(self) -> Told: ...


def reader(decode: Callable[[bytes], Frame]) -> Callable[[bytes], Told | Answer]:
    return lambda frame: decode(frame).data


READERS = {
    TRADES: reader(Decoder(TradeFrame).decode),
    BOOK: reader(Decoder(BookFrame).decode),
    TICKER: reader(Decoder(TickerFrame).decode),
    CANDLES: reader(Decoder(CandleFrame).decode),
}
WIRES = {TRADES: TradeWire, BOOK: BookWire, TICKER: TickerWire, CANDLES: CandleWire}
decode_answer = Decoder(Answer).decode
decode_short = Decoder(Short).decode


def read_other(frame: bytes) -> Told | Answer:
    """Read an answer, or data that is spelled in another way."""
    said = decode_answer(frame)
    if not said.response_type:
        return read_short(frame)
    read = READERS.get(said.channel) if said.response_type == "DATA" else None
    return said if read is None else read(frame)


def read_short(frame: bytes) -> Told | Answer:
    short = decode_short(frame)
    wire = WIRES.get(short.c)
    if wire is None:
        return Answer("DATA", short.c)
    said: Told = convert(short.spelled_out(), wire)
    return said


read = by_word(b'"channel":"', READERS, read_other)


def parser() -> Parse:
    heard = Heard()

    def parse(frame: bytes) -> Iterable[Event]:
        said = read(frame)
        if isinstance(said, Answer):
            return heard.answer(said)
        if heard.confirmed is None:
            return (said.event(),)
        return heard.data(said.topic, said.event())

    return parse


def topic(s: Subscription) -> Topic:
    return CHANNELS[s.channel], s.raw_symbol, s.interval if s.channel == "candles" else ""


def ask(word: str) -> Subscribe:
    def frames(wanted: Sequence[Subscription], __: int) -> Iterable[bytes]:
        for s in wanted:
            quote, _, target = s.raw_symbol.partition("-")
            named = {"quote_currency": quote, "target_currency": target}
            if s.channel == "candles":
                named["interval"] = s.interval
            yield encode({"request_type": word, "channel": CHANNELS[s.channel], "topic": named})

    return frames
