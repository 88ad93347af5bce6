"""The Binance protocol, which its regional, derivative and white-label exchanges also speak.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
Times come in milliseconds, or in microseconds where the address says `timeUnit=MICROSECOND`.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Raw, Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import (
    Accepted,
    Event,
    Exchange,
    Limits,
    Listing,
    Refused,
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
    Instrument,
    Levels,
    Record,
    Ticker,
    Trade,
)
from aggregator.sequence import Rule, contiguous
from aggregator.wire import encode

DEPTH = 5000  # levels a side of the REST snapshot
CHANNELS: dict[Channel, str] = {
    "trades": "trade",
    "book": "depth@100ms",
    "bbo": "bookTicker",
    "ticker": "ticker",
    "candles": "kline_",
}
TAGS = {
    "trade",
    "aggTrade",
    "depthUpdate",
    "bookTicker",
    "kline",
    "24hrTicker",
    "24hrMiniTicker",
}
STATES = {
    "TRADING": "trading",
    "HALT": "halt",
    "BREAK": "halt",
    "END_OF_DAY": "halt",
    "PRE_TRADING": "pre_open",
}
MICROSECONDS = 10**14  # a time above this cannot be milliseconds


class TradeWire(Struct, tag_field="e", tag="trade", gc=False):
    s: str
    t: int
    p: str
    q: str
    T: int  # when it was matched; E is when it was sent
    E: int
    m: bool  # the buyer was the maker, so the taker sold

    def record(self) -> Record:
        return Trade(
            raw_symbol=self.s,
            id=str(self.t),
            price=self.p,
            size=self.q,
            side="sell" if self.m else "buy",
            sequence=self.t,
            ts_event=stamp(self.T),
            ts_sent=stamp(self.E),
        )


class AggregateWire(Struct, tag_field="e", tag="aggTrade", gc=False):
    s: str
    a: int  # the aggregate's own number; f and l are those of its first and last trade
    p: str
    q: str
    f: int
    l: int  # noqa: E741 - the wire's name
    T: int
    E: int
    m: bool

    def record(self) -> Record:
        return Trade(
            raw_symbol=self.s,
            id=str(self.a),
            price=self.p,
            size=self.q,
            side="sell" if self.m else "buy",
            kind="aggregate",
            first_id=str(self.f),
            last_id=str(self.l),
            count=self.l - self.f + 1,
            sequence=self.a,
            ts_event=stamp(self.T),
            ts_sent=stamp(self.E),
        )


class DepthWire(Struct, tag_field="e", tag="depthUpdate", gc=False):
    s: str
    E: int
    u: int
    b: Levels  # [["price", "size"], …]: already what we publish
    a: Levels
    U: int | None = None
    pu: int | None = None  # derivatives only, as T
    T: int | None = None

    def record(self) -> Record:
        return BookDelta(
            raw_symbol=self.s,
            bids=self.b,
            asks=self.a,
            sequence_first=self.U,
            sequence=self.u,
            sequence_prev=self.pu,
            ts_event=None if self.T is None else stamp(self.T),
            ts_sent=stamp(self.E),
        )


class BestWire(Struct, gc=False):
    s: str
    u: int
    b: str
    B: str
    a: str
    A: str
    T: int | None = None  # derivatives only, as E
    E: int | None = None

    def record(self) -> Record:
        return Bbo(
            raw_symbol=self.s,
            bid_price=self.b,
            bid_size=self.B,
            ask_price=self.a,
            ask_size=self.A,
            sequence=self.u,
            ts_event=None if self.T is None else stamp(self.T),
            ts_sent=None if self.E is None else stamp(self.E),
        )


class TaggedBestWire(BestWire, tag_field="e", tag="bookTicker", gc=False):
    """Derivatives say the kind inside; spot says it only in the stream's name."""


class BarWire(Struct, gc=False):
    t: int
    T: int  # the last millisecond (or microsecond) within
    i: str
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    c: str
    v: str
    q: str
    n: int
    x: bool


class KlineWire(Struct, tag_field="e", tag="kline", gc=False):
    s: str
    E: int
    k: BarWire

    def record(self) -> Record:
        bar = self.k
        return Candle(
            raw_symbol=self.s,
            interval=bar.i,
            ts_open=stamp(bar.t),
            ts_close=stamp(bar.T + 1),
            open=bar.o,
            high=bar.h,
            low=bar.l,
            close=bar.c,
            base_volume=bar.v,
            quote_volume=bar.q,
            trades=bar.n,
            closed=bar.x,
            ts_sent=stamp(self.E),
        )


class TickerWire(Struct, tag_field="e", tag="24hrTicker", gc=False):
    s: str
    E: int
    c: str
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    v: str
    q: str
    w: str | None = None  # the mini ticker has none, nor the next two
    p: str | None = None
    n: int | None = None

    def record(self) -> Record:
        return Ticker(
            raw_symbol=self.s,
            last=self.c,
            open=self.o,
            high=self.h,
            low=self.l,
            base_volume=self.v,
            quote_volume=self.q,
            vwap=self.w,
            change=self.p,
            trades=self.n,
            window_s=86_400,
            ts_sent=stamp(self.E),
        )


class MiniTickerWire(TickerWire, tag_field="e", tag="24hrMiniTicker", gc=False):
    """The same statistics, fewer of them."""


class PartialWire(Struct, gc=False):
    lastUpdateId: int
    bids: Levels
    asks: Levels


Wire = TradeWire | AggregateWire | DepthWire | TaggedBestWire | KlineWire | TickerWire | MiniTickerWire


class Combined(Struct, gc=False):
    data: Wire


