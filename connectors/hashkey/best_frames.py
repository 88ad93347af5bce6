"""Best prices, as version 2 of HashKey's socket sends them. It names one symbol in a frame, and confirms it.

Captures may hold its other topics as well: they are those of version 1, each with one row.

https://hashkeyglobal-apidoc.readme.io
"""

from collections.abc import Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Refused, Subscribe, Subscription
from aggregator.refusals import meaning_of
from aggregator.wire import Text, as_written, bbo, encode, ms
from connectors.families.bhex.frames import parsing, read_depths, trades
from connectors.families.bhex.wires import Params

TOPIC = "bbo"


class BestWire(Struct):
    s: str
    t: int
    b: Text = None
    bz: Text = None
    a: Text = None
    az: Text = None


class BestFrame(Struct):
    """Best prices, or the answer to a request, which repeats it."""

    topic: str = ""
    params: Params = Params()
    data: Raw = Raw(b"null")
    event: str = ""
    code: str | int | None = None
    msg: str = ""


decode = Decoder(BestFrame).decode
decode_best = Decoder(BestWire, float_hook=as_written).decode
parse_data = parsing({"trade": trades(is_buy=False), "depth": read_depths})  # `m`: the buyer was the maker


def read_best(data: Raw) -> Iterable[Event]:
    d = decode_best(data)
    return (bbo(d.s, d.b, d.bz, d.a, d.az, ts_event=ms(d.t)),)


def parse(frame: bytes) -> Iterable[Event]:
    f = decode(frame)
    if bytes(f.data) != b"null":
        return read_best(f.data) if f.topic == TOPIC else parse_data(frame)
    if f.code is None or f.event == "cancel":
        return ()
    topic = (f.topic, f.params.symbol) if f.params.symbol else None
    if str(f.code) == "0":
        return (Accepted(topic=topic),)
    reason = f"{f.code}: {f.msg}"
    return (Refused(reason, topic=topic, meaning=meaning_of(reason, final=("-100011",))),)


def asking(event: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for s in wanted:
            yield encode({"topic": TOPIC, "event": event, "params": {"symbol": s.raw_symbol}})

    return ask
