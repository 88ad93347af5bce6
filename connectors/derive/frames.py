"""Reading Derive's frames: data of a channel, or an answer by JSON-RPC that says of each channel how it went.

https://docs.derive.xyz/api-reference/channels
"""

from collections.abc import Callable, Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Refused, Subscription
from aggregator.records import Channel
from aggregator.refusals import meaning_of
from aggregator.wire import number
from connectors.derive.legacy import OlderTicker
from connectors.derive.wires import BookWire, TickerWire, TradeWire

DEPTH = 100
SPOT: dict[Channel, str] = {
    "trades": "trades.{}",
    "book": "orderbook.{}.1." + str(DEPTH),  # the 1 leaves prices as they are: others round them
    "bbo": "ticker_slim.{}.100",
    "ticker": "ticker_slim.{}.100",
    "mark_price": "ticker_slim.{}.100",
    "index_price": "ticker_slim.{}.100",
}
OPTIONS: dict[Channel, str] = {**SPOT, "open_interest": "ticker_slim.{}.100", "options": "ticker_slim.{}.100"}
CHANNELS: dict[Channel, str] = {**OPTIONS, "funding": "ticker_slim.{}.100"}
PERPETUALS: dict[Channel, str] = {channel: name for channel, name in CHANNELS.items() if channel != "options"}


class Told(Struct):
    channel: str
    data: Raw


class Result(Struct):
    status: dict[str, str] = {}
    remaining_subscriptions: list[str] | None = None  # in the answer to leaving topics


class Fault(Struct):
    code: int | str = ""
    message: str = ""
    data: str | None = None


class Frame(Struct):
    params: Told | None = None
    id: int | None = None
    result: Result | None = None
    error: Fault | None = None


decode_frame = Decoder(Frame, strict=False).decode
decode_trades = Decoder(list[TradeWire], strict=False, float_hook=number).decode
decode_book = Decoder(BookWire, strict=False, float_hook=number).decode
decode_ticker = Decoder(TickerWire, strict=False, float_hook=number).decode
decode_older = Decoder(OlderTicker, strict=False, float_hook=number).decode


def topic(s: Subscription) -> str:
    return CHANNELS[s.channel].format(s.raw_symbol)


def read_trades(_: str, data: Raw) -> Iterable[Event]:
    return [record for trade in decode_trades(data) for record in trade.records()]


def read_book(channel: str, data: Raw) -> Iterable[Event]:
    """A book, whose channel says how deep it is at the end: `orderbook.BTC-PERP.1.100`."""
    return (decode_book(data).record(int(channel.rpartition(".")[2])),)


def instrument_in(channel: str) -> str:
    return channel.partition(".")[2].rpartition(".")[0]


def read_ticker(channel: str, data: Raw) -> Iterable[Event]:
    """Figures, whose instrument stands in the channel alone: `ticker_slim.BTC-PERP.100`."""
    return decode_ticker(data).records(instrument_in(channel))


def read_older(channel: str, data: Raw) -> Iterable[Event]:
    """The larger ticker of the second version: `ticker.BTC-PERP.100`."""
    return decode_older(data).today().records(instrument_in(channel))


READERS: dict[str, Callable[[str, Raw], Iterable[Event]]] = {
    "trades": read_trades,
    "orderbook": read_book,
    "ticker_slim": read_ticker,
    "ticker": read_older,
}
FINAL, PASSING = ("invalid channel", "invalid instrument", "not found", "does not exist"), ("rate limit", "too many")


def parse(frame: bytes) -> Iterable[Event]:
    said = decode_frame(frame)
    if said.params is not None:
        read = READERS.get(said.params.channel.partition(".")[0])
        return () if read is None else [*read(said.params.channel, said.params.data)]
    if said.error is not None:
        fault = said.error
        reason = f"{fault.code}: {fault.message}: {fault.data or ''}".removesuffix(": ")
        meaning = meaning_of(reason, final=FINAL, passing=PASSING)
        return (Refused(reason, id=said.id, meaning=meaning),) if said.id is None or said.id >= 0 else ()
    if said.id is None:
        raise BadFrame("neither data of a channel nor an answer")
    result = said.result or Result()
    return (
        []
        if result.remaining_subscriptions is not None
        else [answer(name, word) for name, word in result.status.items()]
    )


def answer(name: str, word: str) -> Event:
    """A channel goes well (`ok`), or the word says why not."""
    if word == "ok":
        return Accepted(topic=name)
    return Refused(word, topic=name, meaning=meaning_of(word, final=FINAL, passing=PASSING))
