"""WOO X.

https://developer.woox.io/api-reference/websocket_introduction
What is said there of limits is not all so: a request of more than ten topics is refused, and a client that sends
nothing is cut off after a minute. Changes of a book are documented for spot, too, and reported not to be pushed (2026).
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Request, Snapshot, Stream, Subscribe, Subscription
from aggregator.records import HOUR_S, MS_NS, BookSnapshot, Channel, Instrument, Levels, MarketState
from aggregator.refusals import coded
from aggregator.sequence import spanning
from aggregator.wire import encode, optional
from connectors.families.woo import CHANNELS, WHOLE, parse
from connectors.families.woo.frames import index_of
from connectors.families.woo.shorter_wires import TOP

DOCS = "https://developer.woox.io/api-reference/websocket_introduction"
WS = "wss://wss.woox.io/v3/public"
API = "https://api.woox.io/v3/public"
DEPTH = 50  # levels a side; deeper books come less often
MOST = 10  # topics in one request
STATES: dict[str, MarketState] = {"TRADING": "trading", "SUSPENDED": "halt", "TESTING": "halt"}
EVERY: tuple[Channel, ...] = ("trades", "book", "bbo", "ticker", "candles")
PERPETUAL: tuple[Channel, ...] = ("funding", "open_interest", "mark_price", "index_price")


class Level(Struct, gc=False):
    price: str
    quantity: str


class Sides(Struct, gc=False):
    bids: list[Level]
    asks: list[Level]


class BookAnswer(Struct, gc=False):
    timestamp: int
    data: Sides


class InstrumentWire(Struct):
    symbol: str  # `PERP_BTC_USDT`
    status: str = ""
    quoteTick: str | None = None
    baseTick: str | None = None
    baseMin: str | None = None
    baseMax: str | None = None
    minNotional: str | None = None
    fundingIntervalHours: int | None = None  # only perpetuals have it


class Rows(Struct):
    rows: list[Raw]


class Instruments(Struct):
    data: Rows


decode_book = Decoder(BookAnswer).decode
decode_instruments = Decoder(Instruments).decode
decode_instrument = Decoder(InstrumentWire).decode


def topic(s: Subscription) -> str:
    if s.channel == "book":
        is_spot = s.raw_symbol.startswith("SPOT_")
        return f"{WHOLE}@{s.raw_symbol}" if is_spot else f"{CHANNELS['book']}@{s.raw_symbol}@{DEPTH}"
    if s.channel == "candles":
        return f"kline@{s.raw_symbol}@{s.interval}"
    name = index_of(s.raw_symbol) if s.channel == "index_price" else s.raw_symbol
    return f"{CHANNELS[s.channel]}@{name}"


def asking(cmd: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        topics = [topic(s) for s in wanted]
        for start in range(0, len(topics), MOST):
            yield encode({"id": str(id), "cmd": cmd, "params": topics[start : start + MOST]})

    return ask


def ping(now: int) -> bytes:
    return encode({"cmd": "PING", "ts": now // MS_NS})


def read_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    book = decode_book(body)
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=side(book.data.bids),
        asks=side(book.data.asks),
        depth=DEPTH,
        sequence=book.timestamp,
        ts_event=book.timestamp * MS_NS,
    )


def side(rows: list[Level]) -> Levels:
    return [(row.price, row.quantity) for row in rows]


def read_instrument(row: Raw) -> Instrument | None:
    wire = decode_instrument(row)
    type, _, pair = wire.symbol.partition("_")
    base, _, quote = pair.rpartition("_")
    if type not in {"SPOT", "PERP"} or not base:
        return None
    is_spot, hours = type == "SPOT", wire.fundingIntervalHours
    return Instrument(
        raw_symbol=wire.symbol,
        kind="spot" if is_spot else "perpetual",
        base=base,
        quote=quote,
        settle=None if is_spot else quote,
        linear=None if is_spot else True,
        contract_size=None if is_spot else "1",  # sizes are of the base asset
        tick_size=optional(wire.quoteTick),
        lot_size=optional(wire.baseTick),
        min_size=optional(wire.baseMin),
        max_size=optional(wire.baseMax),
        min_notional=optional(wire.minNotional),
        funding_interval_s=None if is_spot or not hours else hours * HOUR_S,
        state=STATES.get(wire.status, "unknown"),
    )


def spot(instrument: Instrument) -> bool:
    return instrument.kind == "spot"


def perpetual(instrument: Instrument) -> bool:
    return instrument.kind == "perpetual"


def stream(name: str, channels: tuple[Channel, ...], serves: Callable[[Instrument], bool]) -> Stream:
    has_changes = "book" in channels and serves is perpetual
    return Stream(
        name=name,
        url=WS,
        channels={channel: CHANNELS[channel] for channel in channels} | ({"book": WHOLE} if serves is spot else {}),
        serves=serves,
        subscribe=asking("SUBSCRIBE"),
        unsubscribe=asking("UN_SUBSCRIBE"),
        parse=parse,
        heartbeat=Heartbeat(every=20, frame=ping),
        snapshot=Snapshot(
            request=lambda name: Request(f"{API}/orderbook?symbol={name}&maxLevel={DEPTH}"),
            parse=read_book,
            after_delta=False,  # most books stay as they are for minutes
        )
        if has_changes
        else None,
        sequence={"book": spanning} if has_changes else {},
        depth=DEPTH if has_changes else TOP if "book" in channels else None,
        per_connection=100,
        batch=1,  # a topic that is not known is left out of the acknowledgement
        pace=0.02,
        patience=50,  # a ping is answered when there is nothing else to say
    )


EXCHANGE = Exchange(
    id="woo",
    docs=DOCS,
    trouble=coded("code", "message", fine=("0",), busy=("-1003",)),
    limits=Limits(weights={API: ((10, 1),)}, connects=(100, 300), connections=100, lifetime=24 * HOUR_S),
    listing=Listing((Request(f"{API}/instruments"),), lambda body: decode_instruments(body).data.rows, read_instrument),
    feeds=(
        stream("main", EVERY, perpetual),
        stream("spot", EVERY, spot),
        stream("perpetuals", PERPETUAL, perpetual),
    ),
    checked="2026-09, live probes by others",
    notes=(
        "Trades have no id; those of its liquidity network (`src` 0) are told as any other.",
        "Books of perpetuals and best prices are without orders that only its own users can meet (RPI).",
        "A spot book is its ten best levels a side, always whole, and mostly with those orders.",
        "The funding rate is an estimate of the one that is exchanged next.",
        "An index is told under its perpetual.",
    ),
)
