"""MEXC's contract streams: JSON, whose numbers are JSON numbers.

https://www.mexc.com/api-docs/futures/websocket-api
A confirmation names the channel and no symbol.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Refused, Request, Snapshot, Subscribe, Subscription
from aggregator.records import MS_NS, BookSnapshot, Channel, IndexPrice, MarkPrice
from aggregator.refusals import meaning_of, named_in
from aggregator.wire import by_word, encode, nonzero, number, text
from connectors.families.mexc.contract_wires import (
    BarWire,
    DealWire,
    DepthWire,
    NamedTicker,
    PriceWire,
    RateWire,
    TickerWire,
)
from connectors.families.mexc.wires import INTERVALS

CHANNELS: dict[Channel, str] = {
    "trades": "deal",
    "book": "depth",
    "bbo": "ticker",
    "ticker": "ticker",
    "candles": "kline",
    "funding": "funding.rate",
    "open_interest": "ticker",
    "mark_price": "fair.price",
    "index_price": "index.price",
}
MARK = b'"channel":"'  # the name of the channel follows it, at whichever end of a frame
NAMED = re.compile(r"\b\w+_\w+")  # from the beginning of a word: at each of its letters it would take for ever

T = TypeVar("T")


class Push(Struct, Generic[T], gc=False):
    data: T
    symbol: str
    ts: int | None = None  # when it was sent

    @property
    def sent(self) -> int | None:
        return None if self.ts is None else self.ts * MS_NS


class All(Struct, gc=False):
    data: list[NamedTicker]
    ts: int | None = None


class About(Struct):
    symbol: str | None = None


class Other(Struct):
    channel: str
    data: Raw = Raw(b"null")
    param: About | None = None


class Answer(Struct):
    data: DepthWire


decode_deals = Decoder(Push[list[DealWire] | DealWire], float_hook=number, strict=False).decode
decode_depth = Decoder(Push[DepthWire], float_hook=number, strict=False).decode
decode_ticker = Decoder(Push[TickerWire], float_hook=number, strict=False).decode
decode_all = Decoder(All, float_hook=number, strict=False).decode
decode_bar = Decoder(Push[BarWire], float_hook=number, strict=False).decode
decode_rate = Decoder(Push[RateWire], float_hook=number, strict=False).decode
decode_price = Decoder(Push[PriceWire], float_hook=number, strict=False).decode
decode_other = Decoder(Other).decode
decode_answer = Decoder(Answer, float_hook=number).decode


def read_deals(frame: bytes) -> Iterable[Event]:
    said = decode_deals(frame)
    deals = said.data if isinstance(said.data, list) else (said.data,)  # one alone, in older frames
    return [deal.record(said.symbol, said.sent) for deal in deals]


def read_depth(frame: bytes) -> Iterable[Event]:
    said = decode_depth(frame)
    return (said.data.delta(said.symbol, said.sent),)


def read_full(frame: bytes) -> Iterable[Event]:
    said = decode_depth(frame)
    return (said.data.whole(said.symbol, "periodic", said.sent),)


def read_ticker(frame: bytes) -> Iterable[Event]:
    said = decode_ticker(frame)
    return list(said.data.records(said.symbol, said.sent))


def read_all(frame: bytes) -> Iterable[Event]:
    """The tickers of all contracts, for which nobody asks here; they have bounds of prices, and not the best ones."""
    said = decode_all(frame)
    sent = None if said.ts is None else said.ts * MS_NS
    return [record for ticker in said.data for record in ticker.records(ticker.symbol, sent)]


def read_bar(frame: bytes) -> Iterable[Event]:
    said = decode_bar(frame)
    return (said.data.record(said.symbol, said.sent),)


def read_rate(frame: bytes) -> Iterable[Event]:
    said = decode_rate(frame)
    return (said.data.record(said.symbol, said.sent),)


def read_fair(frame: bytes) -> Iterable[Event]:
    said = decode_price(frame)
    price = nonzero(text(said.data.price))
    return (MarkPrice(raw_symbol=said.symbol, price=price, ts_sent=said.sent),) if price else ()


def read_index(frame: bytes) -> Iterable[Event]:
    said = decode_price(frame)
    price = nonzero(text(said.data.price))
    return (IndexPrice(raw_symbol=said.symbol, price=price, ts_sent=said.sent),) if price else ()


READERS: dict[str, Callable[[bytes], Iterable[Event]]] = {
    "push.deal": read_deals,
    "push.depth": read_depth,
    "push.depth.full": read_full,
    "push.ticker": read_ticker,
    "push.tickers": read_all,
    "push.kline": read_bar,
    "push.funding.rate": read_rate,
    "push.fair.price": read_fair,
    "push.index.price": read_index,
}


def parse_other(frame: bytes) -> Iterable[Event]:
    """Answers, and data however it is spaced; what else is pushed (contracts) is of no use here."""
    said = decode_other(frame)
    if said.channel in READERS:
        return READERS[said.channel](frame)
    if said.channel == "rs.error":
        reason = bytes(said.data).decode().strip('"')
        named = named_in(reason, NAMED)
        return (Refused(reason, raw_symbol=named and named[0], meaning=meaning_of(reason, final=("not exist",))),)
    name = said.param.symbol if said.param is not None else None
    return [
        Accepted(channel=channel, raw_symbol=name)
        for channel, wire in CHANNELS.items()
        if said.channel == f"rs.sub.{wire}"
    ]


parse = by_word(MARK, READERS, parse_other)


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        frames = (encode({"method": f"{method}.{CHANNELS[s.channel]}", "param": param(s)}) for s in wanted)
        return list(dict.fromkeys(frames))

    return ask


def param(s: Subscription) -> dict[str, object]:
    if s.channel == "candles":
        return {"symbol": s.raw_symbol, "interval": INTERVALS.get(s.interval, s.interval)}
    if s.channel == "book":
        return {"symbol": s.raw_symbol, "compress": True}  # several versions as one: 150 books are 451 frames a second
    return {"symbol": s.raw_symbol}


def read_snapshot(raw_symbol: str, body: bytes) -> BookSnapshot:
    return decode_answer(body).data.whole(raw_symbol, "initial", None)


def snapshot(rest: str) -> Snapshot:
    """Declare the request for a whole book."""
    return Snapshot(lambda name: Request(f"{rest}/depth/{name}"), read_snapshot)
