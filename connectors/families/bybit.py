"""Bybit's WebSocket protocol, version 5: topics, of which one may carry several channels.

https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
Sizes are in the base asset, of inverse contracts in US dollars (whose volume and turnover change places, too).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import (
    Accepted,
    Event,
    Heartbeat,
    Parse,
    Refused,
    Stream,
    Subscription,
)
from aggregator.records import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Channel,
    Funding,
    IndexPrice,
    Instrument,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    OptionSummary,
    Record,
    SizeUnit,
    Status,
    Ticker,
    Trade,
)
from aggregator.sequence import contiguous
from aggregator.wire import encode, ms, optional

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
INTERVALS = {"1h": "60", "2h": "120", "4h": "240", "6h": "360", "12h": "720", "1d": "D", "1w": "W", "1M": "M"}
SPELLED = {wire: interval for interval, wire in INTERVALS.items()}  # the others are minutes
HEAD = b'{"topic":"'
PRODUCTION = 1
DAY_S = 86_400
HOUR_S = 3600


class TradeRow(Struct, gc=False):
    s: str
    S: Literal["Buy", "Sell"]  # the taker's
    v: str
    p: str
    i: str
    T: int  # when it was matched
    BT: bool = False

    def record(self, unit: SizeUnit, sent: int) -> Trade:
        return Trade(
            raw_symbol=self.s,
            id=self.i,
            price=self.p,
            size=self.v,
            side="buy" if self.S == "Buy" else "sell",
            size_unit=unit,
            kind="block" if self.BT else "trade",
            ts_event=self.T * 1_000_000,
            ts_sent=sent,
        )


class Trades(Struct, gc=False):
    ts: int
    data: list[TradeRow]


class BookRow(Struct, gc=False):
    s: str
    b: Levels
    a: Levels
    u: int  # grows by one; 1 after a restart of the exchange, with a whole book


class Books(Struct, gc=False):
    type: Literal["snapshot", "delta"]
    ts: int
    data: BookRow
    cts: int | None = None  # when the matching engine made it


class TickerRow(Struct, gc=False):
    """Of futures, what has not changed is left out; spot and options send all they have each time."""

    symbol: str
    lastPrice: str | None = None
    prevPrice24h: str | None = None
    highPrice24h: str | None = None
    lowPrice24h: str | None = None
    volume24h: str | None = None
    turnover24h: str | None = None
    markPrice: str | None = None
    indexPrice: str | None = None
    openInterest: str | None = None  # both sides of each contract
    openInterestValue: str | None = None
    fundingRate: str | None = None
    nextFundingTime: str | None = None
    fundingIntervalHour: str | None = None
    markPriceIv: str | None = None  # options only, as all that follow
    bidIv: str | None = None
    askIv: str | None = None
    bidPrice: str | None = None
    bidSize: str | None = None
    askPrice: str | None = None
    askSize: str | None = None
    delta: str | None = None
    gamma: str | None = None
    vega: str | None = None
    theta: str | None = None
    underlyingPrice: str | None = None

    def said(self) -> set[str]:
        """The names of the fields that the frame holds."""
        return {name for name in FIELDS if getattr(self, name) is not None}

    def fill(self, before: "TickerRow") -> None:
        """Take over what was said before and has not changed."""
        for name in FIELDS:
            if getattr(self, name) is None:
                setattr(self, name, getattr(before, name))

    def ticker(self, unit: SizeUnit, sent: int) -> Ticker:
        base, quote = (self.turnover24h, self.volume24h) if unit == "quote" else (self.volume24h, self.turnover24h)
        return Ticker(
            raw_symbol=self.symbol,
            last=optional(self.lastPrice),
            open=optional(self.prevPrice24h),
            high=optional(self.highPrice24h),
            low=optional(self.lowPrice24h),
            base_volume=optional(base),
            quote_volume=None if self.markPriceIv else optional(quote),  # an option's is worth of the underlying
            window_s=DAY_S,
            ts_sent=sent,
        )

    def funding(self, sent: int) -> Funding:
        return Funding(
            raw_symbol=self.symbol,
            rate=self.fundingRate or "",
            interval_s=int(self.fundingIntervalHour) * HOUR_S if self.fundingIntervalHour else None,
            ts_next=ms(self.nextFundingTime) if self.nextFundingTime else None,
            ts_sent=sent,
        )

    def interest(self, unit: SizeUnit, sent: int) -> OpenInterest:
        size, value = self.openInterest or "", optional(self.openInterestValue)
        is_inverse = unit == "quote"
        return OpenInterest(
            raw_symbol=self.symbol,
            size=size,
            size_unit=unit,
            base_size=value if is_inverse else size,
            quote_value=size if is_inverse else value,
            ts_sent=sent,
        )

    def best(self, sent: int) -> Bbo:
        bid, bid_size = standing(self.bidPrice, self.bidSize)
        ask, ask_size = standing(self.askPrice, self.askSize)
        return Bbo(
            raw_symbol=self.symbol, bid_price=bid, bid_size=bid_size, ask_price=ask, ask_size=ask_size, ts_sent=sent
        )

    def option(self, sent: int) -> OptionSummary:
        bid, bid_size = standing(self.bidPrice, self.bidSize)
        ask, ask_size = standing(self.askPrice, self.askSize)
        return OptionSummary(
            raw_symbol=self.symbol,
            mark_price=optional(self.markPrice),
            mark_iv=optional(self.markPriceIv),
            bid_iv=bid and optional(self.bidIv),
            ask_iv=ask and optional(self.askIv),
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
            delta=optional(self.delta),
            gamma=optional(self.gamma),
            vega=optional(self.vega),
            theta=optional(self.theta),
            underlying_price=optional(self.underlyingPrice),
            open_interest=optional(self.openInterest),
            ts_sent=sent,
        )


class Tickers(Struct, gc=False):
    type: Literal["snapshot", "delta"]
    ts: int
    data: TickerRow


class BarRow(Struct, gc=False):
    start: int
    end: int  # the last millisecond within
    interval: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str
    confirm: bool
    timestamp: int | None = None  # of the last trade within

    def record(self, raw_symbol: str, unit: SizeUnit, sent: int) -> Candle:
        base, quote = (self.turnover, self.volume) if unit == "quote" else (self.volume, self.turnover)
        return Candle(
            raw_symbol=raw_symbol,
            interval=SPELLED.get(self.interval, f"{self.interval}m"),
            ts_open=ms(self.start),
            ts_close=ms(self.end + 1),
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            base_volume=base,
            quote_volume=quote,
            closed=self.confirm,
            ts_event=None if self.timestamp is None else ms(self.timestamp),
            ts_sent=sent,
        )


class Bars(Struct, gc=False):
    ts: int
    data: list[BarRow]


class ForcedRow(Struct, gc=False):
    s: str
    S: Literal["Buy", "Sell"]  # the position's: "Buy" says that a long was liquidated, by an order that sells
    v: str
    p: str  # the bankruptcy price
    T: int

    def record(self, unit: SizeUnit, sent: int) -> Liquidation:
        return Liquidation(
            raw_symbol=self.s,
            side="sell" if self.S == "Buy" else "buy",
            position="long" if self.S == "Buy" else "short",
            price=self.p,
            price_kind="bankruptcy",
            size=self.v,
            size_unit=unit,
            ts_event=ms(self.T),
            ts_sent=sent,
        )


class Forced(Struct, gc=False):
    ts: int
    data: list[ForcedRow]


class MaintenanceRow(Struct):
    title: str
    state: str
    begin: str = ""
    end: str = ""
    env: int = PRODUCTION

    def record(self, sent: int) -> Status:
        is_on = self.state == "ongoing"
        return Status(state="maintenance" if is_on else "trading", reason=f"{self.state}: {self.title}", ts_sent=sent)


class Maintenance(Struct):
    ts: int
    data: list[MaintenanceRow]


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

FIELDS = tuple(name for name in TickerRow.__struct_fields__ if name != "symbol")
STATISTICS = {"lastPrice", "prevPrice24h", "highPrice24h", "lowPrice24h", "volume24h", "turnover24h"}
FUNDING = {"fundingRate", "nextFundingTime", "fundingIntervalHour"}


def standing(price: str | None, size: str | None) -> tuple[str | None, str | None]:
    """A side's price and size; zeros say that nobody stands there."""
    is_empty = not price or not size or not size.strip("0.")
    return (None, None) if is_empty else (price, size)


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


