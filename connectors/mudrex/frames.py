"""Reading Mudrex's frames: data whose stream is named, and answers by the number of a request.

https://docs.trade.mudrex.com/docs/websocket-streams
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Refused
from aggregator.records import MarkPrice, Ticker
from aggregator.refusals import meaning_of
from aggregator.wire import Text, as_written, candle, nonzero, optional, seconds

TICKER = "ticker@1s"
TICKERS = {TICKER, "ticker@5s"}  # the rows of both are alike
RUNNING = "1s"  # it repeats the running minute once a second, and is no candle of a second


class PriceRow(Struct, gc=False):
    s: str
    p: Text = None
    mp: Text = None


class BarWire(Struct, gc=False):
    s: str
    t: int
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    c: Text
    v: Text = None


class Fault(Struct):
    code: int
    msg: str = ""


class Frame(Struct):
    stream: str = ""
    data: Raw = Raw()
    method: str = ""
    id: int | None = None
    result: Raw = Raw()
    error: Fault | None = None


decode = Decoder(Frame).decode
decode_prices = Decoder(list[PriceRow], float_hook=as_written).decode
decode_bar = Decoder(BarWire, float_hook=as_written).decode


def read_prices(data: Raw) -> Iterable[Event]:
    """All markets in the first frame, those whose price has changed in the others."""
    for row in decode_prices(data):
        name = row.s.upper()
        if last := nonzero(row.p):
            yield Ticker(raw_symbol=name, last=last)
        if mark := nonzero(row.mp):
            yield MarkPrice(raw_symbol=name, price=mark)


def read_bar(interval: str, data: Raw) -> Iterable[Event]:
    bar = decode_bar(data)
    yield candle(bar.s.upper(), interval, seconds(bar.t), (bar.o, bar.h, bar.l, bar.c), base=optional(bar.v))


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    if said.stream in TICKERS:
        return read_prices(said.data)
    if said.stream.startswith("kline@"):
        interval = said.stream.split("@")[1]
        return () if interval == RUNNING else read_bar(interval, said.data)
    if said.stream:
        return ()
    if said.error is None:
        if not said.method:
            raise BadFrame("neither data nor an answer")
        return (Accepted(id=said.id),) if said.method == "SUBSCRIBE" else ()
    if said.method not in {"SUBSCRIBE", ""}:
        return ()
    reason = f"{said.error.code}: {said.error.msg}"
    return (Refused(reason, id=said.id, meaning=meaning_of(reason, final=("invalid stream name",))),)
