"""Reading Hyperliquid's frames.

https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Parse, Refused, Subscription
from aggregator.records import Channel
from aggregator.wire import by_word, number, oldest_first
from connectors.hyperliquid.wires import BarWire, BestWire, BookWire, CoinWire, TradeWire

CHANNELS: dict[Channel, str] = {
    "trades": "trades",
    "book": "l2Book",
    "bbo": "bbo",
    "candles": "candle",
    "ticker": "activeAssetCtx",
    "funding": "activeAssetCtx",
    "open_interest": "activeAssetCtx",
    "mark_price": "activeAssetCtx",
    "index_price": "activeAssetCtx",
}
OF_CONTRACTS: tuple[Channel, ...] = ("funding", "open_interest", "index_price")
TWICE = "Already subscribed: "  # and the subscription, as JSON

T = TypeVar("T")
R = TypeVar("R", BookWire, BestWire, BarWire)


class Said(Struct, Generic[T], gc=False):
    data: T


class TopicWire(Struct):
    type: str
    coin: str = ""
    interval: str = ""


class AnswerWire(Struct):
    method: str
    subscription: TopicWire


class Other(Struct):
    channel: str


decode_trades = Decoder(Said[list[TradeWire]], strict=False, float_hook=number).decode
decode_answer = Decoder(Said[AnswerWire]).decode
decode_error = Decoder(Said[str]).decode
decode_topic = Decoder(TopicWire).decode
decode_other = Decoder(Other).decode


def one(wire: type[R]) -> Parse:
    """A reader of frames that give one record."""
    decode = Decoder(Said[wire], strict=False, float_hook=number).decode  # type: ignore[valid-type]

    def read(frame: bytes) -> Iterable[Event]:
        said: Said[R] = decode(frame)
        return (said.data.record(),)

    return read


decode_coin = Decoder(Said[CoinWire], strict=False, float_hook=number).decode


def topic(s: Subscription) -> tuple[str, str, str]:
    """Give what a subscription and its answer name: the type, the coin, and the interval of candles."""
    return CHANNELS[s.channel], s.raw_symbol, s.interval if s.channel == "candles" else ""


def named(said: TopicWire) -> tuple[str, str, str]:
    return said.type, said.coin, said.interval


def read_answer(frame: bytes) -> Iterable[Event]:
    said = decode_answer(frame).data
    return (Accepted(topic=named(said.subscription)),) if said.method == "subscribe" else ()


def read_error(frame: bytes) -> Iterable[Event]:
    """An error names no request; that something is subscribed already is none."""
    reason = decode_error(frame).data
    if reason.startswith(TWICE):
        return (Accepted(topic=named(decode_topic(reason.removeprefix(TWICE))), again=True),)
    return () if reason.startswith("Already unsubscribed") else (Refused(reason),)


READERS: dict[str, Parse] = {
    "trades": lambda frame: oldest_first(trade.record() for trade in decode_trades(frame).data),
    "l2Book": one(BookWire),
    "bbo": one(BestWire),
    "candle": one(BarWire),
    "activeAssetCtx": lambda frame: decode_coin(frame).data.records(),
    "activeSpotAssetCtx": lambda frame: decode_coin(frame).data.records(),
    "subscriptionResponse": read_answer,
    "error": read_error,
}


def read_other(frame: bytes) -> Iterable[Event]:
    read = READERS.get(decode_other(frame).channel)
    return () if read is None else read(frame)


parse = by_word(b'{"channel":"', READERS, read_other)
