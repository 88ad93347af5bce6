"""Reading Bybit's frames: `topic` and `data`, or an answer.

https://bybit-exchange.github.io/docs/v5/ws/connect
"""

import re
from collections.abc import Callable, Iterable

from msgspec import Raw, Struct, structs
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused
from aggregator.records import (
    MS_NS,
    Bbo,
    BookDelta,
    BookSnapshot,
    Channel,
    IndexPrice,
    Levels,
    MarkPrice,
    Record,
    SizeUnit,
)
from aggregator.refusals import meaning_of
from aggregator.wire import ms, nonzero
from connectors.families.bybit import legacy
from connectors.families.bybit.wires import (
    PRODUCTION,
    Bars,
    BookRow,
    Books,
    Forced,
    Maintenance,
    TickerRow,
    Tickers,
    Trades,
)

SPOT: dict[Channel, str] = {
    "trades": "publicTrade",
    "book": "orderbook.200",
    "bbo": "orderbook.1",
    "ticker": "tickers",
    "candles": "kline",
}
FUTURES: dict[Channel, str] = SPOT | {
    "funding": "tickers",
    "open_interest": "tickers",
    "mark_price": "tickers",
    "index_price": "tickers",
    "liquidations": "allLiquidation",
}
OPTIONS: dict[Channel, str] = {
    "trades": "publicTrade",  # the topic is a base asset: it has all its options
    "book": "orderbook.100",
    "bbo": "tickers",  # options have no book of one level
    "ticker": "tickers",
    "open_interest": "tickers",
    "mark_price": "tickers",
    "index_price": "tickers",
    "options": "tickers",
}
STATUS: dict[Channel, str] = {"status": "system.status"}
HEAD, QUOTE = b'{"topic":"', b'"'
START = len(HEAD)
MOST_KNOWN = 2**12  # topics whose readers are remembered
INVERSE = re.compile(r"USD([FGHJKMNQUVXZ][0-9]{2})?$")  # how their names end: BTCUSD, and BTCUSDZ26 of December 2026


class Topics(Struct):
    failTopics: list[str] = []


class Other(Struct):
    """An answer to what was asked, or data that does not begin with its topic."""

    topic: str = ""
    op: str = ""
    type: str = ""
    success: bool | None = None
    ret_msg: str | None = None
    req_id: str | None = None
    data: Raw = Raw(b"{}")


decode_trades = Decoder(Trades, strict=False).decode
decode_books = Decoder(Books, strict=False).decode
decode_tickers = Decoder(Tickers, strict=False).decode
decode_bars = Decoder(Bars, strict=False).decode
decode_forced = Decoder(Forced, strict=False).decode
decode_maintenance = Decoder(Maintenance, strict=False).decode
decode_topics = Decoder(Topics).decode
decode_other = Decoder(Other).decode


def parser(unit: SizeUnit = "base") -> Callable[[], Parse]:
    """The reader of one market's frames, whose sizes are in `unit`.

    That of inverse contracts refuses other instruments, whose sizes it would take for US dollars.
    """

    def connect() -> Parse:
        tickers: dict[str, TickerRow] = {}
        bests: dict[str, BookRow] = {}
        readers: dict[str, Callable[[str], Parse]] = {  # by the kind of a topic, from what the topic is about
            "publicTrade": lambda _: lambda frame: read_trades(frame, unit),
            "orderbook": lambda about: book_reader(about.partition(".")[0], bests),
            "tickers": lambda _: lambda frame: read_ticker(frame, unit, tickers),
            "kline": lambda about: lambda frame: read_bars(frame, about, unit),
            "allLiquidation": lambda _: lambda frame: read_forced(frame, unit),
            "liquidation": lambda _: lambda frame: legacy.read_forced(frame, unit),
            "system": lambda _: read_maintenance,
        }
        known: dict[bytes, Parse] = {}  # by topic, of which the same few hundred come again and again

        def reader(topic: bytes) -> Parse:
            kind, _, about = topic.decode().partition(".")
            if kind not in readers:
                return ignore
            if unit == "quote" and not INVERSE.search(about):
                raise BadFrame(f"{about} is of no inverse contract")
            if len(known) >= MOST_KNOWN:
                known.clear()
            found = known[topic] = readers[kind](about)
            return found

        def parse(frame: bytes) -> Iterable[Event]:
            if frame[:START] == HEAD:
                topic = frame[START : frame.find(QUOTE, START)]
            else:
                other = decode_other(frame)
                if not other.topic:
                    return parse_answer(other)
                topic = other.topic.encode()
            return (known.get(topic) or reader(topic))(frame)

        return parse

    return connect


def ignore(_: bytes) -> Iterable[Event]:
    """Read frames of a topic that is none of ours."""
    return ()


def parse_answer(other: Other) -> Iterable[Event]:
    if other.type == "COMMAND_RESP":  # options: it names the topics, but not the request
        return [event for topic in decode_topics(other.data).failTopics for event in failed(topic)]
    if other.op == "subscribe":
        id = int(other.req_id) if other.req_id and other.req_id.isdecimal() else None
        reason = other.ret_msg or ""
        is_on = other.success or reason.startswith("error:already subscribed")
        return (Accepted(id=id),) if is_on else refusal(reason or "no reason given", id)
    if other.success is False and other.op != "unsubscribe":
        return (Refused(other.ret_msg or "no reason given"),)
    if other.success is None and other.op != "pong":
        raise BadFrame("neither data of a topic nor an answer")
    return ()


