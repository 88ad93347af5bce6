"""The Binance protocol, which its regional, derivative and white-label exchanges also speak.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Raw, Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import (
    Accepted,
    Backfill,
    Event,
    Exchange,
    Hangup,
    Heartbeat,
    Limits,
    Refused,
    Snapshot,
    Stream,
    Subscribe,
    Subscription,
    every_instrument,
)
from aggregator.records import HOUR_S, BookSnapshot, Channel, Instrument
from aggregator.refusals import meaning_of
from aggregator.sequence import Rule, contiguous
from aggregator.wire import encode
from connectors.families.binance import history
from connectors.families.binance.rest import backfill, decode_partial, listing, snapshot, trouble
from connectors.families.binance.wires import BestWire, WideDepthWire, Wire, stamp

CHANNELS: dict[Channel, str] = {
    "trades": "trade",
    "book": "depth@100ms",
    "bbo": "bookTicker",
    "ticker": "ticker",
    "candles": "kline_",
}
TICKERS = {"24hrTicker", "24hrMiniTicker", "1hTicker", "4hTicker", "1dTicker"}
TAGS = {"trade", "blockTrade", "aggTrade", "depthUpdate", "bookTicker", "kline", *TICKERS}
STREAMS = {"trade", "blockTrade", "aggTrade", "ticker", "miniTicker"}
PREFIXES = ("kline_", "ticker_")  # besides; an interval follows
STREAM, QUOTE = b's"'  # from `{"stream"`, which begins the combined form; the end of the last field of best prices
SHUTDOWN = "serverShutdown"


class Combined(Struct, gc=False):
    data: Wire


class CombinedBest(Struct, gc=False):
    data: BestWire


class Fault(Struct):
    code: int | str | None = None
    msg: str = ""


class Other(Struct):
    """Frames that are no market data of ours, or market data that does not say its kind."""

    stream: str = ""
    e: str = ""
    id: int | str | None = None
    error: Fault | None = None
    code: int | str | None = None  # an error's, and so is `msg` or `desc`, where `error` does not hold both
    msg: str = ""
    desc: str = ""
    data: Raw = Raw(b"null")
    u: int | None = None
    lastUpdateId: int | None = None
    asks: Raw = Raw()


decode_combined = Decoder(Combined).decode
decode_combined_best = Decoder(CombinedBest).decode
decode_bare = Decoder(Wire).decode
decode_many = Decoder(list[Wire]).decode
decode_best = Decoder(BestWire).decode
decode_wide = Decoder(WideDepthWire).decode
decode_other = Decoder(Other).decode


def parse(frame: bytes) -> Iterable[Event]:
    """Single bytes tell what most frames are, for they are looked at in no time; `parse_other` reads the others."""
    try:
        if frame[2] != STREAM:
            return (decode_bare(frame).record(),)
        if frame[-3] == QUOTE:
            return (decode_combined_best(frame).data.record(),)
        return (decode_combined(frame).data.record(),)
    except (IndexError, ValidationError):
        return parse_other(frame)


def parse_other(frame: bytes) -> Iterable[Event]:
    """Read a frame that is no event, or is one whose beginning does not tell its kind."""
    if frame.startswith(b"["):
        return [wire.record() for wire in decode_many(frame)]
    other = decode_other(frame)
    try:
        return (decode_bare(other.data if other.stream else frame).record(),)
    except ValidationError:
        if other.stream:
            return parse_stream(other.stream, other.data)
    return parse_event(other.e, frame) if other.e else parse_untold(other, frame)


def parse_untold(other: Other, frame: bytes) -> Iterable[Event]:
    """Read a frame that names neither a stream nor a kind: an answer, best prices, or a partial book."""
    if other.error is not None or other.code is not None:
        return (refused(other),)
    if other.u is not None:
        return (decode_best(frame).record(),)
    if other.asks:
        return (partial(None, frame),)
    return () if other.id is None else (Accepted(id=number(other.id)),)


def parse_stream(stream: str, data: Raw) -> Iterable[Event]:
    """Read the data of a stream: best prices, a partial book, a list of all symbols, or an event that is not ours."""
    name, _, kind = stream.partition("@")
    if kind.startswith("depth"):
        return (partial(name.upper(), data),)
    if kind == "arr":
        return [wire.record() for wire in decode_many(data)]
    if "bookTicker" in {kind, name.removeprefix("!")}:
        return (decode_best(data).record(),)
    if kind.startswith(PREFIXES) or kind in STREAMS:
        raise BadFrame(f"an event of {kind} that cannot be read")
    return (Hangup(SHUTDOWN),) if name == f"!{SHUTDOWN}" else ()


def parse_event(event: str, frame: bytes) -> Iterable[Event]:
    if event == "depthUpdate":
        return (decode_wide(frame).record(),)
    if event == "depth":
        return (partial(None, frame),)
    if event in TAGS:
        raise BadFrame(f"an event of {event} that cannot be read")
    return (Hangup(SHUTDOWN),) if event == SHUTDOWN else ()


def refused(other: Other) -> Refused:
    fault = other.error or Fault(other.code, other.msg or other.desc)
    meaning = meaning_of(fault.msg or "", final=("invalid stream", "invalid symbol"), passing=("too many requests",))
    return Refused(f"{fault.msg} (code {fault.code})", id=number(other.id), meaning=meaning)


def number(id: int | str | None) -> int | None:
    return int(id) if isinstance(id, int) or (id is not None and id.isdecimal()) else None


def partial(raw_symbol: str | None, body: bytes | Raw) -> BookSnapshot:
    """A partial book; its symbol is in its stream's name, or in the frame where streams are not named (Coins.ph)."""
    d = decode_partial(body)
    return BookSnapshot(
        raw_symbol=raw_symbol or d.s,
        bids=d.bids,
        asks=d.asks,
        ts_sent=None if d.E is None else stamp(d.E),
        depth=max(len(d.bids), len(d.asks)) or None,
        sequence=d.lastUpdateId,
        reason="periodic",
    )


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        params = [f"{s.raw_symbol.lower()}@{CHANNELS[s.channel]}{suffix(s)}" for s in wanted]
        yield encode({"method": method, "params": params, "id": id})

    return ask