def asking(op: str, channels: dict[Channel, str]) -> Callable[[Sequence[Subscription], int], Iterable[bytes]]:
    def topic(s: Subscription) -> str:
        if s.channel == "candles":
            return f"kline.{INTERVALS.get(s.interval, s.interval.removesuffix('m'))}.{s.raw_symbol}"
        if s.channel == "status":
            return STATUS["status"]
        is_by_asset = channels is OPTIONS and s.channel == "trades"
        return f"{channels[s.channel]}.{s.raw_symbol.partition('-')[0] if is_by_asset else s.raw_symbol}"

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield encode({"op": op, "req_id": str(id), "args": list(dict.fromkeys(map(topic, wanted)))})

    return ask


def stream(
    name: str,
    url: str,
    channels: dict[Channel, str],
    serves: Callable[[Instrument], bool],
    *,
    unit: SizeUnit = "base",
    per_connection: int = 400,
    batch: int | None = None,
    depth: int = 200,
) -> Stream:
    """Declare the socket of one market.

    per_connection: the topics of a connection may be 21,000 characters long
    batch: where it is limited; else all is asked for at once, as several channels are one topic of the exchange
    """
    return Stream(
        name=name,
        url=url,
        channels=channels,
        serves=serves,
        subscribe=asking("subscribe", channels),
        unsubscribe=asking("unsubscribe", channels),
        parser=parser(unit),
        heartbeat=Heartbeat(20, b'{"op":"ping"}'),
        sequence={"book": contiguous} if "book" in channels else {},
        depth=depth,
        per_connection=per_connection,
        batch=batch or per_connection,
        patience=45,  # a ping is answered when there is nothing else to say
        acknowledges=channels is not OPTIONS,  # where a topic of trades is of an asset, not of the option asked for
    )
