"""Frames of XT, `{"topic":"trade","event":"trade@btc_usdt","data":{...}}`: alike for spot and for contracts.

https://doc.xt.com/docs/spot/WebSocket%20Public/RequestFormat
https://doc.xt.com/docs/futures/WebsocKetV2/General_WSS_information
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused, Subscribe, Subscription
from aggregator.records import Channel, Record
from aggregator.refusals import meaning_of
from aggregator.wire import Text, encode, number
from connectors.xt import contract_wires, spot_wires

PONG = b"pong"
FINAL = ("checkSymbol error", "args error", "interval error", "levels error")


class Row(Protocol):
    """The content of a frame; what its topic names after the market is an interval or a depth."""

    def records(self, detail: str, /) -> Iterable[Record]: ...


Decode = Callable[[Raw], Row | Sequence[Row]]


class Frame(Struct, gc=False):
    topic: str | None = None
    event: str = ""
    data: Raw = Raw(b"null")
    code: int | None = None
    msg: str = ""
    id: Text = None
    method: str = ""


decode = Decoder(Frame).decode
PACE = "100ms"  # books of contracts have it, those of spot do not
SPOT: dict[Channel, str] = {"trades": "trade", "book": "depth_update", "ticker": "ticker", "candles": "kline"}
CONTRACTS: dict[Channel, str] = {
    "trades": "trade",
    "book": "depth_update",
    "bbo": "agg_ticker",
    "ticker": "agg_ticker",
    "candles": "kline",
    "mark_price": "mark_price",
    "index_price": "index_price",
    "funding": "fund_rate",
}
SPOT_READERS: dict[str, Decode] = {
    "trade": Decoder(spot_wires.TradeWire, float_hook=number).decode,
    "depth_update": Decoder(spot_wires.DeltaWire, float_hook=number).decode,
    "depth": Decoder(spot_wires.TopWire, float_hook=number).decode,
    "ticker": Decoder(spot_wires.TickerWire, float_hook=number).decode,
    "tickers": Decoder(list[spot_wires.TickerWire], float_hook=number).decode,
    "kline": Decoder(spot_wires.BarWire, float_hook=number).decode,
}
CONTRACT_READERS: dict[str, Decode] = {
    "trade": Decoder(contract_wires.TradeWire).decode,
    "depth_update": Decoder(contract_wires.DeltaWire).decode,
    "depth": Decoder(contract_wires.TopWire).decode,
    "ticker": Decoder(contract_wires.TickerWire).decode,
    "tickers": Decoder(list[contract_wires.TickerWire]).decode,
    "agg_ticker": Decoder(contract_wires.TickerWire).decode,
    "agg_tickers": Decoder(list[contract_wires.TickerWire]).decode,
    "kline": Decoder(contract_wires.BarWire).decode,
    "mark_price": Decoder(contract_wires.MarkWire).decode,
    "index_price": Decoder(contract_wires.IndexWire).decode,
    "fund_rate": Decoder(contract_wires.RateWire).decode,
}


def parser(readers: Mapping[str, Decode]) -> Parse:
    def parse(frame: bytes) -> Iterable[Event]:
        if frame == PONG:
            return ()
        said = decode(frame)
        if said.topic is None:
            return answer(said)
        read = readers.get(said.topic)
        if read is None:
            return ()
        found, detail = read(said.data), said.event.partition(",")[2]
        if isinstance(found, Sequence):  # captures of others have all markets in one
            return [record for row in found for record in row.records(detail)]
        return found.records(detail)

    return parse


def answer(said: Frame) -> Iterable[Event]:
    if said.code is None:
        raise BadFrame("neither data nor an answer")
    asked = said.id if type(said.id) is str else ""
    if said.method.lower() == "unsubscribe" or asked.startswith("-"):
        return ()
    id = int(asked) if asked.isdecimal() else None
    if said.code == 0:
        return () if id is None else (Accepted(id=id),)
    return (Refused(said.msg, id, meaning=meaning_of(said.msg, final=FINAL)),)


def asking(channels: Mapping[Channel, str], method: str, mark: str = "") -> Subscribe:
    """Requests of many topics; `mark` before its number tells an answer to unsubscribing."""

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        topics = [topic(channels, s) for s in wanted]
        yield encode({"method": method, "params": list(dict.fromkeys(topics)), "id": f"{mark}{id}"})

    return ask


def topic(channels: Mapping[Channel, str], s: Subscription) -> str:
    name = f"{channels[s.channel]}@{s.raw_symbol}"
    if s.channel == "candles":
        return f"{name},{s.interval}"
    return f"{name},{PACE}" if s.channel == "book" and channels is CONTRACTS else name
