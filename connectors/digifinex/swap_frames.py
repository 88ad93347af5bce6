"""Frames of DigiFinex's perpetual contracts: requests name an event, answers a code.

https://docs.digifinex.com/en-ww/swap/v2/ws.html
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Refused, Subscribe, Subscription
from aggregator.records import Channel
from aggregator.wire import channels_by_word, encode, symbols_by
from connectors.digifinex.swap_wires import decode

CHANNELS: dict[Channel, str] = {
    "trades": "trades",
    "book": "depth",
    "bbo": "ticker",
    "ticker": "ticker",
    "candles": "cur_candle",
    "mark_price": "mark_price",
    "index_price": "index_price",
    "funding": "fund_rate",
}
OURS = channels_by_word(CHANNELS)
READ = {*OURS, "all_ticker"}
DEPTH = 100  # levels a side, the most that is offered
SPAN = 32  # a request's number is our id times this, and which of its frames it is: one a word, and one an interval
GOOD, WRONG, REPEATED = 1, 2, 5  # codes of answers


class Answer(Struct):
    event: str
    code: int | None = None
    msg: str = ""
    id: int | None = None


decode_answer = Decoder(Answer).decode


def parse(frame: bytes) -> Iterable[Event]:
    try:
        said = decode(frame)
    except ValidationError:
        return read_answer(decode_answer(frame))
    found: Iterable[Event] = said.records()
    return found


def read_answer(said: Answer) -> Iterable[Event]:
    word, _, operation = said.event.partition(".")
    if operation == "update":
        if word in READ:
            raise BadFrame(f"{said.event} that cannot be read")
        return ()
    if operation in {"unsubscribe", "ping", "time"}:
        return ()
    id = None if said.id is None else said.id // SPAN
    if said.code in {GOOD, REPEATED}:  # the earlier subscription goes on
        return [Accepted(channel=channel) for channel in OURS.get(word, ())]
    reason = f"{said.msg} (code {said.code})"
    return (Refused(reason, id, meaning="final" if said.code == WRONG and id is not None else "unknown"),)


def asking(operation: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for place, ((word, interval), names) in enumerate(symbols_by(kind, wanted).items()):
            request = {"id": id * SPAN + place, "event": f"{word}.{operation}", "instrument_ids": names}
            if interval:
                request["granularity"] = interval
            yield encode(request | ({"level": DEPTH} if word == "depth" else {}))

    return ask


def kind(s: Subscription) -> tuple[str, str]:
    """The word of a topic, and the interval of candles."""
    return CHANNELS[s.channel], s.interval if s.channel == "candles" else ""


def topic(s: Subscription) -> tuple[str, str, str]:
    return *kind(s), s.raw_symbol
