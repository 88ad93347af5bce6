"""Reading WEEX's frames: data whose kind is `e`, pings, and answers by the number of a request.

https://www.weex.com/api-doc/contract/Websocket/public/Trades-Channel
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused, Reply, Subscription
from aggregator.records import MS_NS, Channel, Trade
from aggregator.refusals import meaning_of
from aggregator.wire import by_word, oldest_first, past
from connectors.weex.wires import DEPTH, BarRow, BestWire, DayRow, DepthWire, TradeRow

R = TypeVar("R")

BOTH: dict[Channel, str] = {
    "trades": "trade",
    "book": f"depth{DEPTH}",
    "ticker": "ticker",
    "candles": "kline_{}_LAST_PRICE",
}
SPOT: dict[Channel, str] = {**BOTH, "bbo": "bookTicker"}
PERPETUALS: dict[Channel, str] = {**BOTH, "mark_price": "ticker", "index_price": "ticker"}
CHANNELS = {**SPOT, **PERPETUALS}
PONG = b'{"method":"PONG","id":0}'


class Rows(Struct, Generic[R], gc=False):
    E: int
    s: str
    d: list[R]


class Bars(Rows[BarRow], gc=False):
    p: str = "LAST_PRICE"  # or MARK_PRICE: what the candles are of


class Other(Struct):
    e: str = ""
    event: str = ""
    method: str = ""
    result: bool | None = None
    id: int | None = None
    msg: str = ""


decode_trades = Decoder(Rows[TradeRow]).decode
decode_depth = Decoder(DepthWire).decode
decode_best = Decoder(BestWire).decode
decode_bars = Decoder(Bars).decode
decode_days = Decoder(Rows[DayRow]).decode
decode_other = Decoder(Other, strict=False).decode


def topic(s: Subscription) -> str:
    return f"{s.raw_symbol}@{CHANNELS[s.channel].format(s.interval)}"


def read_trades(frame: bytes) -> list[Trade]:
    """Trades, which stand in no order (frames of April 2026 in the tests of Weex.Net)."""
    said = decode_trades(frame)
    return oldest_first(row.record(said.s, said.E * MS_NS) for row in said.d)


def read_past(frame: bytes) -> Iterable[Event]:
    """The trades before the subscription."""
    return past(read_trades(frame))


def read_bars(frame: bytes) -> Iterable[Event]:
    """Candles of trades; those of mark prices are passed over."""
    said = decode_bars(frame)
    if said.p != "LAST_PRICE":
        return ()
    return [row.record(said.s, said.E * MS_NS) for row in said.d]


def read_days(frame: bytes) -> Iterable[Event]:
    said = decode_days(frame)
    return [record for row in said.d for record in row.records(said.s, said.E * MS_NS)]


def read_depth(frame: bytes) -> Iterable[Event]:
    return (decode_depth(frame).record(),)


def read_best(frame: bytes) -> Iterable[Event]:
    return (decode_best(frame).record(),)


READERS: dict[str, Parse] = {
    "trade": read_trades,
    "tradeSnapshot": read_past,
    "depth": read_depth,
    "depthSnapshot": read_depth,
    "bookTicker": read_best,
    "kline": read_bars,
    "klineSnapshot": read_bars,
    "ticker": read_days,
}


def read_other(frame: bytes) -> Iterable[Event]:
    said = decode_other(frame)
    if said.e:
        read = READERS.get(said.e)
        return () if read is None else read(frame)
    if said.event:
        return (Reply(PONG),) if said.event == "ping" else ()
    if said.method == "PONG":  # ccxt 4.5.90 has a ping answered so, and probes by `result`
        return ()
    if said.result is None:
        raise BadFrame("neither data nor an answer")
    if said.id == 0:  # the answer to a ping of ours
        return ()
    if said.result:
        return (Accepted(id=said.id),)
    meaning = meaning_of(said.msg, final=("invalid symbol", "invalid event", "invalid depth"), passing=("too many",))
    return (Refused(said.msg, id=said.id, meaning=meaning),)


parse = by_word(b'"e":"', READERS, read_other)