class CombinedBest(Struct, gc=False):
    data: BestWire


class Other(Struct):
    """Frames that are no market data of ours, or market data that does not say its kind."""

    stream: str = ""
    e: str = ""
    id: int | str | None = None
    error: Raw = Raw()
    data: Raw = Raw()
    u: int | None = None
    lastUpdateId: int | None = None
    asks: Raw = Raw()


decode_combined = Decoder(Combined).decode
decode_combined_best = Decoder(CombinedBest).decode
decode_bare = Decoder(Wire).decode
decode_best = Decoder(BestWire).decode
decode_partial = Decoder(PartialWire).decode
decode_other = Decoder(Other).decode


def stamp(time: int) -> int:
    """Milliseconds or microseconds as nanoseconds."""
    return time * 1000 if time > MICROSECONDS else time * 1_000_000


def parse(frame: bytes) -> Iterable[Event]:
    try:
        if frame.find(b"@bookTicker", 0, 64) > 0:
            return (decode_combined_best(frame).data.record(),)
        if frame.startswith(b'{"stream"'):
            return (decode_combined(frame).data.record(),)
        return (decode_bare(frame).record(),)
    except ValidationError:
        return parse_other(frame)


def parse_other(frame: bytes) -> Iterable[Event]:
    other = decode_other(frame)
    if other.stream:
        name, _, kind = other.stream.partition("@")
        if kind.partition("@")[0] in CHANNELS.values():
            raise BadFrame(f"an event of {kind} that cannot be read")
        return (partial(name.upper(), other.data),) if kind.startswith("depth") else ()
    if other.error:
        return (Refused(bytes(other.error).decode(), id=number(other.id)),)
    if other.e in TAGS:
        raise BadFrame(f"an event of {other.e} that cannot be read")
    if other.u is not None and not other.e:
        return (decode_best(frame).record(),)
    if other.asks:
        return (partial(None, frame),)
    return () if other.e or other.id is None else (Accepted(id=number(other.id)),)


def number(id: int | str | None) -> int | None:
    return int(id) if isinstance(id, int) or (id is not None and id.isdecimal()) else None


def partial(raw_symbol: str | None, body: bytes | Raw) -> BookSnapshot:
    """A partial book; where it says its symbol at all, it is in the stream's name."""
    d = decode_partial(body)
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=d.bids,
        asks=d.asks,
        depth=max(len(d.bids), len(d.asks)),
        sequence=d.lastUpdateId,
        reason="periodic",
    )


class Filter(Struct):
    filterType: str
    tickSize: str | None = None
    stepSize: str | None = None
    minQty: str | None = None
    maxQty: str | None = None
    minNotional: str | None = None


class SymbolWire(Struct):
    symbol: str
    baseAsset: str
    quoteAsset: str
    status: str
    filters: list[Filter] = []


class ExchangeInfo(Struct):
    symbols: list[Raw]


decode_info = Decoder(ExchangeInfo).decode
decode_symbol = Decoder(SymbolWire).decode


def rows(body: bytes) -> Iterable[Raw]:
    return decode_info(body).symbols


def read_symbol(row: Raw) -> Instrument:
    s = decode_symbol(row)
    filters = {f.filterType: f for f in s.filters}
    nothing = Filter("")
    lot = filters.get("LOT_SIZE", nothing)
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL", nothing)
    return Instrument(
        raw_symbol=s.symbol,
        kind="spot",
        base=s.baseAsset,
        quote=s.quoteAsset,
        tick_size=filters.get("PRICE_FILTER", nothing).tickSize,
        lot_size=lot.stepSize,
        min_size=lot.minQty,
        max_size=lot.maxQty,
        min_notional=notional.minNotional,
        state=STATES.get(s.status, "unknown"),  # type: ignore[arg-type]
    )


def read_snapshot(raw_symbol: str, body: bytes) -> BookSnapshot:
    s = decode_partial(body)
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=s.bids,
        asks=s.asks,
        sequence=s.lastUpdateId,
        depth=DEPTH,
    )


def exchange(id: str, *, docs: str, stream: str, rest: str, sequence: Rule = contiguous) -> Exchange:
    """Declare an exchange that speaks Binance, by the ways in which it differs from Binance spot."""

    def frame(method: str) -> Callable[[Sequence[Subscription], int], Iterable[bytes]]:
        def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
            params = [f"{s.raw_symbol.lower()}@{CHANNELS[s.channel]}{suffix(s)}" for s in wanted]
            yield encode({"method": method, "params": params, "id": id})

        return ask

    def suffix(subscription: Subscription) -> str:
        return subscription.interval if subscription.channel == "candles" else ""

    def depth_request(raw_symbol: str) -> Request:
        return Request(f"{rest}/depth?symbol={raw_symbol}&limit={DEPTH}", weight=250)

    return Exchange(
        id=id,
        docs=docs,
        limits=Limits(lifetime=24 * 3600, weights={rest: (6000, 60)}, connects=(300, 300)),
        listing=Listing((Request(f"{rest}/exchangeInfo", weight=20),), rows, read_symbol),
        feeds=(
            Stream(
                url=stream,
                channels=CHANNELS,
                subscribe=frame("SUBSCRIBE"),
                unsubscribe=frame("UNSUBSCRIBE"),
                parse=parse,
                snapshot=Snapshot(request=depth_request, parse=read_snapshot),
                sequence={"book": sequence, "trades": contiguous},
                per_connection=1024,
                batch=100,
                pace=0.25,  # five incoming messages a second are allowed, pongs among them
                patience=60,  # the exchange pings every 20 s
            ),
        ),
    )
