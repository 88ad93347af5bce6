"""Trades of LBank's perpetual contracts by the socket of its own pages, which no documentation describes.

https://www.lbank.com/docs/contract.html names its address alone; what is read here was seen in September 2026.
Its books are not used: those of quiet contracts go stale without a sign. Whose direction a trade names is said nowhere,
so its side is not told.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Meaning, Refused, Subscribe, Subscription
from aggregator.records import Channel, Funding, IndexPrice, MarkPrice, Record, Trade
from aggregator.wire import Text, encode, nonzero, oldest_first, optional, seconds, text

TRADES: dict[Channel, str] = {"trades": "2"}
PREFIX = "Exchange_"
PONG = b"pong"
MISSING, TOO_FAST = 5, (-3, 51)  # codes of answers


class Data(Struct, gc=False):
    """A trade, or the request that an answer repeats."""

    InstrumentID: str = ""
    TradeID: str | None = None
    Price: Text = None
    Volume: Text = None
    TradeTime: Text = None  # seconds
    FilterValue: str = ""
    Action: str = "1"
    MarkedPrice: Text = None  # figures, which are polled, and which captures may hold
    UnderlyingPrice: Text = None
    PositionFeeRate: Text = None
    UpdateTime: Text = None  # seconds

    def figures(self) -> Iterable[Record]:
        name, at = self.InstrumentID, None if self.UpdateTime is None else seconds(self.UpdateTime)
        for kind, price in ((MarkPrice, nonzero(self.MarkedPrice)), (IndexPrice, nonzero(self.UnderlyingPrice))):
            if price is not None:
                yield kind(raw_symbol=name, price=price, ts_event=at)
        if (rate := optional(self.PositionFeeRate)) is not None:
            yield Funding(raw_symbol=name, rate=rate, ts_event=at)


class Row(Struct, gc=False):
    data: Data


class Frame(Struct, gc=False):
    action: str
    errorCode: int = 0
    errorMsg: str = ""
    result: list[Row] = []


decode = Decoder(Frame).decode


def parse(frame: bytes) -> Iterable[Event]:
    if frame == PONG:
        return ()
    said = decode(frame)
    if said.action.startswith("Push"):
        return pushed(said)
    return answered(said)


def pushed(said: Frame) -> Iterable[Event]:
    if said.action == "PushMarketTrade":
        return oldest_first(read_trade(row.data) for row in said.result)
    if said.action == "PushMarketDataOverView":
        return [record for row in said.result for record in row.data.figures()]
    return ()


def answered(said: Frame) -> Iterable[Event]:
    asked = said.result[0].data if said.result else Data()
    if asked.Action != "1":
        return ()
    name = asked.FilterValue.removeprefix(PREFIX) or None
    if said.errorCode == 0:
        return () if name is None else (Accepted(channel="trades", raw_symbol=name),)
    reason = f"{said.errorMsg} (code {said.errorCode})"
    meaning: Meaning = "final" if said.errorCode == MISSING else "passing" if said.errorCode in TOO_FAST else "unknown"
    return (Refused(reason, channel=None if name is None else "trades", raw_symbol=name, meaning=meaning),)


def read_trade(row: Data) -> Record:
    if row.TradeTime is None:
        raise BadFrame("a trade without a time")
    return Trade(
        raw_symbol=row.InstrumentID,
        id=row.TradeID,
        price=text(row.Price),
        size=text(row.Volume),
        ts_event=seconds(row.TradeTime),
    )


def asking(action: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in wanted:
            request = {"Action": action, "LocalNo": id, "TopicID": TRADES[s.channel]}
            yield encode({"SendTopicAction": request | {"FilterValue": f"{PREFIX}{s.raw_symbol}", "ResumeNo": -1}})

    return ask