def suffix(subscription: Subscription) -> str:
    return subscription.interval if subscription.channel == "candles" else ""


def stream(
    name: str,
    url: str,
    whole: Snapshot,
    *,
    mirrors: tuple[str, ...] = (),
    book: Rule = contiguous,
    past: Backfill | None = None,
    serves: Callable[[Instrument], bool] = every_instrument,
    named: Callable[[Instrument], str | None] | None = None,
    heartbeat: Heartbeat | None = None,
    patience: float = 60,  # the exchange pings every 20 s
) -> Stream:
    """Declare an address of spot pairs.

    whole: how whole books are had
    book: the rule of its books' numbers
    past: how past trades are looked up by number, if trades are numbered without a hole
    named: how this address calls an instrument, if not by its raw symbol
    """
    rules: dict[Channel, Rule] = {"book": book}
    if past is not None:
        rules["trades"] = contiguous
    return Stream(
        name=name,
        url=url,
        mirrors=mirrors,
        channels=CHANNELS,
        serves=serves,
        named={} if named is None else dict.fromkeys(CHANNELS, named),
        subscribe=asking("SUBSCRIBE"),
        unsubscribe=asking("UNSUBSCRIBE"),
        parse=parse,
        snapshot=whole,
        sequence=rules,
        backfill=past,
        heartbeat=heartbeat,
        per_connection=1024,
        batch=100,
        pace=0.25,  # five incoming messages a second are allowed, pongs among them
        patience=patience,
    )


def exchange(id: str, *, docs: str, checked: str, url: str, rest: str, lookup: bool = True) -> Exchange:
    """Declare an exchange that speaks Binance, by the ways in which it differs from Binance spot.

    lookup: whether past trades can be looked up by number without a key
    """
    return Exchange(
        id=id,
        docs=docs,
        checked=checked,
        trouble=trouble,
        limits=Limits(lifetime=24 * HOUR_S, weights={rest: ((6000, 60),)}, connects=(300, 300)),
        listing=listing(rest),
        feeds=(stream("main", url, snapshot(rest), past=backfill(rest, lookup=lookup)),),
        history=history.spot(rest, lookup=lookup),
    )
