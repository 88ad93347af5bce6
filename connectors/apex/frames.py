"""Reading ApeX Omni's frames: data of a topic, an answer, or a ping.

https://api-docs.pro.apex.exchange/#websocket-v3-for-omni-websocket-endpoint
"""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused, Reply, Subscription
from aggregator.records import BookDelta, BookSnapshot, Channel, IndexPrice, Levels, MarkPrice, OpenInterest, Record
from aggregator.refusals import meaning_of
from aggregator.wire import encode, levels, nonzero, number, optional, past
from connectors.apex.wires import INTERVALS, Bars, Books, Figures, FiguresRow, Trades

CHANNELS: dict[Channel, str] = {
    "trades": "recentlyTrade.H",
    "book": "orderBook200.H",
    "ticker": "instrumentInfo.H",
    "candles": "candle",
    "funding": "instrumentInfo.H",
    "open_interest": "instrumentInfo.H",
    "index_price": "instrumentInfo.H",
}
BOOK, HEAD = "orderBook", b'"topic":"'


class Asked(Struct):
    op: str = ""
    args: list[str] | None = None


class Other(Struct):
    """Any frame: data has a topic, an answer says whether it went well, and a ping comes as a request."""

    topic: str = ""
    op: str = ""
    args: list[str] | None = None
    success: bool | None = None
    ret_msg: str = ""
    request: Asked | None = None
    pong: int | None = None


decode_trades = Decoder(Trades, strict=False, float_hook=number).decode
decode_book = Decoder(Books, strict=False, float_hook=number).decode
decode_figures = Decoder(Figures, strict=False).decode
decode_bars = Decoder(Bars, strict=False).decode
decode_other = Decoder(Other, strict=False).decode


def topic(s: Subscription) -> str:
    if s.channel == "candles":
        return f"candle.{INTERVALS.get(s.interval, s.interval.removesuffix('m'))}.{s.raw_symbol}"
    return f"{CHANNELS[s.channel]}.{s.raw_symbol}"


def read_trades(frame: bytes) -> Iterable[Event]:
    """Trades, of which the first frame has those from before; the newest may come first."""
    said = decode_trades(frame)
    rows = said.data if not said.data or said.data[0].T <= said.data[-1].T else said.data[::-1]
    trades = [row.record(said.sent) for row in rows]
    return past(trades) if said.type == "snapshot" else trades


def read_book(frame: bytes) -> Iterable[Event]:
    said = decode_book(frame)
    row, sent = said.data, said.sent
    bids, asks = levels(row.b), levels(row.a)
    if said.type == "delta":
        return (BookDelta(raw_symbol=row.s, bids=bids, asks=asks, sequence=row.u, ts_sent=sent),)
    depth = int(said.topic.partition(".")[0][len(BOOK) :])
    bids = best_first(bids)
    return (BookSnapshot(raw_symbol=row.s, bids=bids, asks=asks, depth=depth, sequence=row.u, ts_sent=sent),)


def best_first(bids: Levels) -> Levels:
    """Bids of whole books come worst first; that is looked at, because the documentation shows them the other way."""
    return bids[::-1] if len(bids) > 1 and Decimal(bids[0][0]) < Decimal(bids[-1][0]) else bids


def read_bars(frame: bytes) -> Iterable[Event]:
    said = decode_bars(frame)
    raw_symbol = said.topic.rpartition(".")[2]
    return [row.record(raw_symbol, said.sent) for row in said.data]


def read_figures(frame: bytes, known: dict[str, FiguresRow]) -> Iterable[Event]:
    """The records that this frame has news for; each is filled up with what its topic said before."""
    said = decode_figures(frame)
    for news in [row.full() for row in said.data] if isinstance(said.data, list) else [said.data]:
        key = f"{said.topic} {news.symbol}"
        before = known.get(key) if said.type == "delta" else None
        known[key] = news if before is None else news.filled(before)
        yield from told(known[key], news, said.sent)


def told(row: FiguresRow, news: FiguresRow, sent: int | None) -> Iterable[Record]:
    """The records of a market that its news tell, with what stands of it by now."""
    records: list[Record] = [row.ticker(sent)] if news.has_statistics() else []
    if row.fundingRate and (news.fundingRate or news.nextFundingTime):
        records.append(row.current(sent))
    if news.predictedFundingRate:
        records.append(news.predicted(sent))
    if (size := optional(news.openInterest)) is not None:
        records.append(OpenInterest(raw_symbol=news.symbol, size=size, ts_sent=sent))
    if index := nonzero(news.indexPrice):
        records.append(IndexPrice(raw_symbol=news.symbol, price=index, ts_sent=sent))
    if mark := nonzero(news.markPrice):
        records.append(MarkPrice(raw_symbol=news.symbol, price=mark, ts_sent=sent))
    return records


def read_answer(said: Other) -> Iterable[Event]:
    """An answer repeats the request, which has one topic; what is subscribed already is refused, and comes."""
    asked = said.request or Asked()
    if said.success is None:
        if said.op != "pong" and said.pong is None:
            raise BadFrame("neither data of a topic nor an answer")
        return ()
    if asked.op != "subscribe":
        return () if said.success or asked.op else (Refused(said.ret_msg or "no reason given"),)
    topics = asked.args or []
    if said.success or "already subscribed" in said.ret_msg:
        return [Accepted(topic=name) for name in topics]
    meaning = meaning_of(said.ret_msg, final=("handler not found", "invalid symbol"), passing=("too many",))
    return [Refused(said.ret_msg or "no reason given", topic=name, meaning=meaning) for name in topics]


def parser() -> Parse:
    """A parser that fills figures up, of which only changes come."""
    known: dict[str, FiguresRow] = {}
    readers: dict[str, Parse] = {
        "recentlyTrade": read_trades,
        "instrumentInfo": lambda frame: [*read_figures(frame, known)],
        "candle": read_bars,
        **dict.fromkeys(("orderBook25", "orderBook200", "orderbook25"), read_book),  # a sample writes it small
    }

    def parse(frame: bytes) -> Iterable[Event]:
        start = frame.find(HEAD) + len(HEAD)
        read = readers.get(frame[start : frame.find(b".", start)].decode("latin-1"))
        if read is not None:
            return read(frame)
        said = decode_other(frame)
        if said.op == "ping":
            return (Reply(encode({"op": "pong", "args": said.args or []})),)
        if said.topic:
            read = readers.get(said.topic.partition(".")[0])
            return () if read is None else read(frame)
        return read_answer(said)

    return parse
