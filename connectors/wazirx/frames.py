"""Reading the frames of both streams, and asking for topics."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Hangup, Parse, Refused, Subscribe, Subscription
from aggregator.records import Channel
from aggregator.refusals import meaning_of
from aggregator.wire import by_word, encode
from connectors.wazirx.futures_wires import FuturesBook, FuturesMark, FuturesTicker, FuturesTrade
from connectors.wazirx.spot_wires import SpotBook, SpotCandle, SpotTicker, SpotTrades
from connectors.wazirx.wires import LEVELS, Answer, Complaint, Frame, Served

PARTIAL = f"depth{LEVELS}@100ms"
SPOT: dict[Channel, str] = {
    "trades": "trades",
    "book": PARTIAL,
    "candles": "kline_",
    "ticker": "!ticker@arr",
    "bbo": "!ticker@arr",
}
FUTURES: dict[Channel, str] = {
    "trades": "aggTrade",
    "book": "depth",
    "ticker": "!ticker@arr",
    "mark_price": "!markPrice@arr",
    "index_price": "!markPrice@arr",
    "funding": "!markPrice@arr",
}


decode_answer = Decoder(Answer).decode
decode_served = Decoder(Served).decode
decode_complaint = Decoder(Complaint).decode


def one(kind: Any) -> Parse:
    decode: Callable[[bytes], Any] = Decoder(Frame[kind]).decode
    return lambda frame: decode(frame).data.records()


def many(kind: Any) -> Parse:
    decode: Callable[[bytes], Any] = Decoder(Frame[list[kind]]).decode
    return lambda frame: [record for row in decode(frame).data for record in row.records()]


def answered(answer: Answer) -> Iterable[Event]:
    """Read a frame that is no data. What is not served is left out of the confirmation, which may then name nothing."""
    id = answer.id or None
    if answer.event == "subscribed":
        served = decode_served(answer.data).streams
        if served:
            return [Accepted(topic=name) for name in served]
        return () if id is None else (Refused("it is not served", id=id, meaning="final"),)
    if answer.event == "error":
        said = decode_complaint(answer.data)
        words = f"{said.code}: {said.message}"
        return (Refused(words, id=id, meaning=meaning_of(words, passing=("429:", "500:"))),)
    return (Hangup(answer.message),) if answer.status == "error" else ()


def parser(readers: Mapping[str, Parse], candles: Parse | None = None) -> Parse:
    """A parser of one stream: the word behind the `@` of a frame says what it holds."""

    def other(frame: bytes) -> Iterable[Event]:
        answer = decode_answer(frame)
        if not answer.stream:
            return answered(answer)
        word = answer.stream.partition("@")[2]
        read = candles if word.startswith("kline_") else readers.get(word)
        return () if read is None else read(frame)

    return by_word(b"@", readers, other)


parse_spot = parser(
    {
        "trades": one(SpotTrades),
        PARTIAL: one(SpotBook),
        "arr": many(SpotTicker),
    },
    one(SpotCandle),
)
parse_futures = parser(
    {
        "aggTrade": one(FuturesTrade),
        "depth": one(FuturesBook),
        "arr": many(FuturesMark | FuturesTicker),
    }
)


def naming(channels: Mapping[Channel, str]) -> Callable[[Subscription], str]:
    """The exchange's names of topics, of which those with `!` are of all markets."""

    def topic(s: Subscription) -> str:
        word = channels[s.channel]
        if word.startswith("!"):
            return word
        return f"{s.raw_symbol.lower()}@{word}{s.interval if s.channel == 'candles' else ''}"

    return topic


def ask(word: str, topic: Callable[[Subscription], str]) -> Subscribe:
    def frames(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield encode({"event": word, "streams": [topic(s) for s in wanted], "id": id})

    return frames
