"""The Huobi protocol: gzipped frames, topics `market.<symbol>.<kind>`, and frames with `op` on notification sockets.

https://www.htx.com/en-us/opend/newApiPages/
Spot symbols are lower case, contract codes upper case. Sizes of derivatives count contracts; those of trades, and
volumes, count the buyer and the seller.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, TypeVar

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import (
    Accepted,
    Event,
    Exchange,
    Hangup,
    Listing,
    Parse,
    Refused,
    Reply,
    Request,
    Snapshot,
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
    MarketState,
    MarkPrice,
    Record,
    Side,
    Ticker,
    Trade,
)
from aggregator.sequence import Rule, contiguous, linked
from aggregator.wire import Text, encode, from_iso, gunzip, levels, ms, optional, seconds, text

DEPTH = 150
SPOT: dict[Channel, str] = {"trades": "trade.detail", "bbo": "bbo", "ticker": "detail", "candles": "kline"}
SPOT_BOOK: dict[Channel, str] = {"book": f"mbp.{DEPTH}"}
CONTRACTS: dict[Channel, str] = {**SPOT, "book": f"depth.size_{DEPTH}.high_freq"}
PRICES: dict[Channel, str] = {"mark_price": "mark_price.1min", "index_price": "index.1min"}
NOTICES: dict[Channel, str] = {"funding": "funding_rate", "liquidations": "liquidation_orders"}
WIRES: dict[str, Channel] = {
    "trade": "trades",
    "mbp": "book",
    "depth": "book",
    "bbo": "bbo",
    "detail": "ticker",
    "ticker": "ticker",
    "kline": "candles",
    "mark_price": "mark_price",
    "index": "index_price",
    "funding_rate": "funding",
    "liquidation_orders": "liquidations",
}
PERIODS = {
    "1m": "1min",
    "5m": "5min",
    "15m": "15min",
    "30m": "30min",
    "1h": "60min",
    "4h": "4hour",
    "1d": "1day",
    "1w": "1week",
    "1M": "1mon",
    "1y": "1year",
}
INTERVALS = {period: interval for interval, period in PERIODS.items()}
LENGTHS = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14_400, "1d": 86_400, "1w": 604_800}
STATES: dict[str, MarketState] = {
    "online": "trading",
    "pre-online": "pre_open",
    "not-online": "pre_open",
    "suspend": "halt",
    "fuse": "halt",
    "transfer-board": "halt",
    "offline": "delisted",
}
CONTRACT_STATES: dict[int, MarketState] = {
    0: "delisted",
    1: "trading",
    2: "pre_open",
    3: "halt",
    4: "halt",
    5: "settling",
    6: "settling",
    7: "settling",
    8: "delisted",
    9: "halt",
}
START = b'{"ch":"market.'
SECOND = 1_000_000_000

Rows = list[list[Text]] | dict[str, Any] | None  # a side of a book; nothing changed: absent, [] or {}
T = TypeVar("T")


class Frame(Struct, Generic[T], gc=False):
    ts: int  # when it was sent
    tick: T


class TradeRow(Struct, gc=False):
    price: Text
    amount: Text  # base units on spot, else contracts
    direction: Side  # the taker's
    ts: int
    id: Text = None  # spot: longer than it is unique; tradeId is the trade's own
    tradeId: Text = None
    quantity: Text = None  # derivatives only, as the next: in the base and in the quote asset
    trade_turnover: Text = None

    def record(self, raw_symbol: str, sent: int) -> Record:
        return Trade(
            raw_symbol=raw_symbol,
            id=text(self.id if self.tradeId is None else self.tradeId),
            price=text(self.price),
            size=text(self.amount),
            side=self.direction,
            size_unit="base" if raw_symbol.islower() else "contract",
            base_size=optional(self.quantity),
            quote_size=optional(self.trade_turnover),
            ts_event=ms(self.ts),
            ts_sent=sent,
        )


class TradesTick(Struct, gc=False):
    data: list[TradeRow]


class BestTick(Struct, gc=False):
    bid: Text = None  # spot: a number, with its size beside it; else [price, size]
    bidSize: Text = None
    ask: Text = None
    askSize: Text = None
    quoteTime: int | None = None  # spot only, as seqId
    seqId: int | None = None
    ts: int | None = None
    version: int | None = None


class StatisticsTick(Struct, gc=False):
    open: Text
    high: Text
    low: Text
    close: Text
    amount: Text  # in the base asset
    vol: Text  # in the quote asset on spot, else contracts
    count: Text = None
    trade_turnover: Text = None  # linear contracts only: in the quote asset


class BarTick(StatisticsTick, gc=False, kw_only=True):
    id: int  # when it begins, in seconds


class PriceTick(Struct, gc=False):
    """A bar of a price that is not traded; its close is the price now."""

    close: Text


class ByPriceTick(Struct, gc=False):
    seqNum: int
    prevSeqNum: int | None = None  # not in whole books
    bids: Rows = None
    asks: Rows = None


class DepthTick(Struct, gc=False):
    event: Literal["snapshot", "update"]
    version: int  # each one higher by one than the one before, from the snapshot on
    ts: int
    bids: Rows = None
    asks: Rows = None


class StepTick(Struct, gc=False):
    bids: Rows
    asks: Rows
    ts: int
    version: int | None = None  # spot's number of the book; on derivatives a time in seconds
    mrid: int | str | None = None  # the derivatives' number


# `str` keeps a number's digits; text(), which everything passes, writes an exponent out
decode_trades = Decoder(Frame[TradesTick], float_hook=str).decode
decode_best = Decoder(Frame[BestTick], float_hook=str).decode
decode_statistics = Decoder(Frame[StatisticsTick], float_hook=str).decode
decode_bar = Decoder(Frame[BarTick], float_hook=str).decode
decode_price = Decoder(Frame[PriceTick], float_hook=str).decode
decode_by_price = Decoder(Frame[ByPriceTick], float_hook=str).decode
decode_depth = Decoder(Frame[DepthTick], float_hook=str).decode
decode_step = Decoder(Frame[StepTick], float_hook=str).decode
decode_whole = Decoder(ByPriceTick, float_hook=str).decode


def read_trades(raw_symbol: str, _kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_trades(frame)
    sent = ms(f.ts)
    return [row.record(raw_symbol, sent) for row in f.tick.data]


def best(price: Text, size: Text) -> tuple[str | None, str | None]:
    """A price and size, or a list of both; nothing where the side is empty."""
    if type(price) is list:
        return (text(price[0]), text(price[1])) if price else (None, None)
    return optional(price), optional(size)


def read_best(raw_symbol: str, _kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_best(frame)
    tick = f.tick
    time = tick.ts if tick.quoteTime is None else tick.quoteTime
    if time is None:
        raise BadFrame(f"a best bid and offer of {raw_symbol} without a time")
    bid, bid_size = best(tick.bid, tick.bidSize)
    ask, ask_size = best(tick.ask, tick.askSize)
    return (
        Bbo(
            raw_symbol=raw_symbol,
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
            sequence=tick.version if tick.seqId is None else tick.seqId,
            ts_event=ms(time),
            ts_sent=ms(f.ts),
        ),
    )


def quote_volume(raw_symbol: str, tick: StatisticsTick) -> str | None:
    return optional(tick.vol if raw_symbol.islower() else tick.trade_turnover)


def counted(count: Text) -> int | None:
    return None if count is None else int(text(count))


def read_statistics(raw_symbol: str, _kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_statistics(frame)
    tick = f.tick
    return (
        Ticker(
            raw_symbol=raw_symbol,
            last=optional(tick.close),
            open=optional(tick.open),
            high=optional(tick.high),
            low=optional(tick.low),
            base_volume=optional(tick.amount),
            quote_volume=quote_volume(raw_symbol, tick),
            trades=counted(tick.count),
            window_s=86_400,
            ts_sent=ms(f.ts),
        ),
    )


def read_bar(raw_symbol: str, kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_bar(frame)
    bar = f.tick
    period = kind.partition(".")[2]
    interval = INTERVALS.get(period, period)
    start, length = seconds(bar.id), LENGTHS.get(interval)
    return (
        Candle(
            raw_symbol=raw_symbol,
            interval=interval,
            ts_open=start,
            ts_close=None if length is None else start + length * SECOND,
            open=text(bar.open),
            high=text(bar.high),
            low=text(bar.low),
            close=text(bar.close),
            base_volume=optional(bar.amount),
            quote_volume=quote_volume(raw_symbol, bar),
            trades=counted(bar.count),
            ts_sent=ms(f.ts),
        ),
    )


def read_mark(raw_symbol: str, _kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_price(frame)
    return (MarkPrice(raw_symbol=raw_symbol, price=text(f.tick.close), ts_sent=ms(f.ts)),)


def read_index(raw_symbol: str, _kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_price(frame)
    return (IndexPrice(raw_symbol=raw_symbol, price=text(f.tick.close), ts_sent=ms(f.ts)),)


def side(rows: Rows) -> Levels:
    if isinstance(rows, list):
        return levels(rows)
    if rows:
        raise BadFrame("a side of a book that is no list")
    return []


def whole(raw_symbol: str, kind: str, tick: ByPriceTick) -> BookSnapshot:
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=side(tick.bids),
        asks=side(tick.asks),
        depth=int(kind.rpartition(".")[2]),
        sequence=tick.seqNum,
    )


def read_by_price(raw_symbol: str, kind: str, frame: bytes) -> Iterable[Record]:
    f = decode_by_price(frame)
    tick = f.tick
    if kind.startswith("mbp.refresh."):
        book = whole(raw_symbol, kind, tick)
        book.reason, book.ts_sent = "periodic", ms(f.ts)
        return (book,)
    return (
        BookDelta(
            raw_symbol=raw_symbol,
            bids=side(tick.bids),
            asks=side(tick.asks),
            sequence=tick.seqNum,
            sequence_prev=tick.prevSeqNum,
            ts_sent=ms(f.ts),
        ),
    )


def read_depth(raw_symbol: str, kind: str, frame: bytes) -> Iterable[Record]:
    size = kind.split(".")[1] if "." in kind else ""
    if size == "step0":
        return read_step(raw_symbol, frame)
    if not size.startswith("size_"):
        return ()  # levels merged into coarser ones
    f = decode_depth(frame)
    tick = f.tick
    bids, asks, event, sent = side(tick.bids), side(tick.asks), ms(tick.ts), ms(f.ts)
    if tick.event == "update":
        return (
            BookDelta(raw_symbol=raw_symbol, bids=bids, asks=asks, sequence=tick.version, ts_event=event, ts_sent=sent),
        )
    return (
        BookSnapshot(
            raw_symbol=raw_symbol,
            bids=bids,
            asks=asks,
            depth=int(size[5:]),
            sequence=tick.version,
            ts_event=event,
            ts_sent=sent,
        ),
    )


def read_step(raw_symbol: str, frame: bytes) -> Iterable[Record]:
    f = decode_step(frame)
    tick = f.tick
    return (
        BookSnapshot(
            raw_symbol=raw_symbol,
            bids=side(tick.bids),
            asks=side(tick.asks),
            depth=DEPTH,
            reason="periodic",
            sequence=tick.version if tick.mrid is None else int(tick.mrid),
            ts_event=ms(tick.ts),
            ts_sent=ms(f.ts),
        ),
    )


READERS: dict[str, Callable[[str, str, bytes], Iterable[Record]]] = {
    "trade": read_trades,
    "bbo": read_best,
    "detail": read_statistics,
    "ticker": read_statistics,
    "kline": read_bar,
    "mbp": read_by_price,
    "depth": read_depth,
    "mark_price": read_mark,
    "index": read_index,
}


class FundingRow(Struct):
    contract_code: str
    funding_rate: Text
    settlement_time: str | int | None = None  # when the rate is exchanged; funding_time is when it was reckoned
    estimated_rate: Text = None  # for the interval after; "null" since it is no longer reckoned

    def records(self, sent: int) -> Iterable[Record]:
        settles = None if self.settlement_time is None else ms(self.settlement_time)
        yield Funding(raw_symbol=self.contract_code, rate=text(self.funding_rate), ts_next=settles, ts_sent=sent)
        if self.estimated_rate not in {None, "", "null"}:
            yield Funding(raw_symbol=self.contract_code, rate=text(self.estimated_rate), kind="predicted", ts_sent=sent)


class LiquidationRow(Struct):
    contract_code: str
    direction: Side  # the forced order's
    volume: Text  # contracts
    created_at: int
    price: Text = None
    amount: Text = None  # in the base asset
    trade_turnover: Text = None  # linear contracts only: in the quote asset

    def records(self, sent: int) -> Iterable[Record]:
        yield Liquidation(
            raw_symbol=self.contract_code,
            side=self.direction,
            position="long" if self.direction == "sell" else "short",
            price=optional(self.price),
            price_kind="bankruptcy",
            size=text(self.volume),
            size_unit="contract",
            base_size=optional(self.amount),
            quote_size=optional(self.trade_turnover),
            ts_event=ms(self.created_at),
            ts_sent=sent,
        )


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
decode_fundings = Decoder(list[FundingRow], float_hook=str).decode
decode_liquidations = Decoder(list[LiquidationRow], float_hook=str).decode


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
    """What the exchange says to a request."""
    id = whole_number(other.id)
    if other.status == "error":
        return (Refused(f"{other.code}: {other.reason}", id=id),)
    if other.subbed:
        channel, raw_symbol = named(other.subbed)
        return (Accepted(id=id, channel=channel, raw_symbol=raw_symbol),)
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
        return (Refused(f"{other.code}: {other.reason}", id=id, channel=channel, raw_symbol=raw_symbol),)
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


def parser() -> Parse:
    """A parser that marks the last trades from before a subscription, which come at once as its state."""
    subscribed: dict[str | None, int] = {}  # raw symbol -> when its trades were subscribed to

    def parse_marking(frame: bytes) -> Iterable[Event]:
        events = parse(frame)
        for event in events:
            if type(event) is Trade:
                since = subscribed.get(event.raw_symbol)
                if since is None or (event.ts_sent or 0) < since:
                    event.flags = ("snapshot",)
            elif type(event) is Accepted and event.channel == "trades":
                subscribed[event.raw_symbol] = ms(decode_other(frame).ts or 0)
        return events

    return parse_marking


class SpotRow(Struct, rename=lambda name: name.replace("_", "-")):
    symbol: str
    base_currency: str
    quote_currency: str
    price_precision: int
    amount_precision: int
    state: str = ""
    min_order_amt: Text = None  # of market orders too; the next two are of limit orders
    max_order_amt: Text = None
    limit_order_min_order_amt: Text = None
    limit_order_max_order_amt: Text = None
    min_order_value: Text = None


class NewSpotRow(Struct):
    """The same in the words of `/v2/settings/common/symbols`."""

    sc: str
    bc: str
    qc: str
    tpp: int
    tap: int
    state: str = ""
    toa: int | None = None  # when trading opened


class ContractRow(Struct):
    symbol: str
    contract_code: str  # BTC-USDT, BTC-USDT-251226, BTC-USD; BTC251226 of inverse futures
    contract_size: Text
    price_tick: Text
    contract_status: int
    delivery_date: str = ""  # of dated contracts only; a time of delivery also stands on swaps that end
    delivery_time: str = ""
    create_date: str = ""


class Answer(Struct):
    data: list[Raw]


decode_answer = Decoder(Answer).decode
decode_spot = Decoder(SpotRow, float_hook=str).decode
decode_new_spot = Decoder(NewSpotRow).decode
decode_contract = Decoder(ContractRow, float_hook=str).decode


def rows(body: bytes) -> Iterable[Raw]:
    return decode_answer(body).data


def read_instrument(row: Raw) -> Instrument:
    body = bytes(row)
    if b'"contract_code"' in body:
        return read_contract(decode_contract(body))
    is_old = b'"base-currency"' in body
    return read_spot(decode_spot(body)) if is_old else read_new_spot(decode_new_spot(body))


def step(places: int) -> str:
    return "1" if places == 0 else f"0.{'0' * (places - 1)}1"


def read_spot(s: SpotRow) -> Instrument:
    return Instrument(
        raw_symbol=s.symbol,
        base=s.base_currency.upper(),
        quote=s.quote_currency.upper(),
        tick_size=step(s.price_precision),
        lot_size=step(s.amount_precision),
        min_size=optional(s.limit_order_min_order_amt) or optional(s.min_order_amt),
        max_size=optional(s.limit_order_max_order_amt) or optional(s.max_order_amt),
        min_notional=optional(s.min_order_value),
        state=STATES.get(s.state, "unknown"),
    )


def read_new_spot(s: NewSpotRow) -> Instrument:
    return Instrument(
        raw_symbol=s.sc,
        base=s.bc.upper(),
        quote=s.qc.upper(),
        tick_size=step(s.tpp),
        lot_size=step(s.tap),
        state=STATES.get(s.state, "unknown"),
        ts_listed=None if s.toa is None else ms(s.toa),
    )


def read_contract(c: ContractRow) -> Instrument:
    base, quote = c.symbol.upper(), c.contract_code.split("-")[1] if "-" in c.contract_code else "USD"
    linear = quote != "USD"
    day = c.create_date
    return Instrument(
        raw_symbol=c.contract_code,
        kind="future" if c.delivery_date else "perpetual",
        base=base,
        quote=quote,
        settle=quote if linear else base,
        linear=linear,
        contract_size=text(c.contract_size),
        tick_size=text(c.price_tick),
        lot_size="1",
        min_size="1",
        expiry=ms(c.delivery_time) if c.delivery_date and c.delivery_time else None,
        state=CONTRACT_STATES.get(c.contract_status, "unknown"),
        ts_listed=from_iso(f"{day[:4]}-{day[4:6]}-{day[6:]}T00:00:00") if day else None,
    )


Frames = Callable[[Sequence[Subscription], int], Iterable[bytes]]


def market(verb: str, channels: dict[Channel, str]) -> Frames:
    """Frames that subscribe to market data or leave it: one topic each."""

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in wanted:
            period = f".{PERIODS.get(s.interval, s.interval)}" if s.channel == "candles" else ""
            topic = {verb: f"market.{s.raw_symbol}.{channels[s.channel]}{period}", "id": str(id)}
            yield encode(topic | {"data_type": "incremental"} if topic[verb].endswith(".high_freq") else topic)

    return ask


def notices(verb: str) -> Frames:
    """Frames that subscribe to notices or leave them."""

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in wanted:
            yield encode({"op": verb, "cid": str(id), "topic": f"public.{s.raw_symbol}.{NOTICES[s.channel]}"})

    return ask


def ask_book(raw_symbol: str, id: int) -> bytes:
    return encode({"req": f"market.{raw_symbol}.{SPOT_BOOK['book']}", "id": str(id)})


def is_spot(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def is_perpetual(instrument: Instrument) -> bool:
    return instrument.kind == "perpetual"


def is_linear(instrument: Instrument) -> bool:
    return instrument.linear is True


def is_linear_swap(instrument: Instrument) -> bool:
    return instrument.linear is True and instrument.kind == "perpetual"


def is_inverse(instrument: Instrument) -> bool:
    return instrument.linear is False and instrument.kind == "perpetual"


def exchange(
    id: str, *, docs: str, spot: Sequence[str], derivatives: Sequence[str], notes: tuple[str, ...]
) -> Exchange:
    """Declare an exchange that speaks Huobi, by its hosts of spot and of derivatives: the first, then mirrors."""

    def stream(
        name: str,
        hosts: Sequence[str],
        path: str,
        channels: dict[Channel, str],
        serves: Callable[[Instrument], bool],
        book: Rule | None = None,
    ) -> Stream:
        speaks_op = channels is NOTICES
        return Stream(
            name=name,
            url=f"wss://{hosts[0]}/{path}",
            mirrors=tuple(f"wss://{host}/{path}" for host in hosts[1:]),
            channels=channels,
            serves=serves,
            subscribe=notices("sub") if speaks_op else market("sub", channels),
            unsubscribe=notices("unsub") if speaks_op else market("unsub", channels),
            parser=parser,
            inflate=gunzip,
            snapshot=Snapshot(ask=ask_book) if channels is SPOT_BOOK else None,
            sequence={} if book is None else {"book": book},
            depth=None if book is None else DEPTH,
            batch=1,  # each topic has a frame, an answer and so an id of its own
            patience=30,  # the exchange pings every five seconds
        )

    return Exchange(
        id=id,
        docs=docs,
        notes=notes,
        listing=Listing(
            (
                Request(f"https://{spot[0]}/v1/common/symbols"),
                Request(f"https://{derivatives[0]}/linear-swap-api/v1/swap_contract_info?business_type=all"),
                Request(f"https://{derivatives[0]}/swap-api/v1/swap_contract_info"),
            ),
            rows,
            read_instrument,
        ),
        feeds=(
            stream("spot", spot, "ws", SPOT, is_spot),
            stream("spot-book", spot, "feed", SPOT_BOOK, is_spot, linked),
            stream("linear", derivatives, "linear-swap-ws", CONTRACTS, is_linear, contiguous),
            stream("inverse", derivatives, "swap-ws", CONTRACTS, is_inverse, contiguous),
            stream("prices", derivatives, "ws_index", PRICES, is_perpetual),
            stream("linear-notices", derivatives, "linear-swap-notification", NOTICES, is_linear_swap),
            stream("inverse-notices", derivatives, "swap-notification", NOTICES, is_inverse),
        ),
    )
