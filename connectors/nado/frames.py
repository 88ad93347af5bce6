"""Reading Nado's frames: events by their `type`, and answers by their number.

https://docs.nado.xyz/developer-resources/api/subscriptions
Prices and sizes are integers, in parts of 10^18; times are nanoseconds, of a candle seconds. Markets go by numbers.
A change of a book names the time of the change before it. An empty side of the best prices has no amount, and a price
of 0 (bids) or the greatest there is (asks): live frames of September 2026.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused
from aggregator.records import Channel
from aggregator.refusals import meaning_of
from aggregator.wire import by_word
from connectors.nado.wires import AllWire, BarWire, BestWire, BookWire, ForcedWire, PaymentWire, TradeWire

CHANNELS: dict[Channel, str] = {
    "trades": "trade",
    "book": "book_depth",
    "bbo": "best_bid_offer",
    "candles": "latest_candlestick",
    "liquidations": "liquidation",
}


class Result(Struct):
    method: str = ""


class Answer(Struct):
    type: str = ""
    id: int | None = None
    result: Result | None = None
    error: str | None = None


W = TypeVar("W", TradeWire, BookWire, BestWire, BarWire, ForcedWire, PaymentWire)
decode_all = Decoder(AllWire, strict=False).decode
decode_answer = Decoder(Answer, strict=False).decode


def reader(wire: type[W]) -> Parse:
    decode: Callable[[bytes], W] = Decoder(wire, strict=False).decode
    return lambda frame: (decode(frame).event(),)


READERS: dict[str, Parse] = {
    "trade": reader(TradeWire),
    "book_depth": reader(BookWire),
    "best_bid_offer": reader(BestWire),
    "latest_candlestick": reader(BarWire),
    "liquidation": reader(ForcedWire),
    "funding_payment": reader(PaymentWire),
    "all_bbo": lambda frame: [*decode_all(frame).events()],
}


def read_other(frame: bytes) -> Iterable[Event]:
    """An answer to a request, whose number is above 0 where it subscribes, or data that is spaced in another way."""
    said = decode_answer(frame)
    if said.type:
        read = READERS.get(said.type)
        return () if read is None else read(frame)
    if said.id is None and said.error is None:
        raise BadFrame("neither data of a stream nor an answer")
    if (said.id is not None and said.id <= 0) or (said.result is not None and said.result.method == "pong"):
        return ()
    if said.error is None:
        return (Accepted(id=said.id),)
    meaning = meaning_of(said.error, final=("invalid product", "not found"), passing=("too many", "rate limit"))
    return (Refused(said.error, id=said.id, meaning=meaning),)


parse = by_word(b'"type":"', READERS, read_other)
