"""Reading Bybit's frames: `topic` and `data`, or an answer.

https://bybit-exchange.github.io/docs/v5/ws/connect
"""

from collections.abc import Callable, Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused
from aggregator.records import Bbo, BookDelta, BookSnapshot, Channel, IndexPrice, MarkPrice, Record, SizeUnit
from aggregator.wire import ms
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
    "trades": "publicTrade",  # of a base asset: all its options at once
    "book": "orderbook.100",
    "bbo": "tickers",  # options have no book of one level
    "ticker": "tickers",
    "open_interest": "tickers",
    "mark_price": "tickers",
    "index_price": "tickers",
    "options": "tickers",
}
STATUS: dict[Channel, str] = {"status": "system.status"}
HEAD = b'{"topic":"'
STATISTICS = {"lastPrice", "prevPrice24h", "highPrice24h", "lowPrice24h", "volume24h", "turnover24h"}
FUNDING = {"fundingRate", "nextFundingTime", "fundingIntervalHour"}


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


decode_trades = Decoder(Trades).decode
decode_books = Decoder(Books).decode
decode_tickers = Decoder(Tickers).decode
decode_bars = Decoder(Bars).decode
decode_forced = Decoder(Forced).decode
decode_maintenance = Decoder(Maintenance).decode
decode_topics = Decoder(Topics).decode
decode_other = Decoder(Other).decode


def parser(unit: SizeUnit = "base") -> Callable[[], Parse]:
    """What reads the frames of one market, whose sizes are in `unit`."""

    def connect() -> Parse:
        known: dict[str, TickerRow] = {}
        readers: dict[str, Callable[[bytes, str], Iterable[Event]]] = {
            "publicTrade": lambda frame, _: read_trades(frame, unit),
            "orderbook": read_book,
            "tickers": lambda frame, _: read_ticker(frame, unit, known),
            "kline": lambda frame, about: read_bars(frame, about, unit),
            "allLiquidation": lambda frame, _: read_forced(frame, unit),
            "system": lambda frame, _: read_maintenance(frame),
        }

        def parse(frame: bytes) -> Iterable[Event]:
            if frame.startswith(HEAD):
                topic = frame[len(HEAD) : frame.find(b'"', len(HEAD))].decode()
            else:
                other = decode_other(frame)
                topic = other.topic
                if not topic:
                    return parse_answer(other)
            kind, _, about = topic.partition(".")
            read = readers.get(kind)
            return () if read is None else read(frame, about)

        return parse

    return connect


def parse_answer(other: Other) -> Iterable[Event]:
    if other.type == "COMMAND_RESP":  # options: it names the topics, but not the request
        return [event for topic in decode_topics(other.data).failTopics for event in failed(topic)]
    if other.op == "subscribe":
        id = int(other.req_id) if other.req_id and other.req_id.isdecimal() else None
        reason = other.ret_msg or ""
        is_on = other.success or reason.startswith("error:already subscribed")
        return (Accepted(id=id),) if is_on else (Refused(reason or "no reason given", id=id),)
    if other.success is False and other.op != "unsubscribe":
        return (Refused(other.ret_msg or "no reason given"),)
    if other.success is None and other.op != "pong":
        raise BadFrame("neither data of a topic nor an answer")
    return ()


def failed(topic: str) -> Iterable[Event]:
    """A refusal of each channel that a topic of options carries."""
    wire, _, raw_symbol = topic.rpartition(".")
    return [Refused(f"{topic} failed", channel=c, raw_symbol=raw_symbol) for c, w in OPTIONS.items() if w == wire]


def read_trades(frame: bytes, unit: SizeUnit) -> Iterable[Event]:
    said = decode_trades(frame)
    sent = said.ts * 1_000_000
    return [row.record(unit, sent) for row in said.data]


def read_book(frame: bytes, about: str) -> Iterable[Event]:
    depth = about.partition(".")[0]
    if not depth.isdecimal():
        return ()  # `rpi` and `full` are other kinds of book
    said = decode_books(frame)
    row, sent, at = said.data, said.ts * 1_000_000, None if said.cts is None else said.cts * 1_000_000
    is_whole = said.type == "snapshot" or row.u == 1
    if depth == "1":
        return (read_best(row, at, sent, is_whole=is_whole),)
    if is_whole:
        return (
            BookSnapshot(
                raw_symbol=row.s,
                bids=row.b,
                asks=row.a,
                depth=int(depth),
                sequence=row.u,
                ts_event=at,
                ts_sent=sent,
            ),
        )
    return (BookDelta(raw_symbol=row.s, bids=row.b, asks=row.a, sequence=row.u, ts_event=at, ts_sent=sent),)


def read_best(row: BookRow, at: int | None, sent: int, *, is_whole: bool) -> Bbo:
    """A book of one level a side: since 2025 it is always sent whole."""
    if not is_whole:
        raise BadFrame(f"a change of one level of {row.s}, which says nothing of the other side")
    bid, bid_size = row.b[0] if row.b else (None, None)
    ask, ask_size = row.a[0] if row.a else (None, None)
    return Bbo(
        raw_symbol=row.s,
        bid_price=bid,
        bid_size=bid_size,
        ask_price=ask,
        ask_size=ask_size,
        sequence=row.u,
        ts_event=at,
        ts_sent=sent,
    )


def read_ticker(frame: bytes, unit: SizeUnit, known: dict[str, TickerRow]) -> Iterable[Event]:
    """The records that this frame has news for; each is filled up with what was said before."""
    said = decode_tickers(frame)
    row, sent = said.data, said.ts * 1_000_000
    news = row.said()
    if said.type == "delta" and row.symbol in known:
        row.fill(known[row.symbol])
    known[row.symbol] = row
    records: list[Record] = []
    if news & STATISTICS:
        records.append(row.ticker(unit, sent))
    if row.fundingRate and news & FUNDING:
        records.append(row.funding(sent))
    if row.openInterest and "openInterest" in news:
        records.append(row.interest(unit, sent))
    if row.markPrice and "markPrice" in news:
        records.append(MarkPrice(raw_symbol=row.symbol, price=row.markPrice, ts_sent=sent))
    if row.indexPrice and "indexPrice" in news:
        records.append(IndexPrice(raw_symbol=row.symbol, price=row.indexPrice, ts_sent=sent))
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
