"""Frames: an answer is the state of its topic, an event what has changed."""

from collections.abc import Callable, Iterable
from itertools import groupby

from msgspec import ValidationError
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Refused
from aggregator.records import Trade
from aggregator.refusals import meaning_of
from aggregator.wire import as_written, past
from connectors.ndax.wires import CandleRow, Envelope, Level1, LevelRow, Refusal, TradeRow, delta, snapshot

FAILED = 5
PLACES = 100_000  # the numbers of requests that a market has: more than a candle of four weeks has minutes

decode = Decoder(Envelope).decode
decode_text = Decoder(str).decode
decode_refusal = Decoder(Refusal).decode
decode_levels = Decoder(list[LevelRow], float_hook=as_written).decode
decode_trades = Decoder(list[TradeRow], float_hook=as_written).decode
decode_best = Decoder(Level1, float_hook=as_written).decode
decode_candles = Decoder(list[CandleRow], float_hook=as_written).decode


def changes(body: bytes, _: int) -> Iterable[Event]:
    return [delta(list(rows)) for _, rows in groupby(decode_levels(body), lambda row: row.instrument)]


def whole_book(body: bytes, number: int) -> Iterable[Event]:
    rows = decode_levels(body)
    instrument = max((row.instrument for row in rows), default=0)  # without a row, the request's number says it
    return (snapshot(rows, instrument or number // PLACES),)


def trades(body: bytes, _: int = 0) -> list[Trade]:
    return [row.record() for row in sorted(decode_trades(body), key=lambda row: row.id)]


def last_trades(body: bytes, _: int) -> Iterable[Event]:
    return past(trades(body))


def best(body: bytes, _: int) -> Iterable[Event]:
    return decode_best(body).records()


def candles(body: bytes, _: int) -> Iterable[Event]:
    return [row.record() for row in decode_candles(body)]


Read = Callable[[bytes, int], Iterable[Event]]
EVENTS: dict[str, Read] = {
    "Level2UpdateEvent": changes,
    "TradeDataUpdateEvent": trades,
    "Level1UpdateEvent": best,
    "TickerDataUpdateEvent": candles,
}
REPLIES: dict[str, Read] = {
    "SubscribeLevel2": whole_book,
    "SubscribeTrades": last_trades,
    "SubscribeLevel1": best,
    "SubscribeTicker": candles,
}


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    body = bytes(said.o)
    if body[:1] == b'"':
        body = decode_text(body).encode()
    if said.n in EVENTS:
        return EVENTS[said.n](body, 0)
    read = REPLIES.get(said.n)
    if read is None:
        return ()
    topic = (said.n, said.i)
    words = refusal(body) if said.m == FAILED or b'"result"' in body else None
    if words is not None:
        return (Refused(words, topic=topic, meaning=meaning_of(words, final=("Resource Not Found",))),)
    return (Accepted(topic=topic), *read(body, said.i))


def refusal(body: bytes) -> str | None:
    """The words of an answer that is a refusal."""
    try:
        said = decode_refusal(body)
    except ValidationError:
        return None
    return None if said.result else said.words
