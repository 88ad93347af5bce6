"""Gemini: spot and perpetuals, on its WebSocket of today (`gemini`) and on the one before it, version 2.

https://developer.gemini.com/websocket/streams
https://developer.gemini.com/websocket/archived/v2
The one before is archived, but still has what the newer one lacks: candles, marks, indices and funding; changes of a
book have neither a time nor a number there. Probes of others in September 2026 saw both.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Context, Decimal
from typing import Literal

from msgspec import Raw, Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import (
    Event,
    Exchange,
    Limits,
    Listing,
    Poll,
    Refused,
    Request,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import (
    BookDelta,
    BookSnapshot,
    Channel,
    Funding,
    IndexPrice,
    Instrument,
    MarketState,
    MarkPrice,
    Record,
    Side,
    Ticker,
    Trade,
)
from aggregator.refusals import coded, meaning_of
from aggregator.wire import Text, candle, encode, ms, nonzero, number, optional, sides, symbols_by, text
from connectors.gemini import frames

REST = "https://api.gemini.com"
SPOT: dict[Channel, str] = {"trades": "l2", "book": "l2", "candles": "candles_"}
PERPETUAL: dict[Channel, str] = {"mark_price": "mark_price", "index_price": "mark_price", "funding": "funding_amount"}
CHANNELS = SPOT | PERPETUAL
READ = {"l2_updates", "trade", "mark_price_updates", "funding_amount_updates"}
EXACT, RATE = Context(prec=100), Decimal("1e-12")  # a funding rate is rounded to this
STATES: dict[str, MarketState] = {
    "open": "trading",
    "closed": "halt",
    "cancel_only": "cancel_only",
    "post_only": "post_only",
    "limit_only": "trading",
}

INTERVALS = {"1m", "5m", "15m", "30m", "1h", "6h", "1d"}


class TradeRow(Struct, tag_field="type", tag="trade", gc=False):
    symbol: str
    event_id: int
    timestamp: int
    price: str
    quantity: str
    side: Literal["buy", "sell", "block"] | None = None  # the taker's; a block's is not told

    def events(self) -> list[Record]:
        return [
            Trade(
                raw_symbol=self.symbol,
                id=str(self.event_id),
                price=self.price,
                size=self.quantity,
                side=None if self.side == "block" else self.side,
                kind="block" if self.side == "block" else "trade",
                ts_event=ms(self.timestamp),
            )
        ]


class BookRow(Struct, tag_field="type", tag="l2_updates", gc=False):
    symbol: str
    changes: list[tuple[Side, str, str]]
    trades: list[TradeRow] | None = None  # their order varies; they come with the whole book, at the subscription
    auction_events: list[Raw] | None = None  # they come likewise; in the past they came alone

    def events(self) -> list[Record]:
        bids, asks = sides(self.changes)
        if self.trades is None and self.auction_events is None:
            return [BookDelta(raw_symbol=self.symbol, bids=bids, asks=asks)]
        past = sorted(self.trades or (), key=lambda row: (row.timestamp, row.event_id))
        found: list[Record] = [event for row in past for event in row.events()]
        for trade in found:
            trade.flags = ("snapshot",)
        return [BookSnapshot(raw_symbol=self.symbol, bids=bids, asks=asks), *found]


class MarkRow(Struct, gc=False):
    timestamp: int  # nanoseconds
    mark_price: str
    spot_index: str | None = None


class Marks(Struct, tag_field="type", tag="mark_price_updates", gc=False):
    symbol: str
    changes: list[MarkRow]

    def events(self) -> list[Record]:
        found: list[Record] = []
        for row in self.changes:
            if mark := nonzero(row.mark_price):
                found.append(MarkPrice(raw_symbol=self.symbol, price=mark, ts_event=row.timestamp))
            if index := nonzero(row.spot_index):
                found.append(IndexPrice(raw_symbol=self.symbol, price=index, ts_event=row.timestamp))
        return found


class FundingRow(Struct, gc=False):
    """The amount that a contract of one unit pays; the field `funding_rate` has lost its digits for some contracts."""

    funding_amount: str
    funding_date_time: int  # nanoseconds, as all of its times
    funding_interval_in_minutes: int
    is_realized: bool
    timestamp: int
    mark_price: str | None = None

    def rate(self) -> str | None:
        """The rate as a fraction of the mark, to twelve decimals."""
        if (mark := nonzero(self.mark_price)) is None:
            return None
        fraction = EXACT.divide(Decimal(self.funding_amount), Decimal(mark))
        return f"{EXACT.plus(EXACT.quantize(fraction, RATE)):f}"


class Fundings(Struct, tag_field="type", tag="funding_amount_updates", gc=False):
    symbol: str
    changes: list[FundingRow]

    def events(self) -> list[Record]:
        return [
            Funding(
                raw_symbol=self.symbol,
                rate=rate,
                kind="settled" if row.is_realized else "current",
                interval_s=row.funding_interval_in_minutes * 60,
                ts_next=row.funding_date_time,
                ts_event=row.timestamp,
            )
            for row in self.changes
            if (rate := row.rate()) is not None
        ]


class Bars(Struct, gc=False):
    type: str
    symbol: str
    changes: list[tuple[int, Text, Text, Text, Text, Text]]  # start, four prices, volume; the latest first

    def events(self) -> list[Record]:
        interval = self.type.removeprefix("candles_").removesuffix("_updates")
        if interval not in INTERVALS:
            raise BadFrame(f"bars of the unknown interval {interval[:40]!r}")
        return [
            candle(self.symbol, interval, ms(start), (first, high, low, last), base=volume)
            for start, first, high, low, last, volume in reversed(self.changes)
        ]


class Other(Struct):
    """A heartbeat, an auction, bars, or a refusal."""

    type: str = ""
    result: str = ""
    reason: str = ""
    message: str = ""


decode: Callable[[bytes], TradeRow | BookRow | Marks | Fundings] = Decoder(TradeRow | BookRow | Marks | Fundings).decode
decode_bars = Decoder(Bars, float_hook=number).decode
decode_other = Decoder(Other).decode


def parse(frame: bytes) -> Iterable[Event]:
    try:
        return decode(frame).events()
    except ValidationError:
        other = decode_other(frame)
    if other.type.startswith("candles_"):
        return decode_bars(frame).events()
    if other.type in READ:
        raise BadFrame(f"a message of {other.type} that cannot be read")
    if other.result == "error":
        return (
            Refused(f"{other.reason}: {other.message}", meaning=meaning_of(other.reason, final=("InvalidSymbol",))),
        )
    return ()


def word(s: Subscription) -> str:
    return CHANNELS[s.channel] + (s.interval if s.channel == "candles" else "")


def asking(type: Literal["subscribe", "unsubscribe"]) -> Subscribe:
    """One frame; trades and book of a symbol are one subscription."""

    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        asked = [{"name": name, "symbols": symbols} for name, symbols in symbols_by(word, wanted).items()]
        yield encode({"type": type, "subscriptions": asked})

    return ask


class SymbolWire(Struct):
    symbol: str
    base_currency: str
    quote_currency: str
    status: str
    tick_size: Text  # the step of sizes
    quote_increment: Text  # the step of prices
    min_order_size: Text = None
    product_type: str = "spot"
    contract_type: str = ""
    contract_price_currency: str | None = None


class PriceRow(Struct):
    pair: str
    price: str


decode_symbols = Decoder(list[Raw]).decode
decode_symbol = Decoder(SymbolWire, float_hook=number).decode
decode_prices = Decoder(list[PriceRow]).decode


def read_symbol(row: Raw) -> Instrument:
    s = decode_symbol(row)
    is_swap = s.product_type == "swap"
    return Instrument(
        raw_symbol=s.symbol,
        kind="perpetual" if is_swap else "spot",
        base=s.base_currency,
        quote=s.quote_currency,
        settle=s.contract_price_currency if is_swap else None,
        linear=s.contract_type == "linear" if is_swap else None,
        contract_size="1" if is_swap else None,
        tick_size=text(s.quote_increment),
        lot_size=text(s.tick_size),
        min_size=optional(s.min_order_size),
        state=STATES.get(s.status, "unknown"),
    )


def rows(body: bytes) -> Iterable[Raw]:
    """Every symbol, or the one that an answer is about."""
    return (Raw(body),) if body.startswith(b"{") else decode_symbols(body)


def read_prices(_: str, body: bytes) -> Iterable[Ticker]:
    return [Ticker(raw_symbol=row.pair, last=nonzero(row.price)) for row in decode_prices(body)]


def stream(name: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool]) -> Stream:
    return Stream(
        name=name,
        url="wss://api.gemini.com/v2/marketdata",
        channels=channels,
        serves=serves,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        parse=parse,
        per_connection=400,
        batch=400,  # all at once, as trades and book of a symbol are one subscription
        patience=20,  # the exchange beats every 5 s
        acknowledges=False,
    )


EXCHANGE = Exchange(
    id="gemini",
    docs="https://developer.gemini.com/websocket/streams",
    checked="2026-09, live probes of its perpetuals by others",
    trouble=coded("reason", "message", busy=("RateLimit",)),
    limits=Limits(weights={REST: ((120, 60),)}, connects=(300, 300)),
    listing=Listing((Request(f"{REST}/v1/symbols/details/all"),), rows, read_symbol),
    feeds=(
        frames.stream(),
        stream("spot", SPOT, lambda i: i.kind == "spot"),
        stream("perpetuals", CHANNELS, lambda i: i.kind == "perpetual"),
        Poll(
            name="prices",
            channels=("ticker",),
            every=10,
            request=lambda _: Request(f"{REST}/v1/pricefeed"),
            parse=read_prices,
            many=True,
        ),
    ),
    notes=(
        "Trades, books and bbo are of today's address; candles, marks, indices and funding of the archived one.",
        "Trades and books of the archived address are read in captures: its books have neither numbers nor times.",
        "Funding is told as an amount a contract: the rate is that divided by the mark beside it, to twelve decimals.",
        "The perpetuals of one asset in GUSD and in USDC share one book.",
        "The ticker is the last price alone, polled.",
    ),
)