def refusal(reason: str, id: int | None) -> Iterable[Event]:
    """Read the refusal of a request: it is refused as a whole, because of one topic, which the words may name."""
    meaning = meaning_of(reason, final=("handler not found", "invalid symbol"), passing=("too many", "10006"))
    wire, _, raw_symbol = reason.partition(",topic:")[2].rpartition(".")
    channels = [channel for channel, name in FUTURES.items() if wire == name or wire.startswith(f"{name}.")]
    if not channels:
        return (Refused(reason, id=id, meaning=meaning),)
    named = [Refused(reason, channel=channel, raw_symbol=raw_symbol, meaning=meaning) for channel in channels]
    return [*named[:-1], structs.replace(named[-1], id=id)]  # the id comes last: it ends the request


def failed(topic: str) -> Iterable[Event]:
    """A refusal of each channel that a topic of options carries."""
    wire, _, raw_symbol = topic.rpartition(".")
    return [Refused(f"{topic} failed", channel=c, raw_symbol=raw_symbol) for c, w in OPTIONS.items() if w == wire]


def read_trades(frame: bytes, unit: SizeUnit) -> Iterable[Event]:
    said = decode_trades(frame)
    sent = said.ts * MS_NS
    if len(said.data) == 1:  # the usual case
        return (said.data[0].record(unit, sent),)
    return [row.record(unit, sent) for row in said.data]


def book_reader(depth: str, bests: dict[str, BookRow]) -> Parse:
    """The reader of books of so many levels a side, or `full`; `rpi` has two sizes a level, and is not read."""
    if depth == "1":
        return lambda frame: read_bests(frame, bests)
    if depth != "full" and not depth.isdecimal():
        return ignore
    levels = None if depth == "full" else int(depth)
    return lambda frame: read_book(frame, levels)


def read_book(frame: bytes, depth: int | None) -> Iterable[Event]:
    """Read a book of some depth; one of none is sent as changes alone, of which number 1 says to ask for the whole."""
    said = decode_books(frame)
    row, sent, at = said.data, said.ts * MS_NS, None if said.cts is None else said.cts * MS_NS
    if said.type == "delta" and row.u != 1:
        return (BookDelta(raw_symbol=row.s, bids=row.b, asks=row.a, sequence=row.u, ts_event=at, ts_sent=sent),)
    if depth is None:
        return ()
    return (
        BookSnapshot(
            raw_symbol=row.s,
            bids=row.b,
            asks=row.a,
            depth=depth,
            sequence=row.u,
            ts_event=at,
            ts_sent=sent,
        ),
    )


def read_bests(frame: bytes, bests: dict[str, BookRow]) -> Iterable[Event]:
    said = decode_books(frame)
    row, sent, at = said.data, said.ts * MS_NS, None if said.cts is None else said.cts * MS_NS
    return read_best(row, bests, at, sent, is_whole=said.type == "snapshot" or row.u == 1)


def read_best(row: BookRow, bests: dict[str, BookRow], at: int | None, sent: int, *, is_whole: bool) -> Iterable[Event]:
    """A book of one level a side; since 2025 it is always sent whole, before changes came too.

    A change that no whole book came before tells one side alone, and so nothing yet.
    """
    if not is_whole:
        before = bests.get(row.s)
        if before is None:
            return ()
        row.b, row.a = changed(before.b, row.b), changed(before.a, row.a)
    bests[row.s] = row
    bid, bid_size = row.b[0] if row.b else (None, None)
    ask, ask_size = row.a[0] if row.a else (None, None)
    best = Bbo(
        raw_symbol=row.s,
        bid_price=bid,
        bid_size=bid_size,
        ask_price=ask,
        ask_size=ask_size,
        sequence=row.u,
        ts_event=at,
        ts_sent=sent,
    )
    return (best,)


def changed(before: Levels, news: Levels) -> Levels:
    """The one level of a side after a change, in which a size of zero removes a level."""
    gone = {price for price, size in news if not size.lstrip("0.")}
    return [level for level in news if level[0] not in gone] or [level for level in before if level[0] not in gone]


def read_ticker(frame: bytes, unit: SizeUnit, known: dict[str, TickerRow]) -> Iterable[Event]:
    """The records that this frame has news for; each is filled up with what was said before."""
    said = decode_tickers(frame)
    news, sent = said.data, said.ts * MS_NS
    before = known.get(news.symbol) if said.type == "delta" else None
    row = known[news.symbol] = news if before is None else news.filled(before)
    records: list[Record] = []
    if news.has_statistics():
        records.append(row.ticker(unit, sent))
    if row.fundingRate and news.has_funding():
        records.append(row.funding(sent))
    if news.openInterest:
        records.append(news.interest(unit, sent))
    if mark := nonzero(news.markPrice):
        records.append(MarkPrice(raw_symbol=row.symbol, price=mark, ts_sent=sent))
    if index := nonzero(news.indexPrice):
        records.append(IndexPrice(raw_symbol=row.symbol, price=index, ts_sent=sent))
    if row.markPriceIv is not None:
        records += [row.best(sent), row.option(sent)]
    return records


def read_bars(frame: bytes, about: str, unit: SizeUnit) -> Iterable[Event]:
    said = decode_bars(frame)
    raw_symbol = about.partition(".")[2]
    return [row.record(raw_symbol, unit, ms(said.ts)) for row in said.data]


def read_forced(frame: bytes, unit: SizeUnit) -> Iterable[Event]:
    said = decode_forced(frame)
    return [row.record(unit, ms(said.ts)) for row in said.data]


def read_maintenance(frame: bytes) -> Iterable[Event]:
    said = decode_maintenance(frame)
    return [row.record(ms(said.ts)) for row in said.data if row.env == PRODUCTION]
