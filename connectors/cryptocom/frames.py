"""Reading Crypto.com's frames: data, answers and heartbeats.

https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html#subscribe
"""

from collections.abc import Iterable

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Hangup, Refused, Reply
from aggregator.records import Channel
from aggregator.refusals import meaning_of
from aggregator.wire import encode, number, past
from connectors.cryptocom.wires import Result

MARKET: dict[Channel, str] = {
    "trades": "trade",
    "book": "book",
    "bbo": "ticker",
    "ticker": "ticker",
    "candles": "candlestick",
}
CONTRACTS: dict[Channel, str] = {"open_interest": "ticker", "mark_price": "mark"}
PERPETUALS: dict[Channel, str] = {"funding": "funding", "index_price": "index"}
ESTIMATE = "estimatedfunding"
WIRES: tuple[tuple[Channel, str], ...] = (
    *MARKET.items(),
    *CONTRACTS.items(),
    *PERPETUALS.items(),
    ("funding", ESTIMATE),
)
OURS: dict[str, tuple[Channel, ...]] = {
    wire: tuple(channel for channel, name in WIRES if name == wire) for _, wire in WIRES
}
READ = {*OURS, "book.update"}
PUSHED = -1  # the id of what answers no request
TOO_MANY = 42901


class Frame(Struct, gc=False):
    """Data; the first of a topic may be the answer to its subscription."""

    result: Result
    id: int = PUSHED


class Subscribed(Struct):
    channel: str = ""
    subscription: str = ""


class Other(Struct):
    """All but data; `channel` is one that was asked for."""

    id: int = PUSHED
    method: str = ""
    code: int = 0
    message: str = ""
    channel: str = ""
    result: Subscribed | None = None
    instrument_name: str = ""  # it stands here where data comes without an envelope


decode = Decoder(Frame, strict=False, float_hook=number).decode
decode_result = Decoder(Result, strict=False, float_hook=number).decode
decode_other = Decoder(Other, strict=False).decode


def parse(frame: bytes) -> Iterable[Event]:
    """Read a frame. The answer to a subscription of trades has the last ones from before it."""
    try:
        said = decode(frame)
    except ValidationError as error:
        return parse_other(frame, error)
    wire = said.result
    if said.id == PUSHED:
        return wire.records()
    name = wire_name(wire)
    records = past(wire.records()) if name == MARKET["trades"] else wire.records()
    return [*answered(name, wire.instrument_name), *records]


def wire_name(wire: Result) -> str:
    tag = wire.__struct_config__.tag
    return tag if isinstance(tag, str) else ""


def answered(wire: str, name: str) -> list[Accepted]:
    """The topics that an answer confirms."""
    return [Accepted(channel=channel, raw_symbol=name) for channel in OURS.get(wire.partition(".update")[0], ())]


def parse_other(frame: bytes, why: ValidationError) -> Iterable[Event]:
    """A frame that is no data; raises BadFrame where it should have been."""
    said = decode_other(frame)
    if said.method == "public/heartbeat":
        return (Reply(encode({"id": said.id, "method": "public/respond-heartbeat"})),)
    if said.code:
        return parse_fault(said)
    if said.instrument_name:
        bare: Iterable[Event] = decode_result(frame).records() if said.channel in READ else ()
        return bare
    wire = said.result.channel if said.result else ""
    if wire in READ:
        raise BadFrame(f"data of {wire} that cannot be read: {why}")
    if said.method != "subscribe" or said.result is not None:
        return ()
    return answered(*topic(said.channel)) if said.channel else (Accepted(id=said.id),)


def parse_fault(said: Other) -> Iterable[Event]:
    """A request that failed; one too many in a second says nothing of what was asked."""
    reason = f"{said.message} (code {said.code})"
    meaning = meaning_of(reason, final=("unknown symbol", "invalid symbol"), passing=("too many", "server is busy"))
    if said.code == TOO_MANY:
        return (Hangup(reason),)
    if said.method not in {"subscribe", "ERROR", ""}:
        return ()
    if said.channel:
        refused = answered(*topic(said.channel))
        return [Refused(reason, channel=s.channel, raw_symbol=s.raw_symbol, meaning=meaning) for s in refused]
    return (Refused(reason, id=None if said.id == PUSHED else said.id, meaning=meaning),)


def topic(name: str) -> tuple[str, str]:
    """The wire's channel and the instrument of `book.BTC_USD.50`, `candlestick.1m.BTC_USD`, `ticker.BTC_USD`."""
    wire, _, rest = name.partition(".")
    if wire == "book":
        return wire, rest.rpartition(".")[0]
    return wire, rest.partition(".")[2] if wire == "candlestick" else rest
