"""Frames of HTX: market data, answers, and notices, which say in `op` what they are."""

from collections.abc import Iterable, Sequence

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Hangup, Refused, Reply
from aggregator.records import Channel, Record
from aggregator.refusals import meaning_of
from aggregator.wire import encode, ms
from connectors.families.htx.notice_wires import FundingRow, LiquidationRow, decode_fundings, decode_liquidations
from connectors.families.htx.wires import NOTICES, READERS, WIRES, decode_whole, whole

START = b'{"ch":"market.'


class Other(Struct, rename={"code": "err-code", "reason": "err-msg"}):
    """Every frame that does not begin as market data does."""

    ch: str = ""
    ping: int | str | None = None
    id: int | str | None = None
    status: str = ""
    subbed: str = ""
    rep: str = ""
    ts: int | str | None = None
    data: Raw = field(default_factory=Raw)
    op: str = ""
    cid: int | str | None = None
    topic: str = ""
    code: int | str | None = None
    reason: str | None = None


decode_other = Decoder(Other).decode


def parse(frame: bytes) -> Iterable[Event]:
    if frame.startswith(START):
        return parse_market(frame[len(START) : frame.index(b'"', len(START))].decode(), frame)
    other = decode_other(frame)
    if other.ch.startswith("market."):
        return parse_market(other.ch[7:], frame)
    if other.ping is not None:
        return (Reply(encode({"pong": other.ping})),)
    return parse_notice(other) if other.op else parse_answer(other)


def parse_answer(other: Other) -> Iterable[Event]:
    """Read the exchange's answer to a request."""
    id = whole_number(other.id)
    if other.status == "error":
        reason = f"{other.code}: {other.reason}"
        meaning = meaning_of(reason, final=("invalid topic", "invalid symbol"), passing=("too many", "429"))
        return (Refused(reason, id=id, meaning=meaning),)
    if other.subbed:
        channel, raw_symbol = named(other.subbed)
        return (Accepted(id=id, channel=channel, raw_symbol=raw_symbol, ts=ms(other.ts or 0)),)
    if ".mbp." not in other.rep:
        return ()
    _, raw_symbol, kind = other.rep.split(".", 2)
    book = whole(raw_symbol, kind, decode_whole(other.data))
    book.ts_sent = None if other.ts is None else ms(other.ts)
    return (book,)


def parse_market(topic: str, frame: bytes) -> Iterable[Record]:
    """One frame of market data; its topic is `<symbol>.<kind>`."""
    raw_symbol, _, kind = topic.partition(".")
    reader = READERS.get(kind.partition(".")[0])
    return () if reader is None else reader(raw_symbol, kind, frame)


def parse_notice(other: Other) -> Iterable[Event]:
    """A frame of a notification socket, which says in `op` what it is."""
    channel, raw_symbol = named(other.topic)
    id = whole_number(other.cid)
    if other.op == "ping":
        return (Reply(encode({"op": "pong", "ts": other.ts})),)
    if other.op == "close":
        return (Hangup("the exchange closes the connection"),)
    if other.op == "sub" and other.code in {0, "0", None}:
        return (Accepted(id=id, channel=channel, raw_symbol=raw_symbol),)
    if other.op in {"sub", "error"}:  # the connection stays
        reason = f"{other.code}: {other.reason}"
        meaning = meaning_of(reason, final=("illegal topic",), passing=("too many", "429"))
        return (Refused(reason, id=id, channel=channel, raw_symbol=raw_symbol, meaning=meaning),)
    if other.op != "notify" or channel not in NOTICES:
        return ()
    if other.ts is None:
        raise BadFrame(f"a notice of {channel} without a time")
    sent = ms(other.ts)
    rows: Sequence[FundingRow | LiquidationRow]
    rows = decode_fundings(other.data) if channel == "funding" else decode_liquidations(other.data)
    return [record for row in rows for record in row.records(sent)]


def named(topic: str) -> tuple[Channel | None, str | None]:
    """The channel and raw symbol of `market.<symbol>.<kind>` or `public.<symbol>.<kind>`."""
    _, _, rest = topic.partition(".")
    raw_symbol, _, kind = rest.partition(".")
    raw_symbol = raw_symbol.upper() if topic.startswith("public.") else raw_symbol
    return WIRES.get(kind.partition(".")[0]), raw_symbol or None


def whole_number(id: int | str | None) -> int | None:
    return int(id) if isinstance(id, int) or (id is not None and id.isdecimal()) else None
